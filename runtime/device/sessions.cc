#include "sessions.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "session.h"

namespace edgeweave::device {
namespace {

namespace ffi = tvm::ffi;
namespace fs = std::filesystem;
constexpr size_t kRemembered = 16;
// For a session whose client is gone: one that only waits for the next call ends at once.
constexpr auto kLeaveTaking = std::chrono::seconds(2);

double seconds_between(Time from, Time to) {
  return std::chrono::duration<double>(to - from).count();
}

std::string signal_name(int signal) {
  switch (signal) {
    case SIGILL:
      return "SIGILL";
    case SIGSEGV:
      return "SIGSEGV";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGABRT:
      return "SIGABRT";
    case SIGKILL:
      return "SIGKILL";
    case SIGTERM:
      return "SIGTERM";
    case SIGTRAP:
      return "SIGTRAP";
    case SIGSYS:
      return "SIGSYS";
    default:
      return "signal " + std::to_string(signal);
  }
}

std::string make_folder(const std::string& parent) {
  std::string path = parent + "/session-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    throw std::runtime_error(parent + ": no folder can be made: " + strerror(errno));
  }
  return path;
}

struct Family {
  int parent = -1, group = -1;
};

// From proc(5)'s stat: after the name in parentheses come state, parent and group.
Family family_of(const char* pid) {
  std::ifstream file(std::string("/proc/") + pid + "/stat");
  std::string line;
  std::getline(file, line);
  const size_t name_end = line.rfind(')');
  Family found;
  if (name_end == std::string::npos) return found;
  if (std::sscanf(line.c_str() + name_end + 1, " %*c %d %d", &found.parent, &found.group) != 2) {
    return {};
  }
  return found;
}

// What a session left behind is our child by now, even if it was no longer in the session's group.
// Those that we started for ourselves are in our own. Whether there was any.
bool kill_orphans() {
  DIR* folder = opendir("/proc");
  if (folder == nullptr) return false;
  bool any = false;
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    const Family family = family_of(entry->d_name);
    if (family.parent != getpid() || family.group == getpgrp()) continue;
    ::kill(std::atoi(entry->d_name), SIGKILL);
    any = true;
  }
  closedir(folder);
  return any;
}

}  // namespace

Sessions::Sessions(const Settings& settings)
    : settings_(settings), work_(settings.state + "/work") {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  std::error_code ignored;
  fs::remove_all(work_, ignored);
  fs::create_directories(work_);
}

void Sessions::start(const Fd& socket, const std::string& match, int64_t limit_s) {
  const std::string folder = make_folder(work_);
  const std::string peer = peer_of(socket.get());
  const pid_t daemon = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    throw std::runtime_error(std::string("no process can be started: ") + strerror(errno));
  }
  if (pid == 0) serve_session(settings_, socket.get(), folder, daemon);
  setpgid(pid, pid);  // the child does it too: whoever comes first
  const Time now = Clock::now();
  Fd copy(fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
  running_.emplace(
      Running{pid, std::move(copy), match, folder, peer, now, now + std::chrono::seconds(limit_s)});
}

Time Sessions::due() const { return running_ && !running_->killed ? running_->until : Time::max(); }

void Sessions::hang_up() {
  running_->hung_up = true;
  running_->until = std::min(running_->until, Clock::now() + kLeaveTaking);
}

void Sessions::enforce_limit() {
  if (Clock::now() < due()) return;
  running_->timed_out = !running_->hung_up;
  running_->killed = true;
  kill();
}

void Sessions::kill() {
  if (!running_) return;
  ::kill(-running_->pid, SIGKILL);
  ::kill(running_->pid, SIGKILL);  // where it had no time yet to lead a group
}

bool Sessions::reap() {
  bool over = false;
  int status = 0;
  for (;;) {
    siginfo_t ended{};
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) break;
    const bool session = running_ && ended.si_pid == running_->pid;
    // the group keeps its number only until its leader is waited for
    if (session) ::kill(-running_->pid, SIGKILL);
    if (waitpid(ended.si_pid, &status, 0) != ended.si_pid) break;
    if (!session) continue;
    finish(status);
    over = true;
  }
  // each that ends may leave us another
  if (!running_ && (over || orphans_)) orphans_ = kill_orphans();
  return over;
}

void Sessions::finish(int status) {
  note_end(status);
  std::error_code ignored;
  fs::remove_all(running_->folder, ignored);
  running_.reset();
}

void Sessions::note_end(int status) {
  const bool by_signal = WIFSIGNALED(status);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  const bool gone = running_->hung_up && running_->killed;
  const std::string name = by_signal && !gone ? signal_name(WTERMSIG(status)) : "";
  const char* end = running_->timed_out  ? "timeout"
                    : by_signal && !gone ? "signal"
                    : code != 0          ? "exit"
                                         : "closed";
  Reply reply;
  reply.text("match", running_->match)
      .text("end", end)
      .text("signal", name)
      .set("status", code)
      .set("seconds", seconds_between(running_->since, Clock::now()));
  ended_.push_back(reply.object());
  if (ended_.size() > kRemembered) ended_.pop_front();
  fprintf(stderr, "edgeweave-device: session of %s ended: %s%s%s\n", running_->peer.c_str(), end,
          name.empty() ? "" : " ", name.c_str());
}

ffi::Any Sessions::describe_running() const {
  if (!running_) return ffi::Any(nullptr);
  const Time now = Clock::now();
  Reply reply;
  reply.set("since_s", seconds_between(running_->since, now))
      .set("left_s", std::max(0.0, seconds_between(now, running_->until)))
      .text("peer", running_->peer);
  return reply.object();
}

}  // namespace edgeweave::device
