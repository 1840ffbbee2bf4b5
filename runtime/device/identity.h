// What this device is, as it tells whoever asks.
#pragma once

#include <string>

#include "json.h"
#include "settings.h"

namespace edgeweave::device {

// Everything that does not change while the daemon runs.
Reply describe_device(const Settings& settings, const std::string& emulator);

// Hottest thermal zone in degrees Celsius; null where none can be read.
tvm::ffi::Any read_temperature();
// [{"core", "part", "max_mhz", "mhz", "governor"}]; null members where unreadable.
tvm::ffi::json::Array read_cpus();
// Free space of the file system that holds `folder`.
int64_t free_mib(const std::string& folder);

}  // namespace edgeweave::device
