#include "link.h"

#include <string.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <fstream>
#include <limits>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

#include "json.h"
#include "lane.h"

namespace edgeweave::device {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int64_t kUntimed = 20;  // hand-overs before the first that counts

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Bytes that can be had without swapping; unlimited where the system does not say.
int64_t free_memory() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word) {
    int64_t kib;
    if (word == "MemAvailable:" && file >> kib) return kib * 1024;
  }
  return std::numeric_limits<int64_t>::max();
}

// A turn that two threads take alternately, each sleeping while it is the other's: that is how
// the workers of a pipeline wait for each other.
class Turns {
 public:
  void wait_for(int who) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return whose_ == who; });
  }
  void give_to(int who) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      whose_ = who;
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int whose_ = 0;
};

constexpr int kSender = 0, kReceiver = 1;

class Measurement {
 public:
  Measurement(int64_t bytes, int64_t repeats)
      : repeats_(repeats), source_(static_cast<size_t>(bytes)), target_(source_.size()) {
    // so that neither thread has to allocate, which could fail there
    times_.latency_us.reserve(static_cast<size_t>(repeats));
    times_.copy_s.reserve(static_cast<size_t>(repeats));
  }

  void send() {
    for (int64_t i = -kUntimed; i < repeats_; ++i) {
      const auto begin = Clock::now();
      turns_.give_to(kReceiver);
      turns_.wait_for(kSender);
      if (i >= 0) times_.latency_us.push_back(seconds_since(begin) / 2 * 1e6);
    }
    for (int64_t i = 0; i < repeats_; ++i) {
      memset(source_.data(), static_cast<int>(i), source_.size());
      turns_.give_to(kReceiver);
      turns_.wait_for(kSender);
    }
  }

  void receive() {
    memset(target_.data(), 1, target_.size());
    for (int64_t i = -kUntimed; i < repeats_; ++i) {  // first it answers at once
      turns_.wait_for(kReceiver);
      turns_.give_to(kSender);
    }
    for (int64_t i = 0; i < repeats_; ++i) {  // then it copies what was written
      turns_.wait_for(kReceiver);
      const auto begin = Clock::now();
      memcpy(target_.data(), source_.data(), target_.size());
      asm volatile("" : : "r"(target_.data()) : "memory");  // the copy is used
      times_.copy_s.push_back(seconds_since(begin));
      turns_.give_to(kSender);
    }
  }

  LinkTimes times() const { return times_; }

 private:
  const int64_t repeats_;
  std::vector<char> source_, target_;
  Turns turns_;
  LinkTimes times_;
};

}  // namespace

LinkTimes measure_link(const std::vector<int>& from, const std::vector<int>& to, int64_t bytes,
                       int64_t repeats) {
  if (bytes > free_memory() / 4) {  // two buffers, and as much again for everything else
    throw Failure("too-large", "copying " + std::to_string(bytes) + " bytes takes more memory " +
                                   "than is free");
  }
  Measurement measurement(bytes, repeats);
  // one of them is this thread's child and the other that one's, so none is left alone when the
  // system refuses a thread
  std::exception_ptr fault;
  std::thread sender([&] {
    try {
      std::thread receiver([&] {
        pin_this_thread(to);
        measurement.receive();
      });
      pin_this_thread(from);
      measurement.send();
      receiver.join();
    } catch (const std::system_error&) {
      fault = std::current_exception();
    }
  });
  sender.join();
  if (fault) std::rethrow_exception(fault);
  return measurement.times();
}

}  // namespace edgeweave::device
