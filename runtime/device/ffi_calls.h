// Calls between this program and TVM's libraries, through TVM's C interface only. The two may be
// built with different C++ libraries, and an exception of one must never reach the other.
#pragma once

#include <tvm/ffi/function.h>

#include <string>
#include <utility>

namespace edgeweave::device {

// The same function, which neither throws into its caller's library nor out of it: what goes wrong
// in it is an ffi::Error of the caller's. For whatever of TVM's is called here, and the other way.
tvm::ffi::Function across(tvm::ffi::Function function);

// A global function of TVM's. Throws ffi::Error where there is none of that name.
tvm::ffi::Function tvm_function(const std::string& name);

// Makes `callable` a global function, in place of one that has this name.
template <typename Callable>
void define_global(const std::string& name, Callable callable) {
  tvm::ffi::Function::SetGlobal(name, across(tvm::ffi::Function::FromTyped(std::move(callable))),
                                true);
}

}  // namespace edgeweave::device
