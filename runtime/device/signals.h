// Signals that wake the loop of a server: a child ended, or this process is asked to end.
#pragma once

namespace edgeweave::device::signals {

// Catches them from now on; SIGPIPE is ignored. Throws std::runtime_error.
void begin();
// Readable when one came.
int fd();
void drain();
// SIGTERM or SIGINT came.
bool asked_to_stop();
// What a forked child does first: all of them do again what they do by default.
void leave_to_default();

}  // namespace edgeweave::device::signals
