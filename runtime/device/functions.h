// The functions that edgeweave calls in a session, beside TVM's own.
#pragma once

#include "settings.h"

namespace edgeweave::device {

// Registers edgeweave.device.*, as docs/device-protocol.md describes them. None of them throws: what
// cannot be done is returned as {"error": {"kind", "reason"}}.
void register_functions(const Settings& settings);

}  // namespace edgeweave::device
