// The loop: greets whoever connects, starts sessions, stays registered. It waits for nobody.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "json.h"
#include "net.h"
#include "sessions.h"
#include "settings.h"
#include "tracker.h"

namespace edgeweave::device {

class Server {
 public:
  // Listens; throws std::runtime_error where the port is taken or the state folder is not ours.
  Server(const Settings& settings, const std::string& emulator);
  int port() const { return port_; }
  // Until SIGTERM or SIGINT.
  void run();

 private:
  struct Greeting {  // a connection that has not said all of what it wants
    Fd socket;
    Time until;
    std::string heard;
  };

  void accept_one();
  // Whether the greeting is over, one way or the other.
  bool hear(Greeting& greeting);
  void answer_greeting(Greeting& greeting, const std::string& words);
  void open_session(Greeting& greeting, const std::string& words);
  bool knows(const std::string& match);
  std::string describe();
  Time next_due() const;

  const Settings& settings_;
  Reply description_;
  int port_;
  Fd lock_;
  Fd listener_;
  Sessions sessions_;
  Tracker tracker_;
  std::vector<Greeting> greetings_;
  std::deque<std::pair<std::string, Time>> offered_;  // keys for direct sessions, and their end
};

}  // namespace edgeweave::device
