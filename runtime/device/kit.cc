#include "kit.h"

#include <limits.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "json.h"

namespace edgeweave::device {

std::string kit_folder() {
  char path[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
  if (size <= 0) return ".";
  std::string folder(path, size);
  for (int level = 0; level < 2; ++level) folder = folder.substr(0, folder.rfind('/'));
  return folder;
}

std::map<std::string, std::string> read_versions(const std::string& kit) {
  std::ifstream file(kit + "/device.json");
  std::stringstream content;
  content << file.rdbuf();
  std::map<std::string, std::string> versions;
  if (!file) return versions;
  const Request found = Request::parse(content.str()).object("versions");
  for (const char* name : {"edgeweave", "apache-tvm", "apache-tvm-ffi"}) {
    versions[name] = found.text(name);
  }
  return versions;
}

std::string architecture() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__aarch64__)
  return "aarch64";
#elif defined(__arm__)
  return "arm";
#elif defined(__riscv) && __riscv_xlen == 64
  return "riscv64";
#else
#error "name this architecture as LLVM does"
#endif
}

}  // namespace edgeweave::device
