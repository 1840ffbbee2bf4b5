// Sockets, and the framing of TVM's RPC handshake.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace edgeweave::device {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

constexpr int32_t kRpcMagic = 0xff271;
constexpr int32_t kRpcBusy = kRpcMagic + 1;
constexpr int32_t kRpcUnknown = kRpcMagic + 2;
constexpr int32_t kTrackerMagic = 0x2f271;

// A file descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Fd() { reset(); }
  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  int release() {
    int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset(int fd = -1);

 private:
  int fd_;
};

// A listening socket; the port that was taken is written back. Throws std::runtime_error.
Fd listen_on(const std::string& address, int& port);

// Where a host may be reached.
struct Address {
  sockaddr_storage name;
  socklen_t size;
};

// "127.0.0.1" or "::1"; nothing for a name. Never waits.
std::vector<Address> numeric_address(const std::string& host, int port);
// Whatever the host's name stands for; nothing where nobody knows. Waits for servers of names.
std::vector<Address> find_addresses(const std::string& host, int port);

// A socket that is being connected, or a closed one where that failed at once.
Fd start_connect(const Address& address);
bool connect_succeeded(int fd);

// Closes what a forked child has of its parent's, save for `kept` and stdin, stdout and stderr.
void close_others(int kept);

// Whether the other side is still there, as far as this one was told.
bool is_connected(int fd);

// "127.0.0.1" of the other end.
std::string peer_of(int fd);

bool is_loopback(const std::string& address);
void set_blocking(int fd, bool blocking);
// The connection ends when the other side is gone, even if it never says so.
void detect_dead_peer(int fd);

std::string frame(int32_t value);
std::string frame(const std::string& text);  // its length, then itself

// Sends without waiting: a reply that does not fit into the socket's buffer is given up.
bool send_now(int fd, const std::string& bytes);

// "prefix" and 16 random bytes in hex.
std::string random_key(const std::string& prefix);

}  // namespace edgeweave::device
