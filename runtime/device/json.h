// JSON requests read with checks, and replies. A request that is not as expected is a Failure.
#pragma once

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/string.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace edgeweave::device {

// What the workstation is told of: a kind that its errors are made from, and one line.
struct Failure : std::runtime_error {
  Failure(std::string kind, const std::string& reason)
      : std::runtime_error(reason), kind(std::move(kind)) {}
  std::string kind;
};

[[noreturn]] void bad_request(const std::string& reason);

class Request {
 public:
  // An object in JSON; bad-request for anything else.
  static Request parse(const std::string& text);

  std::string text(const char* name) const;
  // The text, or "" where the member is null or missing.
  std::string text_or_empty(const char* name) const;
  int64_t integer(const char* name, int64_t least, int64_t most) const;
  bool flag(const char* name, bool otherwise) const;
  Request object(const char* name) const;
  std::vector<Request> objects(const char* name) const;
  std::vector<std::string> texts(const char* name) const;
  std::vector<int64_t> integers(const char* name, int64_t least, int64_t most) const;

 private:
  explicit Request(tvm::ffi::json::Object members) : members_(std::move(members)) {}
  const tvm::ffi::json::Array array(const char* name) const;
  tvm::ffi::Any member(const char* name) const;

  tvm::ffi::json::Object members_;
};

class Reply {
 public:
  Reply& set(const char* name, const tvm::ffi::Any& value) {
    members_.Set(tvm::ffi::String(name), value);
    return *this;
  }
  Reply& text(const char* name, const std::string& value) {
    return set(name, tvm::ffi::String(value));
  }
  Reply& texts(const char* name, const std::vector<std::string>& values);
  Reply& null(const char* name) { return set(name, tvm::ffi::Any(nullptr)); }
  tvm::ffi::json::Object object() const { return members_; }
  std::string str() const { return tvm::ffi::json::Stringify(members_); }

 private:
  tvm::ffi::json::Object members_;
};

// {"error": {"kind", "reason"}}
std::string error_reply(const std::string& kind, const std::string& reason);

// What `work` returns, or the reply that says how it failed.
tvm::ffi::Any answer(const std::function<tvm::ffi::Any()>& work);

// Its first line that says something, as far as it fits into a message.
std::string first_line(const std::string& text);

// UTF-8 without control characters, `most` bytes of it at most; "?" for what is neither.
std::string printable(const std::string& text, size_t most);

}  // namespace edgeweave::device
