// The kit that this program lies in: bin/edgeweave-device, lib/, device.json.
#pragma once

#include <map>
#include <string>

namespace edgeweave::device {

std::string kit_folder();

// Of what is in the kit, from its device.json; nothing where there is none. Throws Failure where it
// is damaged.
std::map<std::string, std::string> read_versions(const std::string& kit);

// What this program is built for, as LLVM calls it.
std::string architecture();

}  // namespace edgeweave::device
