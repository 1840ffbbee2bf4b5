#include "net.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace edgeweave::device {
namespace {

struct Freed {
  void operator()(addrinfo* found) const { freeaddrinfo(found); }
};
using Found = std::unique_ptr<addrinfo, Freed>;

// `fault` says why nothing was found.
Found resolve(const std::string& host, int port, int flags, int& fault) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  fault = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  return Found(fault == 0 ? found : nullptr);
}

std::vector<Address> addresses(const std::string& host, int port, int flags) {
  int fault = 0;
  const Found found = resolve(host, port, flags, fault);
  std::vector<Address> all;
  for (const addrinfo* one = found.get(); one != nullptr; one = one->ai_next) {
    Address address{};
    std::memcpy(&address.name, one->ai_addr, one->ai_addrlen);
    address.size = one->ai_addrlen;
    all.push_back(address);
  }
  return all;
}

int port_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

}  // namespace

void Fd::reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

Fd listen_on(const std::string& address, int& port) {
  int fault = 0;
  const Found found = resolve(address, port, AI_PASSIVE, fault);
  if (!found) throw std::runtime_error(address + ": " + gai_strerror(fault));
  Fd fd(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!fd.open() || bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      listen(fd.get(), 64) != 0) {
    throw std::runtime_error(address + ":" + std::to_string(port) + ": " + std::strerror(errno));
  }
  port = port_of(fd.get());
  return fd;
}

std::vector<Address> numeric_address(const std::string& host, int port) {
  return addresses(host, port, AI_NUMERICHOST);
}

std::vector<Address> find_addresses(const std::string& host, int port) {
  return addresses(host, port, 0);
}

Fd start_connect(const Address& address) {
  Fd fd(socket(address.name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* name = reinterpret_cast<const sockaddr*>(&address.name);
  if (!fd.open() || (connect(fd.get(), name, address.size) != 0 && errno != EINPROGRESS)) {
    return Fd();
  }
  return fd;
}

void close_others(int kept) {
  std::vector<int> open;
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return;
  while (const dirent* entry = readdir(folder)) open.push_back(std::atoi(entry->d_name));
  closedir(folder);
  for (int fd : open) {
    if (fd > 2 && fd != kept) close(fd);  // of the folder itself: closed before, no harm
  }
}

bool connect_succeeded(int fd) {
  int fault = 0;
  socklen_t size = sizeof fault;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &size) == 0 && fault == 0;
}

bool is_connected(int fd) {
  char byte;
  const ssize_t size = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

std::string peer_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  std::array<char, 64> host{};
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host.data(), host.size(), nullptr, 0,
                  NI_NUMERICHOST) != 0) {
    return "unknown";
  }
  return host.data();
}

bool is_loopback(const std::string& address) {
  return address.rfind("127.", 0) == 0 || address == "::1" || address == "localhost";
}

void set_blocking(int fd, bool blocking) {
  const int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

void detect_dead_peer(int fd) {
  const int on = 1, idle_s = 15, between_s = 5, probes = 3, unacknowledged_ms = 30000;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between_s, sizeof between_s);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

std::string frame(int32_t value) {
  // every architecture that this is built for is little-endian, as is the protocol
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string frame(const std::string& text) {
  return frame(static_cast<int32_t>(text.size())) + text;
}

bool send_now(int fd, const std::string& bytes) {
  return send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(bytes.size());
}

std::string random_key(const std::string& prefix) {
  std::array<uint8_t, 16> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw std::runtime_error("the system gives no random numbers");
  }
  constexpr char kDigits[] = "0123456789abcdef";
  std::string key = prefix;
  for (uint8_t byte : bytes) {
    key += kDigits[byte >> 4];
    key += kDigits[byte & 15];
  }
  return key;
}

}  // namespace edgeweave::device
