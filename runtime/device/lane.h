// A thread on given cores that works when it is told to, and TVM's thread pool of that thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace edgeweave::device {

// Where a thread may run, and with how many of TVM's threads.
struct Place {
  std::vector<int> cores;  // empty: not pinned
  int threads = 1;

  bool operator==(const Place& other) const {
    return cores == other.cores && threads == other.threads;
  }
};

// The place on those of the cores that exist, one thread on each, and on none of them that many
// threads anywhere. Adds to `notes` what is not as it was asked for.
Place find_place(const std::vector<int64_t>& cores, std::vector<std::string>& notes);

void pin_this_thread(const std::vector<int>& cores);

class Lane {
 public:
  explicit Lane(Place place);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Runs the work in the lane's thread and waits for it; throws what it throws.
  void run(const std::function<void()>& work);
  const Place& place() const { return place_; }

 private:
  void loop();
  void end();

  const Place place_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* work_ = nullptr;
  std::exception_ptr fault_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace edgeweave::device
