#include "stage.h"

#include <string.h>
#include <tvm/ffi/error.h>

#include "ffi_calls.h"

namespace edgeweave::device {
namespace {

namespace ffi = tvm::ffi;
constexpr int kPooledAllocator = 2;  // of TVM's virtual machine

ffi::Function function_of(const ffi::Module& module, const std::string& name) {
  auto found = tvm_function("ffi.ModuleGetFunction")(module, name, false)
                   .cast<ffi::Optional<ffi::Function>>();
  if (!found) throw Failure("failed", "the library has no function " + name);
  return across(*found);
}

// The work, with the stage's name in front of what goes wrong.
template <typename Work>
void in_the_name_of(const std::string& stage, Work work) {
  try {
    work();
  } catch (const Failure& failure) {
    throw Failure(failure.kind, "stage " + stage + ": " + failure.what());
  } catch (const ffi::Error& error) {
    throw Failure("failed", "stage " + stage + ": " + first_line(std::string(error.message())));
  } catch (const std::bad_alloc&) {
    throw Failure("failed", "stage " + stage + ": there is not enough memory");
  } catch (const std::exception& error) {
    throw Failure("failed", "stage " + stage + ": " + first_line(error.what()));
  }
}

}  // namespace

Stage::Stage(const StageRequest& request, const Store& store)
    : name_(request.name), outputs_(request.outputs) {
  for (const Spec& input : request.inputs) inputs_.push_back(input.name);
  in_the_name_of(name_, [&] {
    if (!request.weights.empty()) map_weights(request, store.path(request.weights));
    load(request, store.path(request.library));
  });
}

void Stage::load(const StageRequest& request, const std::string& path) {
  // the store names files by their content, so the ending cannot say what this is
  auto library = tvm_function("ffi.Module.load_from_file.so")(path, "so").cast<ffi::Module>();
  machine_ = function_of(library, "vm_load_executable")().cast<ffi::Module>();
  function_of(*machine_, "vm_initialization")(static_cast<int>(kDLCPU), 0, kPooledAllocator);
  function_ = function_of(*machine_, request.function);
}

void Stage::map_weights(const StageRequest& request, const std::string& path) {
  mapping_.emplace(path);
  for (const Weight& weight : request.weights_index) {
    const Spec& spec = weight.spec;
    if (weight.offset > mapping_->size() || spec.nbytes > mapping_->size() - weight.offset) {
      bad_request("weight '" + spec.name + "' does not lie inside its file of " +
                  std::to_string(mapping_->size()) + " bytes");
    }
    char* data = mapping_->data() + weight.offset;
    if (spec.nbytes > 0 && reinterpret_cast<uintptr_t>(data) % kAlignment == 0) {
      weights_.push_back(wrap(spec, data));
      continue;
    }
    weights_.push_back(allocate(spec));
    if (spec.nbytes > 0) {
      memcpy(weights_.back().data_ptr(), data, static_cast<size_t>(spec.nbytes));
    }
  }
}

Span Stage::run(Values& values) const {
  Span span;
  in_the_name_of(name_, [&] {
    std::vector<ffi::AnyView> arguments;
    for (const std::string& name : inputs_) arguments.emplace_back(values.at(name));
    for (const ffi::Tensor& weight : weights_) arguments.emplace_back(weight);
    ffi::Any result;
    span.begin = std::chrono::steady_clock::now();
    function_->CallPacked(arguments.data(), static_cast<int32_t>(arguments.size()), &result);
    span.end = std::chrono::steady_clock::now();
    take(result, values);
  });
  return span;
}

void Stage::take(const ffi::Any& result, Values& values) const {
  std::vector<ffi::Tensor> tensors;
  flatten(result, tensors);
  if (tensors.size() != outputs_.size()) {
    throw Failure("failed", "it returned " + std::to_string(tensors.size()) + " values, not " +
                                std::to_string(outputs_.size()));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Spec returned = spec_of(tensors[i]);
    if (!same_type(returned, outputs_[i])) {
      throw Failure("failed", "it returned " + describe(returned) + " for '" + outputs_[i].name +
                                  "', which is " + describe(outputs_[i]));
    }
    values.insert_or_assign(outputs_[i].name, tensors[i]);
  }
}

}  // namespace edgeweave::device
