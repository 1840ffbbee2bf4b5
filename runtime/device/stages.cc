#include "stages.h"

#include <string.h>

#include <algorithm>
#include <chrono>

#include "cpu_features.h"

namespace edgeweave::device {
namespace {

namespace ffi = tvm::ffi;
constexpr int64_t kMostTimes = int64_t{1} << 24;  // of one run

// Code for features that the CPU lacks would end this process; so it is not even mapped.
void check_features(const std::vector<StageRequest>& stages) {
  const std::vector<std::string> present = cpu_features();
  for (const StageRequest& stage : stages) {
    std::string missing;
    for (const std::string& feature : stage.features) {
      if (std::binary_search(present.begin(), present.end(), feature)) continue;
      missing += (missing.empty() ? "" : ", ") + feature;
    }
    if (!missing.empty()) {
      throw Failure("missing-features",
                    "stage " + stage.name + " needs what this CPU does not have: " + missing);
    }
  }
}

int64_t nanoseconds(const Span& span) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(span.end - span.begin).count();
}

}  // namespace

Stages::Stages(const OpenRequest& request, const Store& store) : outputs_(request.outputs) {
  for (const Spec& input : request.inputs) inputs_.emplace(input.name, input);
  if (request.check_features) check_features(request.stages);
  try {
    open(request, store);
  } catch (...) {
    close();
    throw;
  }
}

Stages::~Stages() { close(); }

void Stages::open(const OpenRequest& request, const Store& store) {
  for (const StageRequest& stage : request.stages) {
    Lane* lane = lane_at(find_place(stage.cores, notes_));
    if (groups_.empty() || groups_.back().lane != lane) groups_.push_back({lane, {}});
    auto& opened = groups_.back().stages;
    lane->run([&] { opened.push_back(std::make_unique<Stage>(stage, store)); });
  }
  std::sort(notes_.begin(), notes_.end());
  notes_.erase(std::unique(notes_.begin(), notes_.end()), notes_.end());
}

// Values end before the machines that made them, and each machine in its own thread.
void Stages::close() {
  values_.clear();
  for (Group& group : groups_) {
    group.lane->run([&] { group.stages.clear(); });
  }
  groups_.clear();
}

Lane* Stages::lane_at(const Place& place) {
  for (const auto& lane : lanes_) {
    if (lane->place() == place) return lane.get();
  }
  lanes_.push_back(std::make_unique<Lane>(place));
  return lanes_.back().get();
}

void Stages::set_input(const std::string& name, const char* data, size_t size) {
  const auto spec = inputs_.find(name);
  if (spec == inputs_.end()) bad_request("there is no input '" + name + "'");
  if (static_cast<int64_t>(size) != spec->second.nbytes) {
    bad_request("input '" + name + "' takes " + std::to_string(spec->second.nbytes) +
                " bytes, not " + std::to_string(size));
  }
  ffi::Tensor tensor = allocate(spec->second);
  memcpy(tensor.data_ptr(), data, size);
  values_.insert_or_assign(name, tensor);
}

std::vector<int64_t> Stages::run(int64_t frames, int64_t warmup) {
  for (const auto& [name, spec] : inputs_) {
    if (values_.count(name) == 0) bad_request("input '" + name + "' was not set");
  }
  int64_t columns = 1;
  for (const Group& group : groups_) columns += static_cast<int64_t>(group.stages.size());
  if (frames > kMostTimes / columns) {
    bad_request("one run takes up to " + std::to_string(kMostTimes / columns) + " frames");
  }
  // a run that fails leaves no outputs of an older one
  for (auto value = values_.begin(); value != values_.end();) {
    value = inputs_.count(value->first) == 0 ? values_.erase(value) : std::next(value);
  }
  std::vector<int64_t> taken;
  std::vector<Span> spans;
  for (int64_t frame = -warmup; frame < frames; ++frame) {
    spans.clear();
    run_frame(spans);
    if (frame < 0) continue;
    for (const Span& span : spans) taken.push_back(nanoseconds(span));
    taken.push_back(nanoseconds({spans.front().begin, spans.back().end}));
  }
  return taken;
}

void Stages::run_frame(std::vector<Span>& spans) {
  for (Group& group : groups_) {
    group.lane->run([&] {
      for (const auto& stage : group.stages) spans.push_back(stage->run(values_));
    });
  }
}

ffi::Tensor Stages::output(const std::string& name) const {
  if (std::find(outputs_.begin(), outputs_.end(), name) == outputs_.end()) {
    bad_request("there is no output '" + name + "'");
  }
  const auto value = values_.find(name);
  if (value == values_.end()) bad_request("there is no frame whose outputs could be read");
  return value->second;
}

}  // namespace edgeweave::device
