// What edgeweave.device.open is asked for, read and checked as a whole before anything is opened.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "json.h"
#include "tensors.h"

namespace edgeweave::device {

struct Weight {
  Spec spec;
  int64_t offset;  // bytes into the file of weights
};

struct StageRequest {
  std::string name;
  std::string library;  // SHA-256 of a file in the store
  std::string weights;  // as library; empty: none
  std::string function;
  std::vector<Weight> weights_index;
  std::vector<Spec> inputs, outputs;
  std::vector<int64_t> cores;
  std::vector<std::string> features;
};

struct OpenRequest {
  std::vector<StageRequest> stages;
  std::vector<Spec> inputs;
  std::vector<std::string> outputs;
  bool check_features;
};

// bad-request also where a stage takes what nothing before it makes, as it is made, and where two
// values have one name.
OpenRequest read_open_request(const Request& request);

}  // namespace edgeweave::device
