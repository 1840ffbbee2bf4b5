#include "signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>

namespace edgeweave::device::signals {
namespace {

constexpr int kCaught[] = {SIGCHLD, SIGTERM, SIGINT};
int ends[2] = {-1, -1};  // of a pipe to ourselves
volatile sig_atomic_t stop = 0;

void note(int signal) {
  const int before = errno;
  if (signal != SIGCHLD) stop = 1;
  const char byte = 0;
  (void)!write(ends[1], &byte, 1);  // when it is full, the loop wakes anyway
  errno = before;
}

}  // namespace

void begin() {
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw std::runtime_error("no pipe can be made");
  struct sigaction action{};
  action.sa_handler = note;
  for (int signal : kCaught) sigaction(signal, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int fd() { return ends[0]; }

void drain() {
  std::array<char, 64> bytes;
  while (read(ends[0], bytes.data(), bytes.size()) > 0) {
  }
}

bool asked_to_stop() { return stop != 0; }

void leave_to_default() {
  for (int number : kCaught) signal(number, SIG_DFL);
}

}  // namespace edgeweave::device::signals
