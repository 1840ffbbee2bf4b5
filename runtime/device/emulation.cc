#include "emulation.h"

#include <elf.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <iterator>

namespace edgeweave::device {
namespace {

uint16_t own_machine() {
#if defined(__x86_64__)
  return EM_X86_64;
#elif defined(__aarch64__)
  return EM_AARCH64;
#elif defined(__arm__)
  return EM_ARM;
#else
  return EM_RISCV;
#endif
}

// The machine that the executable of a process is for; 0 where it cannot be read.
uint16_t machine_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/exe", std::ios::binary);
  std::array<char, 20> head{};
  if (!file.read(head.data(), head.size()) || std::string(head.data(), 4) != "\177ELF") return 0;
  const bool big_endian = head[5] == 2;
  const auto low = static_cast<uint8_t>(head[big_endian ? 19 : 18]);
  const auto high = static_cast<uint8_t>(head[big_endian ? 18 : 19]);
  return static_cast<uint16_t>(high << 8 | low);
}

// qemu-user shows a process its own executable, but not that of another: that one is qemu itself.
bool runs_under_qemu_user() {
  const pid_t daemon = getpid();
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    const uint16_t machine = machine_of(daemon);
    _exit(machine != 0 && machine != own_machine() ? 1 : 0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

}  // namespace

std::string find_emulator() {
  if (runs_under_qemu_user()) return "qemu-user";
  // the board that qemu-system invents; its instructions are translated unless KVM runs them
  std::ifstream file("/proc/device-tree/compatible");
  const std::string compatible{std::istreambuf_iterator<char>(file), {}};
  return compatible.find("linux,dummy-virt") == std::string::npos ? "" : "virtual machine";
}

}  // namespace edgeweave::device
