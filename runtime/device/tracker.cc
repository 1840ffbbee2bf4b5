#include "tracker.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace edgeweave::device {
namespace {

using std::chrono::seconds;

// Codes of TVM's tracker protocol.
constexpr int kPut = 3, kUpdateInfo = 5, kGetPending = 7;
constexpr auto kAskEvery = seconds(2);
constexpr auto kAnswerWithin = seconds(10);
constexpr int kLongestPause = 30;  // seconds between attempts to reach the tracker
// Whoever was given this device connects at once; who does not within this time never will.
constexpr auto kGrantHolds = seconds(10);
constexpr int32_t kLongestReply = 1 << 20;

std::string quoted(const std::string& word) { return "\"" + word + "\""; }

}  // namespace

void Tracker::begin_session(bool used_match) {
  busy_ = true;
  if (used_match) {
    registered_ = false;
    match_.clear();
  } else if (state_ != State::kOff) {
    // The session came past the tracker, which would give the device to another. It takes a device
    // back only when the connection ends.
    forget_connection();
    due_ = Clock::now();
  }
}

void Tracker::end_session() {
  busy_ = false;
  handed_out_ = Time{};
  if (state_ == State::kIdle) due_ = Clock::now();
}

void Tracker::step(bool ready) {
  if (settings_.tracker_port == 0) {
    due_ = Time::max();
    return;
  }
  const bool late = Clock::now() >= due_;
  if (!ready && !late) return;
  switch (state_) {
    case State::kOff:
      return find();
    case State::kFinding:
      if (!ready) return lose("its name is not found in time");
      addresses_ = lookup_.take();
      if (addresses_.empty()) return lose("there is no host of that name");
      return connect_next();
    case State::kConnecting:
      return ready && connect_succeeded(socket_.get()) ? greet() : connect_next();
    case State::kIdle:
      return ready ? read() : ask();
    default:
      return ready ? read() : lose("it does not answer");
  }
}

void Tracker::find() {
  addresses_ = numeric_address(settings_.tracker_host, settings_.tracker_port);
  if (!addresses_.empty()) return connect_next();
  state_ = State::kFinding;
  due_ = Clock::now() + kAnswerWithin;
  if (!lookup_.begin(settings_.tracker_host, settings_.tracker_port)) {
    lose("its name cannot be looked up");
  }
}

void Tracker::connect_next() {
  state_ = State::kConnecting;
  due_ = Clock::now() + kAnswerWithin;
  socket_.reset();
  while (!socket_.open()) {
    if (addresses_.empty()) return lose("it cannot be reached");
    socket_ = start_connect(addresses_.front());
    addresses_.erase(addresses_.begin());
  }
}

void Tracker::greet() {
  state_ = State::kMagic;
  due_ = Clock::now() + kAnswerWithin;
  if (!send_now(socket_.get(), frame(kTrackerMagic))) lose("it takes no message");
}

void Tracker::forget_connection() {
  lookup_.give_up();
  addresses_.clear();
  socket_.reset();
  buffer_.clear();
  match_.clear();
  registered_ = false;
  asked_ = Asked::kNothing;
  state_ = State::kOff;
}

void Tracker::lose(const char* why) {
  say(std::string(why) + "; trying again");
  forget_connection();
  due_ = Clock::now() + seconds(std::min(1 << std::min(failures_++, 5), kLongestPause));
}

void Tracker::say(const std::string& what) {
  if (what == said_) return;
  said_ = what;
  std::fprintf(stderr, "edgeweave-device: tracker %s:%d: %s\n", settings_.tracker_host.c_str(),
               settings_.tracker_port, what.c_str());
}

void Tracker::read() {
  std::array<char, 4096> chunk;
  const ssize_t size = recv(socket_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return lose("it closed the connection");
  buffer_.append(chunk.data(), static_cast<size_t>(size));
  while (socket_.open() && buffer_.size() >= sizeof(int32_t)) {
    int32_t head;
    std::memcpy(&head, buffer_.data(), sizeof head);
    if (state_ == State::kMagic) {
      if (head != kTrackerMagic) return lose("it is no TVM tracker");
      buffer_.erase(0, sizeof head);
      introduce();
      continue;
    }
    if (head < 0 || head > kLongestReply) return lose("it is no TVM tracker");
    const size_t whole = sizeof head + static_cast<size_t>(head);
    if (buffer_.size() < whole) return;
    const std::string reply = buffer_.substr(sizeof head, static_cast<size_t>(head));
    buffer_.erase(0, whole);
    take(reply);
  }
}

void Tracker::take(const std::string& reply) {
  if (state_ == State::kInfo) {
    say("registered as " + settings_.key);
    failures_ = 0;
  } else if (asked_ == Asked::kPut) {
    // not where a session began meanwhile with the key of this very message
    registered_ = !match_.empty();
    handed_out_ = Time{};
  } else if (asked_ == Asked::kPending) {
    take_pending(reply);
  }
  asked_ = Asked::kNothing;
  state_ = State::kIdle;
  due_ = Clock::now() + (registered_ || busy_ ? Clock::duration(kAskEvery) : Clock::duration(0));
}

void Tracker::take_pending(const std::string& reply) {
  if (!registered_ || busy_) return;
  if (reply.find(quoted(match_)) != std::string::npos) {
    handed_out_ = Time{};
  } else if (handed_out_ == Time{}) {
    handed_out_ = Clock::now();
  } else if (Clock::now() - handed_out_ > kGrantHolds) {
    registered_ = false;
    match_.clear();
  }
}

void Tracker::ask() {
  if (!busy_ && !registered_) return put();
  asked_ = Asked::kPending;
  send("[" + std::to_string(kGetPending) + "]");
}

std::string Tracker::place() const {
  return settings_.advertise.empty() ? "null" : quoted(settings_.advertise);
}

void Tracker::introduce() {
  send("[" + std::to_string(kUpdateInfo) + ", {\"key\": " + quoted("server:" + settings_.key) +
       ", \"addr\": [" + place() + ", " + std::to_string(port_) + "]}]");
  if (state_ != State::kOff) state_ = State::kInfo;
}

void Tracker::put() {
  if (match_.empty()) match_ = random_key(settings_.key + ":");
  asked_ = Asked::kPut;
  send("[" + std::to_string(kPut) + ", " + quoted(settings_.key) + ", [" + std::to_string(port_) +
       ", " + quoted(match_) + "], " + place() + "]");
}

void Tracker::send(const std::string& json) {
  state_ = State::kWaiting;
  due_ = Clock::now() + kAnswerWithin;
  if (!send_now(socket_.get(), frame(json))) lose("it takes no message");
}

}  // namespace edgeweave::device
