// What it costs to hand a value from some cores to others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace edgeweave::device {

struct LinkTimes {
  std::vector<double> latency_us;  // one way, of a hand-over between threads that sleep meanwhile
  std::vector<double> copy_s;      // seconds to copy `bytes` that the other side has just written
};

// One of each per repeat. Threads on no cores are not pinned. Throws Failure, too-large when there
// is not enough free memory.
LinkTimes measure_link(const std::vector<int>& from, const std::vector<int>& to, int64_t bytes,
                       int64_t repeats);

}  // namespace edgeweave::device
