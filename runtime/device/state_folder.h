// The folder where a device keeps uploaded files and work folders.
#pragma once

#include <string>

#include "net.h"

namespace edgeweave::device {

// Makes the folder, ours alone for as long as what is returned is open. Throws std::runtime_error
// where others could put code there that sessions then run, or another device program uses it.
Fd lock_state_folder(const std::string& folder);

}  // namespace edgeweave::device
