// What the CPU can do beyond its architecture's base, as LLVM names it.
#pragma once

#include <string>
#include <vector>

namespace edgeweave::device {

// Sorted. Only features that compiled kernels may use and that the system reports.
std::vector<std::string> cpu_features();

}  // namespace edgeweave::device
