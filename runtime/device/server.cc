#include "server.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <stdexcept>

#include "identity.h"
#include "sha256.h"
#include "signals.h"
#include "state_folder.h"

namespace edgeweave::device {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kGreetingTakes = seconds(5);
constexpr auto kOfferHolds = seconds(15);
constexpr size_t kOffers = 8;
constexpr size_t kGreetings = 64;  // at once; for more, the oldest are closed
constexpr int32_t kLongestGreeting = 1024;
constexpr int kHeader = 8;  // magic and length
constexpr useconds_t kEndPause_us = 10000;
constexpr int kEndTries = 500;

// The value of " -name=value" in a client's words.
std::string option_of(const std::string& words, const std::string& name) {
  const size_t begin = words.find(" -" + name + "=");
  if (begin == std::string::npos) return "";
  const size_t value = begin + name.size() + 3;
  return words.substr(value, words.find(' ', value) - value);
}

}  // namespace

Server::Server(const Settings& settings, const std::string& emulator)
    : settings_(settings),
      description_(describe_device(settings, emulator)),
      port_(settings.port),
      lock_(lock_state_folder(settings.state)),
      listener_(listen_on(settings.listen, port_)),
      sessions_(settings),
      tracker_(settings, port_) {
  signals::begin();
}

Time Server::next_due() const {
  Time due = std::min(tracker_.due(), sessions_.due());
  for (const Greeting& greeting : greetings_) due = std::min(due, greeting.until);
  return due;
}

void Server::run() {
  while (!signals::asked_to_stop()) {
    std::vector<pollfd> waiting = {{signals::fd(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    const short for_tracker = tracker_.wants_to_write() ? POLLOUT : POLLIN;
    waiting.push_back({tracker_.fd(), for_tracker, 0});  // a negative descriptor is left out
    waiting.push_back({sessions_.connection(), POLLRDHUP, 0});
    for (const Greeting& greeting : greetings_) {
      waiting.push_back({greeting.socket.get(), POLLIN, 0});
    }
    const auto left =
        next_due() == Time::max()
            ? milliseconds(60000)
            : std::chrono::duration_cast<milliseconds>(next_due() - Clock::now()) + milliseconds(1);
    const auto bounded = std::clamp(left, milliseconds(0), milliseconds(60000));
    if (poll(waiting.data(), waiting.size(), static_cast<int>(bounded.count())) < 0 &&
        errno != EINTR) {
      throw std::runtime_error(std::string("poll: ") + strerror(errno));
    }
    signals::drain();
    if (waiting[3].revents != 0) sessions_.hang_up();
    sessions_.enforce_limit();
    if (sessions_.reap()) tracker_.end_session();
    for (size_t i = greetings_.size(); i-- > 0;) {
      const bool ready = waiting[4 + i].revents != 0;
      const bool over = ready ? hear(greetings_[i]) : Clock::now() >= greetings_[i].until;
      if (over) greetings_.erase(greetings_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    tracker_.step(waiting[2].revents != 0);
    if (waiting[1].revents != 0) accept_one();
  }
  sessions_.kill();
  for (int tries = 0; !sessions_.quiet() && tries < kEndTries; ++tries) {
    sessions_.reap();
    usleep(kEndPause_us);
  }
}

void Server::accept_one() {
  Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.open()) {
    if (errno == EMFILE || errno == ENFILE) usleep(10000);
    return;
  }
  if (greetings_.size() >= kGreetings) greetings_.erase(greetings_.begin());
  greetings_.push_back({std::move(socket), Clock::now() + kGreetingTakes, ""});
}

bool Server::hear(Greeting& greeting) {
  // read no further than the greeting: what follows belongs to the session
  std::array<char, kLongestGreeting + kHeader> bytes;
  int32_t head[2] = {kRpcMagic, kLongestGreeting};
  std::string& heard = greeting.heard;
  if (heard.size() >= kHeader) memcpy(head, heard.data(), kHeader);
  const size_t wanted = heard.size() < kHeader ? kHeader : kHeader + static_cast<size_t>(head[1]);
  const ssize_t size = recv(greeting.socket.get(), bytes.data(), wanted - heard.size(), 0);
  if (size <= 0) return !(size < 0 && (errno == EAGAIN || errno == EINTR));
  heard.append(bytes.data(), static_cast<size_t>(size));
  if (heard.size() < kHeader) return false;
  memcpy(head, heard.data(), kHeader);
  if (head[0] != kRpcMagic || head[1] < 1 || head[1] > kLongestGreeting) return true;
  if (heard.size() < kHeader + static_cast<size_t>(head[1])) return false;
  answer_greeting(greeting, heard.substr(kHeader));
  return true;
}

void Server::answer_greeting(Greeting& greeting, const std::string& words) {
  if (words == "edgeweave:hello") {
    send_now(greeting.socket.get(), frame(kRpcMagic) + frame(describe()));
  } else if (words.rfind("client:", 0) == 0) {
    open_session(greeting, words.substr(strlen("client:")));
  }
}

void Server::open_session(Greeting& greeting, const std::string& words) {
  const int fd = greeting.socket.get();
  const std::string match = words.substr(0, words.find(' '));
  if (sessions_.busy()) {
    send_now(fd, frame(kRpcBusy));
    return;
  }
  const bool from_tracker = !match.empty() && match == tracker_.match();
  const bool proven =
      settings_.secret.empty() ||
      equal_secrets(option_of(words, "auth"), hmac_sha256_hex(settings_.secret, match));
  if (!proven || !(from_tracker || knows(match))) {
    send_now(fd, frame(kRpcUnknown));
    return;
  }
  const double asked = strtod(option_of(words, "timeout").c_str(), nullptr);
  const auto most = static_cast<double>(settings_.max_session_s);
  const double limit_s = asked > 0 ? std::min(asked + 0.999, most) : most;
  try {
    sessions_.start(greeting.socket, match, static_cast<int64_t>(limit_s));
  } catch (const std::exception& error) {
    fprintf(stderr, "edgeweave-device: no session: %s\n", error.what());
    return;
  }
  tracker_.begin_session(from_tracker);
  // the session itself says nothing before the client does, and that waits for this
  if (!send_now(fd, frame(kRpcMagic) + frame("server:" + settings_.key))) sessions_.kill();
}

bool Server::knows(const std::string& match) {
  const Time now = Clock::now();
  while (!offered_.empty() && offered_.front().second < now) offered_.pop_front();
  const auto found = std::find_if(offered_.begin(), offered_.end(),
                                  [&](const auto& offer) { return offer.first == match; });
  if (found == offered_.end()) return false;
  offered_.erase(found);
  return true;
}

std::string Server::describe() {
  const std::string match = random_key(settings_.key + ":");
  offered_.emplace_back(match, Clock::now() + kOfferHolds);
  if (offered_.size() > kOffers) offered_.pop_front();
  Reply now;
  for (const auto& [name, value] : description_.object()) {
    now.set(name.cast<tvm::ffi::String>().c_str(), value);
  }
  now.set("cpus", read_cpus())
      .set("temperature_c", read_temperature())
      .set("free_mib", free_mib(settings_.state))
      .set("busy", sessions_.describe_running())
      .set("ended", sessions_.describe_ended())
      .text("match", match);
  return now.str();
}

}  // namespace edgeweave::device
