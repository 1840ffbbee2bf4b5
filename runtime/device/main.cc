// edgeweave-device: serves this machine over TVM's RPC. docs/deploying.md says how to use it.
#include <cstdio>
#include <exception>

#include "emulation.h"
#include "net.h"
#include "server.h"
#include "session.h"
#include "settings.h"

namespace device = edgeweave::device;

int main(int argc, char** argv) {
  const device::Settings settings = device::parse_settings(argc, argv);
  try {
    const std::string emulator = device::find_emulator();
    device::load_runtime(settings);
    device::Server server(settings, emulator);
    if (!device::is_loopback(settings.listen) && settings.secret.empty()) {
      std::fprintf(stderr,
                   "edgeweave-device: warning: anyone who reaches port %d can run code here; "
                   "--secret-file keeps strangers out\n",
                   server.port());
    }
    std::printf("edgeweave-device: listening on %s:%d\n", settings.listen.c_str(), server.port());
    std::fflush(stdout);
    server.run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "edgeweave-device: %s\n", error.what());
    return 1;
  }
  return 0;
}
