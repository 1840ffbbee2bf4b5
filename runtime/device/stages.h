// The stages of a bundle, opened and run one after another.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lane.h"
#include "open_request.h"
#include "stage.h"
#include "store.h"

namespace edgeweave::device {

// Stages on the same cores share a thread, as they do in the pipeline; others have their own.
class Stages {
 public:
  // Throws Failure; missing-features before any library is mapped.
  Stages(const OpenRequest& request, const Store& store);
  ~Stages();
  Stages(const Stages&) = delete;
  Stages& operator=(const Stages&) = delete;

  // What could not be set up as it was asked for.
  const std::vector<std::string>& notes() const { return notes_; }
  // The elements, little-endian and without gaps.
  void set_input(const std::string& name, const char* data, size_t size);
  // Nanoseconds, frames x (stages + 1). A stage's time is that of its call; the last column runs
  // from the first stage's begin to the last one's end.
  std::vector<int64_t> run(int64_t frames, int64_t warmup);
  // An output of the last frame.
  tvm::ffi::Tensor output(const std::string& name) const;

 private:
  // Stages that follow each other in one thread.
  struct Group {
    Lane* lane;
    std::vector<std::unique_ptr<Stage>> stages;
  };

  void open(const OpenRequest& request, const Store& store);
  void close();
  Lane* lane_at(const Place& place);
  void run_frame(std::vector<Span>& spans);

  std::map<std::string, Spec> inputs_;
  std::vector<std::string> outputs_;
  std::vector<std::string> notes_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Group> groups_;
  Values values_;
};

}  // namespace edgeweave::device
