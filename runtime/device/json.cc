#include "json.h"

#include <tvm/ffi/error.h>

#include <algorithm>

namespace edgeweave::device {

namespace ffi = tvm::ffi;

namespace {

constexpr size_t kLongestRequest = 16 << 20;
constexpr int kDeepest = 64;  // the parser calls itself for each level
constexpr size_t kLongestReason = 300;

// Levels of lists and objects within each other, in what may be JSON.
int depth_of(const std::string& text) {
  int depth = 0, deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') quoted = !quoted;
    if (c == '\\' && quoted) ++i;
    if (quoted) continue;
    if (c == '[' || c == '{') deepest = std::max(deepest, ++depth);
    if (c == ']' || c == '}') --depth;
  }
  return deepest;
}

// The bytes of the UTF-8 character at `i`; 0 where there is none that can be shown.
size_t character_at(const std::string& text, size_t i) {
  const auto first = static_cast<unsigned char>(text[i]);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || i + size > text.size()) return 0;
  for (size_t k = 1; k < size; ++k) {
    if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return 0;
  }
  const auto second = static_cast<unsigned char>(text[i + 1]);
  const bool beyond = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return beyond ? 0 : size;
}

}  // namespace

void bad_request(const std::string& reason) { throw Failure("bad-request", reason); }

Request Request::parse(const std::string& text) {
  if (text.size() > kLongestRequest || depth_of(text) > kDeepest) {
    bad_request("the request is too long or too deep");
  }
  ffi::String fault;
  ffi::Any value = ffi::json::Parse(ffi::String(text), &fault);
  if (!fault.empty()) bad_request("the request is no JSON");
  auto members = value.as<ffi::json::Object>();
  if (!members) bad_request("the request is no JSON object");
  return Request(*members);
}

ffi::Any Request::member(const char* name) const {
  auto found = members_.find(ffi::String(name));
  if (found == members_.end()) return ffi::Any(nullptr);
  return (*found).second;
}

std::string Request::text(const char* name) const {
  auto value = member(name).as<ffi::String>();
  if (!value) bad_request(std::string(name) + " is missing or no text");
  return *value;
}

std::string Request::text_or_empty(const char* name) const {
  return member(name) == nullptr ? "" : text(name);
}

int64_t Request::integer(const char* name, int64_t least, int64_t most) const {
  ffi::Any value = member(name);
  auto number =
      value.type_index() == ffi::TypeIndex::kTVMFFIBool ? std::nullopt : value.as<int64_t>();
  if (!number) bad_request(std::string(name) + " is missing or no integer");
  if (*number < least || *number > most) {
    bad_request(std::string(name) + " is " + std::to_string(*number) + ", outside " +
                std::to_string(least) + " to " + std::to_string(most));
  }
  return *number;
}

bool Request::flag(const char* name, bool otherwise) const {
  ffi::Any value = member(name);
  if (value == nullptr) return otherwise;
  if (value.type_index() != ffi::TypeIndex::kTVMFFIBool) {
    bad_request(std::string(name) + " is neither true nor false");
  }
  return value.cast<bool>();
}

const ffi::json::Array Request::array(const char* name) const {
  auto values = member(name).as<ffi::json::Array>();
  if (!values) bad_request(std::string(name) + " is missing or no list");
  return *values;
}

Request Request::object(const char* name) const {
  auto members = member(name).as<ffi::json::Object>();
  if (!members) bad_request(std::string(name) + " is missing or no object");
  return Request(*members);
}

std::vector<Request> Request::objects(const char* name) const {
  std::vector<Request> found;
  for (const ffi::Any& value : array(name)) {
    auto members = value.as<ffi::json::Object>();
    if (!members) bad_request(std::string(name) + " holds what is no object");
    found.push_back(Request(*members));
  }
  return found;
}

std::vector<std::string> Request::texts(const char* name) const {
  std::vector<std::string> found;
  for (const ffi::Any& value : array(name)) {
    auto text = value.as<ffi::String>();
    if (!text) bad_request(std::string(name) + " holds what is no text");
    found.push_back(*text);
  }
  return found;
}

std::vector<int64_t> Request::integers(const char* name, int64_t least, int64_t most) const {
  std::vector<int64_t> found;
  for (const ffi::Any& value : array(name)) {
    auto number =
        value.type_index() == ffi::TypeIndex::kTVMFFIInt ? value.as<int64_t>() : std::nullopt;
    if (!number || *number < least || *number > most) {
      bad_request(std::string(name) + " holds what is no integer from " + std::to_string(least) +
                  " to " + std::to_string(most));
    }
    found.push_back(*number);
  }
  return found;
}

Reply& Reply::texts(const char* name, const std::vector<std::string>& values) {
  ffi::json::Array list;
  for (const std::string& value : values) list.push_back(ffi::String(value));
  return set(name, list);
}

std::string error_reply(const std::string& kind, const std::string& reason) {
  Reply error;
  error.text("kind", kind).text("reason", first_line(reason));
  return Reply().set("error", error.object()).str();
}

ffi::Any answer(const std::function<ffi::Any()>& work) {
  try {
    return work();
  } catch (const Failure& failure) {
    return ffi::String(error_reply(failure.kind, failure.what()));
  } catch (const ffi::Error& error) {
    return ffi::String(error_reply("failed", std::string(error.message())));
  } catch (const std::exception& error) {
    return ffi::String(error_reply("failed", error.what()));
  }
}

std::string first_line(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \r\n\t");
  if (begin == std::string::npos) return "no message";
  return printable(text.substr(begin, text.find('\n', begin) - begin), kLongestReason);
}

std::string printable(const std::string& text, size_t most) {
  std::string shown;
  for (size_t i = 0; i < text.size();) {
    const size_t size = character_at(text, i);
    const std::string character = size == 0 ? "?" : text.substr(i, size);
    if (shown.size() + character.size() > most) break;
    shown += character;
    i += std::max<size_t>(size, 1);
  }
  return shown;
}

}  // namespace edgeweave::device
