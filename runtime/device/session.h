// One session: a process of its own that serves one client and may crash or hang.
#pragma once

#include <sys/types.h>

#include <string>

#include "settings.h"

namespace edgeweave::device {

// Loads TVM's runtime from the kit; throws std::runtime_error. No thread is started by it.
void load_runtime(const Settings& settings);

// Serves TVM's RPC on a connected socket until the client ends it; never returns. Runs in a child
// of the process `daemon`, and ends with that.
[[noreturn]] void serve_session(const Settings& settings, int socket,
                                const std::string& work_folder, pid_t daemon);

}  // namespace edgeweave::device
