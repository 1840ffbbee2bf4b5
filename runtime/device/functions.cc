#include "functions.h"

#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <memory>
#include <string>
#include <utility>

#include "ffi_calls.h"
#include "identity.h"
#include "json.h"
#include "lane.h"
#include "link.h"
#include "open_request.h"
#include "stages.h"
#include "store.h"

namespace edgeweave::device {
namespace {

namespace ffi = tvm::ffi;
constexpr int64_t kMostFrames = 1000000;  // of one call
constexpr int64_t kLargestCopy = int64_t{256} << 20;
constexpr int64_t kMostRepeats = 10000;
constexpr int64_t kLastCore = 1023;
constexpr int64_t kLargestFile = int64_t{1} << 50;

// The arguments of a call; bad-request for what is missing or of another type.
class Arguments {
 public:
  explicit Arguments(ffi::PackedArgs values) : values_(values) {}

  std::string text(int index, const char* what) const {
    const auto value = at(index).try_cast<ffi::String>();
    if (!value) bad_request(std::string(what) + " is missing or no text");
    return *value;
  }
  ffi::Bytes bytes(int index, const char* what) const {
    const auto value = at(index).try_cast<ffi::Bytes>();
    if (!value) bad_request(std::string(what) + " are missing or no bytes");
    return *value;
  }
  int64_t integer(int index, const char* what, int64_t least, int64_t most) const {
    const auto value = at(index).as<int64_t>();
    if (!value || *value < least || *value > most) {
      bad_request(std::string(what) + " must be an integer from " + std::to_string(least) + " to " +
                  std::to_string(most));
    }
    return *value;
  }
  Request request() const { return Request::parse(text(0, "the request")); }

 private:
  ffi::AnyView at(int index) const {
    return index < values_.size() ? values_[index] : ffi::AnyView(nullptr);
  }
  ffi::PackedArgs values_;
};

// What one session has opened.
struct Session {
  explicit Session(const Settings& given)
      : settings(given),
        store(given.state + "/store", given.upload_mib << 20, given.store_mib << 20) {}

  Stages& opened() {
    if (!stages) throw Failure("not-open", "no stages are open");
    return *stages;
  }

  const Settings settings;
  Store store;
  std::unique_ptr<Stages> stages;
};

ffi::Any text(const Reply& reply) { return ffi::String(reply.str()); }

Store::File read_file(const Request& request) {
  return {request.text("sha256"), request.integer("size", 0, kLargestFile)};
}

ffi::Any missing(Session& session, const Arguments& arguments) {
  std::vector<Store::File> files;
  for (const Request& file : arguments.request().objects("files")) {
    files.push_back(read_file(file));
  }
  ffi::json::Array missing;
  for (const Store::Missing& file : session.store.missing(files)) {
    missing.push_back(Reply().text("sha256", file.sha256).set("have", file.have).object());
  }
  return text(Reply().set("missing", missing));
}

ffi::Any put(Session& session, const Arguments& arguments) {
  const Request request = arguments.request();
  const ffi::Bytes data = arguments.bytes(1, "the data");
  const int64_t have = session.store.put(
      read_file(request), request.integer("offset", 0, kLargestFile), {data.data(), data.size()});
  return text(Reply().set("have", have));
}

ffi::Any open(Session& session, const Arguments& arguments) {
  const OpenRequest request = read_open_request(arguments.request());
  session.stages.reset();  // before others are opened, which may need the memory
  session.stages = std::make_unique<Stages>(request, session.store);
  return text(Reply().texts("notes", session.stages->notes()));
}

ffi::Any set_input(Session& session, const Arguments& arguments) {
  const ffi::Bytes data = arguments.bytes(1, "the data");
  session.opened().set_input(arguments.text(0, "the name"), data.data(), data.size());
  return text(Reply());
}

ffi::Any run(Session& session, const Arguments& arguments) {
  const int64_t frames = arguments.integer(0, "frames", 1, kMostFrames);
  const int64_t warmup = arguments.integer(1, "warm-up frames", 0, kMostFrames);
  const std::vector<int64_t> taken = session.opened().run(frames, warmup);
  return ffi::Bytes(reinterpret_cast<const char*>(taken.data()), taken.size() * sizeof taken[0]);
}

ffi::Any get_output(Session& session, const Arguments& arguments) {
  const ffi::Tensor tensor = session.opened().output(arguments.text(0, "the name"));
  return ffi::Bytes(static_cast<const char*>(tensor.data_ptr()),
                    static_cast<size_t>(spec_of(tensor).nbytes));
}

ffi::json::Array numbers(const std::vector<double>& values) {
  ffi::json::Array list;
  for (double value : values) list.push_back(value);
  return list;
}

ffi::Any time_link(Session&, const Arguments& arguments) {
  const Request request = arguments.request();
  std::vector<std::string> notes;
  const Place from = find_place(request.integers("a", 0, kLastCore), notes);
  const Place to = find_place(request.integers("b", 0, kLastCore), notes);
  const LinkTimes times =
      measure_link(from.cores, to.cores, request.integer("bytes", 1, kLargestCopy),
                   request.integer("repeats", 1, kMostRepeats));
  return text(Reply()
                  .set("latency_us", numbers(times.latency_us))
                  .set("copy_s", numbers(times.copy_s))
                  .texts("notes", notes));
}

ffi::Any state(Session& session, const Arguments&) {
  return text(Reply()
                  .set("temperature_c", read_temperature())
                  .set("cpus", read_cpus())
                  .set("free_mib", free_mib(session.settings.state)));
}

using Work = ffi::Any (*)(Session&, const Arguments&);

void define(Session& session, const std::string& name, Work work) {
  auto call = [&session, work](ffi::PackedArgs arguments, ffi::Any* result) {
    *result = answer([&] { return work(session, Arguments(arguments)); });
  };
  ffi::Function::SetGlobal("edgeweave.device." + name, across(ffi::Function::FromPacked(call)),
                           true);
}

}  // namespace

void register_functions(const Settings& settings) {
  // lives until the session's process ends, without destructors
  static Session& session = *new Session(settings);
  define(session, "missing", missing);
  define(session, "put", put);
  define(session, "open", open);
  define(session, "set_input", set_input);
  define(session, "run", run);
  define(session, "get_output", get_output);
  define(session, "measure_link", time_link);
  define(session, "state", state);
}

}  // namespace edgeweave::device
