// The one session that may run, and how the last ones ended.
#pragma once

#include <sys/types.h>

#include <deque>
#include <optional>
#include <string>

#include "json.h"
#include "net.h"
#include "settings.h"

namespace edgeweave::device {

class Sessions {
 public:
  // Makes the folder for work folders, and removes what a daemon that was killed left there. From
  // here on, whatever a session starts and leaves behind becomes a child of this process.
  explicit Sessions(const Settings& settings);

  bool busy() const { return running_.has_value(); }
  // Whether no session runs and nothing is left of those that ran.
  bool quiet() const { return !running_ && !orphans_; }
  // Forks; the child serves `socket` for at most `limit_s`. Throws std::runtime_error.
  void start(const Fd& socket, const std::string& match, int64_t limit_s);
  // The session's connection, to be watched for its end; -1 when there is nothing to watch.
  int connection() const { return running_ && !running_->hung_up ? running_->socket.get() : -1; }
  // The client is gone: the session has a moment to end by itself, whatever it computes.
  void hang_up();
  // Ends the session if its time is over. When to call this at the latest is due().
  void enforce_limit();
  Time due() const;
  // Takes leave of every process that ended; whether the session is now over.
  bool reap();
  void kill();

  tvm::ffi::Any describe_running() const;
  tvm::ffi::json::Array describe_ended() const { return {ended_.begin(), ended_.end()}; }

 private:
  struct Running {
    pid_t pid;
    Fd socket;
    std::string match;
    std::string folder;
    std::string peer;
    Time since;
    Time until;
    bool timed_out = false;
    bool hung_up = false;
    bool killed = false;
  };

  void finish(int status);
  void note_end(int status);

  const Settings& settings_;
  const std::string work_;
  std::optional<Running> running_;
  bool orphans_ = false;                      // of a session that is over, still to be waited for
  std::deque<tvm::ffi::json::Object> ended_;  // newest last
};

}  // namespace edgeweave::device
