#include "ffi_calls.h"

#include <tvm/ffi/error.h>

// The headers of TVM export these from whatever includes them, and the dynamic linker takes the
// first that it finds: this program's. The libraries would then compare their exceptions with types
// of another C++ library, and crash. Hidden here is hidden in the whole program.
__asm__(
    ".hidden _ZTIN3tvm3ffi5ErrorE\n"
    ".hidden _ZTSN3tvm3ffi5ErrorE\n"
    ".hidden _ZTVN3tvm3ffi5ErrorE\n");

namespace edgeweave::device {

namespace ffi = tvm::ffi;

namespace {

int forward(void* function, const TVMFFIAny* arguments, int32_t count, TVMFFIAny* result) {
  return TVMFFIFunctionCall(function, const_cast<TVMFFIAny*>(arguments), count, result);
}

void release(void* function) { TVMFFIObjectDecRef(function); }

}  // namespace

ffi::Function across(ffi::Function function) {
  void* handle = ffi::details::ObjectUnsafe::MoveObjectRefToTVMFFIObjectPtr(std::move(function));
  return ffi::Function::FromExternC(handle, forward, release);
}

ffi::Function tvm_function(const std::string& name) {
  return across(ffi::Function::GetGlobalRequired(name));
}

}  // namespace edgeweave::device
