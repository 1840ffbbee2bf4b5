#include "tensors.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/dtype.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <new>

#include "net.h"

namespace edgeweave::device {
namespace {

namespace ffi = tvm::ffi;
constexpr DLDevice kCpu{kDLCPU, 0};
constexpr int64_t kLargest = int64_t{1} << 40;  // bytes of one tensor

struct Owned {
  void AllocData(DLTensor* tensor) {
    const size_t size = ffi::GetDataSize(*tensor);
    const size_t rounded = (size + kAlignment) / kAlignment * kAlignment;
    tensor->data = std::aligned_alloc(kAlignment, rounded);
    if (tensor->data == nullptr) throw std::bad_alloc();
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

struct Borrowed {
  void* data;
  void AllocData(DLTensor* tensor) { tensor->data = data; }
  void FreeData(DLTensor*) {}
};

const std::map<std::string, DLDataType> kDtypes = {
    {"bool", {kDLBool, 8, 1}},       {"int8", {kDLInt, 8, 1}},       {"int16", {kDLInt, 16, 1}},
    {"int32", {kDLInt, 32, 1}},      {"int64", {kDLInt, 64, 1}},     {"uint8", {kDLUInt, 8, 1}},
    {"uint16", {kDLUInt, 16, 1}},    {"uint32", {kDLUInt, 32, 1}},   {"uint64", {kDLUInt, 64, 1}},
    {"float16", {kDLFloat, 16, 1}},  {"float32", {kDLFloat, 32, 1}}, {"float64", {kDLFloat, 64, 1}},
    {"bfloat16", {kDLBfloat, 16, 1}}};

template <typename T>
ffi::Tensor scalar(DLDataType dtype, T value) {
  ffi::Tensor tensor = ffi::Tensor::FromNDAlloc(Owned{}, ffi::Shape({}), dtype, kCpu);
  *static_cast<T*>(tensor.data_ptr()) = value;
  return tensor;
}

ffi::Tensor of_shape(const ffi::Shape& shape) {
  const auto count = static_cast<int64_t>(shape.size());
  ffi::Tensor tensor =
      ffi::Tensor::FromNDAlloc(Owned{}, ffi::Shape({count}), {kDLInt, 64, 1}, kCpu);
  for (int64_t i = 0; i < count; ++i) static_cast<int64_t*>(tensor.data_ptr())[i] = shape[i];
  return tensor;
}

// Copies elements in order of the last dimension; steps are in elements.
void copy_elements(const DLTensor& from, char* to, int dimension, const char* at) {
  const size_t size = from.dtype.bits / 8;
  if (dimension == from.ndim) {
    memcpy(to, at, size);
    return;
  }
  size_t inner = size;
  for (int i = dimension + 1; i < from.ndim; ++i) inner *= static_cast<size_t>(from.shape[i]);
  for (int64_t i = 0; i < from.shape[dimension]; ++i) {
    const auto step = static_cast<ptrdiff_t>(size) * from.strides[dimension];
    copy_elements(from, to + static_cast<size_t>(i) * inner, dimension + 1, at + i * step);
  }
}

ffi::Tensor aligned(const ffi::Tensor& tensor) {
  const DLTensor& from = *tensor.GetDLTensorPtr();
  const char* data = static_cast<const char*>(from.data) + from.byte_offset;
  const bool at_boundary = reinterpret_cast<uintptr_t>(data) % kAlignment == 0;
  const bool whole = tensor.IsContiguous();
  if (from.byte_offset == 0 && at_boundary && whole) return tensor;
  ffi::Tensor copy = ffi::Tensor::FromNDAlloc(Owned{}, tensor.shape(), from.dtype, kCpu);
  if (tensor.numel() == 0) return copy;
  if (whole) {
    memcpy(copy.data_ptr(), data, ffi::GetDataSize(from));
  } else {
    copy_elements(from, static_cast<char*>(copy.data_ptr()), 0, data);
  }
  return copy;
}

}  // namespace

Spec read_spec(const Request& request) {
  Spec spec;
  spec.name = request.text("name");
  const auto dtype = kDtypes.find(request.text("dtype"));
  if (dtype == kDtypes.end()) {
    bad_request("'" + spec.name + "' is of " + request.text("dtype") +
                ", which does not cross a stage's border");
  }
  spec.dtype = dtype->second;
  spec.shape = request.integers("shape", 0, int64_t{1} << 31);
  spec.nbytes = spec.dtype.bits / 8;
  for (int64_t size : spec.shape) {
    if (size != 0 && spec.nbytes > kLargest / size) bad_request("'" + spec.name + "' is too large");
    spec.nbytes *= size;
  }
  return spec;
}

ffi::Tensor allocate(const Spec& spec) {
  return ffi::Tensor::FromNDAlloc(Owned{}, ffi::ShapeView(spec.shape.data(), spec.shape.size()),
                                  spec.dtype, kCpu);
}

ffi::Tensor wrap(const Spec& spec, void* data) {
  return ffi::Tensor::FromNDAlloc(
      Borrowed{data}, ffi::ShapeView(spec.shape.data(), spec.shape.size()), spec.dtype, kCpu);
}

Spec spec_of(const ffi::Tensor& tensor) {
  const ffi::ShapeView shape = tensor.shape();
  return {"",
          tensor.dtype(),
          {shape.begin(), shape.end()},
          static_cast<int64_t>(ffi::GetDataSize(*tensor.GetDLTensorPtr()))};
}

bool same_type(const Spec& a, const Spec& b) {
  return a.dtype.code == b.dtype.code && a.dtype.bits == b.dtype.bits &&
         a.dtype.lanes == b.dtype.lanes && a.shape == b.shape;
}

std::string describe(const Spec& spec) {
  std::string text = std::string(ffi::DLDataTypeToString(spec.dtype)) + " (";
  for (size_t i = 0; i < spec.shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(spec.shape[i]);
  }
  return text + ")";
}

void flatten(const ffi::Any& result, std::vector<ffi::Tensor>& into) {
  if (auto tensor = result.as<ffi::Tensor>()) {
    into.push_back(aligned(*tensor));
  } else if (auto list = result.as<ffi::Array<ffi::Any>>()) {
    for (const ffi::Any& item : *list) flatten(item, into);
  } else if (auto shape = result.as<ffi::Shape>()) {
    into.push_back(of_shape(*shape));
  } else if (result.type_index() == ffi::TypeIndex::kTVMFFIBool) {
    into.push_back(scalar<bool>({kDLBool, 8, 1}, result.cast<bool>()));
  } else if (result.type_index() == ffi::TypeIndex::kTVMFFIInt) {
    into.push_back(scalar<int64_t>({kDLInt, 64, 1}, result.cast<int64_t>()));
  } else if (result.type_index() == ffi::TypeIndex::kTVMFFIFloat) {
    into.push_back(scalar<double>({kDLFloat, 64, 1}, result.cast<double>()));
  } else {
    throw Failure("failed", "it returned a " + std::string(result.GetTypeKey()));
  }
}

Mapping::Mapping(const std::string& path) {
  Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (!file.open() || fstat(file.get(), &info) != 0) {
    throw Failure("failed", path + " cannot be read: " + strerror(errno));
  }
  size_ = info.st_size;
  if (size_ == 0) return;
  data_ =
      mmap(nullptr, static_cast<size_t>(size_), PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
  if (data_ == MAP_FAILED) {
    size_ = 0;
    throw Failure("failed", path + " cannot be mapped: " + strerror(errno));
  }
}

Mapping::~Mapping() {
  if (size_ > 0) munmap(data_, static_cast<size_t>(size_));
}

}  // namespace edgeweave::device
