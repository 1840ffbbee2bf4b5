#include "lane.h"

#include <sched.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/string.h>

#include <algorithm>
#include <set>
#include <utility>

#include "ffi_calls.h"

namespace edgeweave::device {
namespace {

namespace ffi = tvm::ffi;
// runtime.config_threadpool's modes: each thread on a core of its own, or all on all cores
constexpr int kOneCorePerThread = -2, kSharedCores = -3;

std::vector<int> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

void configure_pool(const Place& place) {
  ffi::Array<ffi::String> names;
  for (int core : place.cores.empty() ? allowed_cores() : place.cores) {
    names.push_back(ffi::String(std::to_string(core)));
  }
  tvm_function("runtime.config_threadpool")(place.cores.empty() ? kSharedCores : kOneCorePerThread,
                                            place.threads, names);
}

// "core 3", "cores 0-2, 7"
std::string in_words(const std::vector<int64_t>& cores) {
  std::string text = cores.size() == 1 ? "core " : "cores ";
  for (size_t first = 0; first < cores.size();) {
    size_t last = first;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    text += (first == 0 ? "" : ", ") + std::to_string(cores[first]);
    if (last > first) text += "-" + std::to_string(cores[last]);
    first = last + 1;
  }
  return text;
}

}  // namespace

Place find_place(const std::vector<int64_t>& cores, std::vector<std::string>& notes) {
  const std::vector<int> allowed = allowed_cores();
  Place place;
  std::vector<int64_t> here, absent;
  for (int64_t core : std::set<int64_t>(cores.begin(), cores.end())) {
    const bool exists = std::find(allowed.begin(), allowed.end(), core) != allowed.end();
    (exists ? here : absent).push_back(core);
  }
  place.cores.assign(here.begin(), here.end());
  const size_t wanted = here.empty() ? absent.size() : here.size();
  place.threads = static_cast<int>(std::max(size_t{1}, std::min(wanted, allowed.size())));
  if (!absent.empty()) {
    const std::string verb = absent.size() == 1 ? " does" : " do";
    notes.push_back(in_words(absent) + verb + " not exist here; " +
                    (here.empty() ? "not pinned" : "pinned to " + in_words(here)));
  }
  return place;
}

void pin_this_thread(const std::vector<int>& cores) {
  if (cores.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int core : cores) CPU_SET(core, &set);
  sched_setaffinity(0, sizeof set, &set);
}

Lane::Lane(Place place) : place_(std::move(place)), thread_([this] { loop(); }) {
  try {
    run([this] {
      pin_this_thread(place_.cores);
      configure_pool(place_);
      pin_this_thread(place_.cores);  // setting up the pool may narrow the calling thread's cores
    });
  } catch (...) {
    end();
    throw;
  }
}

Lane::~Lane() { end(); }

void Lane::end() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Lane::run(const std::function<void()>& work) {
  std::unique_lock<std::mutex> lock(mutex_);
  work_ = &work;
  changed_.notify_all();
  changed_.wait(lock, [this] { return work_ == nullptr; });
  if (fault_) std::rethrow_exception(std::exchange(fault_, nullptr));
}

void Lane::loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || work_ != nullptr; });
    if (work_ == nullptr) return;
    const std::function<void()>& work = *work_;
    lock.unlock();
    std::exception_ptr fault;
    try {
      work();
    } catch (...) {
      fault = std::current_exception();
    }
    lock.lock();
    fault_ = fault;
    work_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace edgeweave::device
