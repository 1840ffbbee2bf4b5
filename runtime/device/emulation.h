// Whether this machine is one at all.
#pragma once

#include <string>

namespace edgeweave::device {

// "qemu-user" or "virtual machine" where times say nothing about the CPU that is named; else "".
// Forks: call it before there are threads.
std::string find_emulator();

}  // namespace edgeweave::device
