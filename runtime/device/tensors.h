// Tensors in this process' memory, aligned as generated code expects.
#pragma once

#include <tvm/ffi/container/tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "json.h"

namespace edgeweave::device {

constexpr size_t kAlignment = 64;  // bytes

struct Spec {
  std::string name;
  DLDataType dtype;
  std::vector<int64_t> shape;
  int64_t nbytes;
};

// {"name", "dtype", "shape"}, dtypes as numpy names them. bad-request for what is no tensor of
// fixed shape.
Spec read_spec(const Request& request);

tvm::ffi::Tensor allocate(const Spec& spec);
// Uses memory that outlives the tensor, aligned to kAlignment.
tvm::ffi::Tensor wrap(const Spec& spec, void* data);

Spec spec_of(const tvm::ffi::Tensor& tensor);  // without a name
// Whether element type and shape are equal.
bool same_type(const Spec& a, const Spec& b);
// "float32 (1, 3)", for messages.
std::string describe(const Spec& spec);

// The tensors of a function's result, in order: a tensor, a shape or a number, or nested lists.
// Each is aligned to kAlignment and without gaps; what is not so already is copied.
void flatten(const tvm::ffi::Any& result, std::vector<tvm::ffi::Tensor>& into);

// A file mapped for reading; writes stay in this process.
class Mapping {
 public:
  // Throws Failure.
  explicit Mapping(const std::string& path);
  ~Mapping();
  Mapping(Mapping&& other) noexcept : data_(other.data_), size_(other.size_) { other.size_ = 0; }
  Mapping& operator=(Mapping&&) = delete;
  char* data() const { return static_cast<char*>(data_); }
  int64_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace edgeweave::device
