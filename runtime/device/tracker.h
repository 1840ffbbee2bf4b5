// Keeps this device registered with a TVM tracker. It never waits: the server's loop drives it.
#pragma once

#include <string>
#include <vector>

#include "lookup.h"
#include "net.h"
#include "settings.h"

namespace edgeweave::device {

class Tracker {
 public:
  // Does nothing at all where the settings name no tracker.
  Tracker(const Settings& settings, int port) : settings_(settings), port_(port) {}

  // The key that the tracker hands out to whom it gives this device; "" while it has none.
  const std::string& match() const { return match_; }
  // A session began, with the tracker's key or another one; or it ended.
  void begin_session(bool used_match);
  void end_session();

  // What to wait for; negative: nothing.
  int fd() const { return state_ == State::kFinding ? lookup_.fd() : socket_.get(); }
  // Whether to wait until something can be written (or else read).
  bool wants_to_write() const { return state_ == State::kConnecting; }
  // When to call step() at the latest.
  Time due() const { return due_; }
  // `ready`: fd() has something.
  void step(bool ready);

 private:
  enum class State { kOff, kFinding, kConnecting, kMagic, kInfo, kIdle, kWaiting };
  enum class Asked { kNothing, kPut, kPending };

  void find();
  void connect_next();
  void greet();
  void forget_connection();
  void lose(const char* why);
  void read();
  void take(const std::string& reply);
  void take_pending(const std::string& reply);
  void send(const std::string& json);
  void introduce();
  void put();
  void ask();
  std::string place() const;  // where to reach this device, as the tracker is told
  void say(const std::string& what);

  const Settings& settings_;
  const int port_;
  State state_ = State::kOff;
  Asked asked_ = Asked::kNothing;
  Lookup lookup_;
  std::vector<Address> addresses_;  // of the tracker, that were not tried yet
  Fd socket_;
  std::string buffer_;
  std::string match_;
  std::string said_;  // last line on the log, not to be repeated
  bool busy_ = false;
  bool registered_ = false;  // the tracker holds match_
  Time due_ = Clock::now();
  Time handed_out_{};  // since when the tracker no longer holds match_; zero: it does
  int failures_ = 0;
};

}  // namespace edgeweave::device
