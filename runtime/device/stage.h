// One stage of a bundle: a function of a Relax library, with its weights.
#pragma once

#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "open_request.h"
#include "store.h"
#include "tensors.h"

namespace edgeweave::device {

using Values = std::map<std::string, tvm::ffi::Tensor>;

struct Span {
  std::chrono::steady_clock::time_point begin, end;
};

// Is made, used and ended in one thread.
class Stage {
 public:
  // Maps library and weights. Throws Failure.
  Stage(const StageRequest& request, const Store& store);

  // Takes its inputs from the values and adds its outputs. The span is that of the call alone.
  // Throws Failure, kind failed, with the stage's name and what the code says.
  Span run(Values& values) const;

 private:
  void map_weights(const StageRequest& request, const std::string& path);
  void load(const StageRequest& request, const std::string& path);
  void take(const tvm::ffi::Any& result, Values& values) const;

  std::string name_;
  std::vector<std::string> inputs_;
  std::vector<Spec> outputs_;
  // in the order of their ends: the function ends first, what it uses later
  std::optional<Mapping> mapping_;
  std::vector<tvm::ffi::Tensor> weights_;
  std::optional<tvm::ffi::Module> machine_;
  std::optional<tvm::ffi::Function> function_;
};

}  // namespace edgeweave::device
