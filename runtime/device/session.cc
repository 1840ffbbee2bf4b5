#include "session.h"

#include <dlfcn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <tvm/ffi/error.h>
#include <tvm/ffi/string.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "ffi_calls.h"
#include "functions.h"
#include "json.h"
#include "net.h"
#include "signals.h"

namespace edgeweave::device {
namespace {

namespace ffi = tvm::ffi;

// A path inside the work folder; files of a session have plain names and no folders.
std::string inside(const std::string& folder, const std::string& name) {
  if (name.empty() || name[0] == '.' || name.size() > 200 || name.find('/') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    TVM_FFI_THROW(ValueError) << "'" << name << "' is no plain file name";
  }
  return folder + "/" + name;
}

void write_file(const std::string& path, const ffi::Bytes& data, int64_t limit) {
  if (static_cast<int64_t>(data.size()) > limit) {
    TVM_FFI_THROW(ValueError) << "an upload of " << data.size() << " bytes is over the limit of "
                              << limit;
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(data.data(), static_cast<std::streamsize>(data.size()));
  file.close();
  if (!file) {
    unlink(path.c_str());
    TVM_FFI_THROW(RuntimeError) << "an upload cannot be written: the disk may be full";
  }
}

// What a stock TVM client calls to send and open its code.
void define_file_functions(const Settings& settings, const std::string& folder) {
  define_global("tvm.rpc.server.workpath",
                [folder](const std::string& name) { return ffi::String(inside(folder, name)); });
  const int64_t limit = settings.upload_mib << 20;
  define_global("tvm.rpc.server.upload",
                [folder, limit](const std::string& name, const ffi::Bytes& data) {
                  write_file(inside(folder, name), data, limit);
                });
  const ffi::Function load = tvm_function("ffi.ModuleLoadFromFile");
  define_global("tvm.rpc.server.load_module",
                [folder, load](const std::string& name) { return load(inside(folder, name)); });
}

void open_library(const std::string& path, bool required) {
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr && required) {
    throw std::runtime_error(dlerror());
  }
}

}  // namespace

void load_runtime(const Settings& settings) {
  open_library(settings.lib_dir + "/libtvm_runtime.so", true);
  open_library(settings.lib_dir + "/libtvm_runtime_extra.so", false);
  if (!ffi::Function::GetGlobal("rpc.ServerLoop")) {
    throw std::runtime_error(settings.lib_dir + "/libtvm_runtime.so has no RPC server");
  }
}

void serve_session(const Settings& settings, int socket, const std::string& work_folder,
                   pid_t daemon) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != daemon) _exit(1);  // it ended before that
  signals::leave_to_default();
  // what the daemon has open is closed when the daemon closes it, not when this process ends
  close_others(socket);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  // a write beyond what a limit or the disk allows is an error to report, not a signal
  std::signal(SIGXFSZ, SIG_IGN);
  // where memory runs out, this process goes and the daemon stays
  std::ofstream("/proc/self/oom_score_adj") << 1000;
  set_blocking(socket, true);
  detect_dead_peer(socket);
  int status = 0;
  try {
    define_file_functions(settings, work_folder);
    register_functions(settings);
    if (chdir(work_folder.c_str()) != 0) throw std::runtime_error("its work folder is gone");
    tvm_function("rpc.ServerLoop")(static_cast<int64_t>(socket));
  } catch (const std::exception& error) {
    // a client that hangs up amid a call is no failure of the session
    status = is_connected(socket) ? 1 : 0;
    std::fprintf(stderr, "edgeweave-device: the session ends: %s\n",
                 first_line(error.what()).c_str());
  }
  // no destructors: threads of the runtime may still run
  _exit(status);
}

}  // namespace edgeweave::device
