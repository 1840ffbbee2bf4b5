#include "open_request.h"

#include <map>
#include <utility>

namespace edgeweave::device {
namespace {

constexpr size_t kMostStages = 1000;
constexpr int64_t kMostCores = 1024;
constexpr int64_t kLargestFile = int64_t{1} << 50;

std::vector<Spec> read_specs(const std::vector<Request>& requests) {
  std::vector<Spec> specs;
  for (const Request& request : requests) specs.push_back(read_spec(request));
  return specs;
}

Weight read_weight(const Request& request) {
  Weight weight{read_spec(request), request.integer("offset", 0, kLargestFile)};
  if (request.integer("nbytes", 0, kLargestFile) != weight.spec.nbytes) {
    bad_request("weight '" + weight.spec.name + "' takes " + std::to_string(weight.spec.nbytes) +
                " bytes, not what nbytes says");
  }
  return weight;
}

StageRequest read_stage(const Request& request) {
  StageRequest stage;
  stage.name = request.text("name");
  stage.library = request.text("library");
  stage.weights = request.text_or_empty("weights");
  stage.function = request.text("function");
  for (const Request& weight : request.objects("weights_index")) {
    stage.weights_index.push_back(read_weight(weight));
  }
  stage.inputs = read_specs(request.objects("inputs"));
  stage.outputs = read_specs(request.objects("outputs"));
  stage.cores = request.integers("cores", 0, kMostCores - 1);
  stage.features = request.texts("features");
  if (stage.name.empty()) bad_request("a stage has no name");
  if (stage.outputs.empty()) bad_request("stage " + stage.name + " has no output");
  if (stage.weights.empty() && !stage.weights_index.empty()) {
    bad_request("stage " + stage.name + " has weights, and no file of them");
  }
  return stage;
}

using Known = std::map<std::string, Spec>;

void add(Known& known, const Spec& spec) {
  if (!known.emplace(spec.name, spec).second) {
    bad_request("two values have the name '" + spec.name + "'");
  }
}

void check_input(const Known& known, const StageRequest& stage, const Spec& input) {
  const auto made = known.find(input.name);
  if (made == known.end()) {
    bad_request("stage " + stage.name + " takes '" + input.name + "', which nothing before makes");
  }
  const Spec& spec = made->second;
  if (!same_type(spec, input)) {
    bad_request("stage " + stage.name + " takes '" + input.name + "' as " + describe(input) +
                ", and it is " + describe(spec));
  }
}

void check_flow(const OpenRequest& request) {
  Known known;
  for (const Spec& input : request.inputs) add(known, input);
  for (const StageRequest& stage : request.stages) {
    for (const Spec& input : stage.inputs) check_input(known, stage, input);
    for (const Spec& output : stage.outputs) add(known, output);
  }
  for (const std::string& name : request.outputs) {
    if (known.count(name) == 0) bad_request("no stage makes the output '" + name + "'");
  }
}

}  // namespace

OpenRequest read_open_request(const Request& request) {
  OpenRequest wanted;
  for (const Request& stage : request.objects("stages")) {
    wanted.stages.push_back(read_stage(stage));
  }
  wanted.inputs = read_specs(request.objects("inputs"));
  wanted.outputs = request.texts("outputs");
  wanted.check_features = request.flag("check_features", true);
  if (wanted.stages.empty() || wanted.stages.size() > kMostStages) {
    bad_request("there must be 1 to " + std::to_string(kMostStages) + " stages");
  }
  check_flow(wanted);
  return wanted;
}

}  // namespace edgeweave::device
