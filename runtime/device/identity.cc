#include "identity.h"

#include <dirent.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "cpu_features.h"
#include "sha256.h"

namespace edgeweave::device {
namespace {

namespace ffi = tvm::ffi;

constexpr size_t kLongestWord = 256;

std::string read_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  std::getline(file, word);
  while (!word.empty() && (word.back() == '\0' || word.back() == '\n')) word.pop_back();
  return printable(word, kLongestWord);
}

std::optional<int64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  int64_t value;
  if (file >> value) return value;
  return std::nullopt;
}

ffi::Any or_null(const std::optional<int64_t>& value) {
  return value ? ffi::Any(*value) : ffi::Any(nullptr);
}

ffi::Any or_null(const std::string& word) {
  return word.empty() ? ffi::Any(nullptr) : ffi::Any(ffi::String(word));
}

struct ArmPart {
  const char* number;
  const char* name;
};

// ARM's numbers of its cores (MIDR part numbers, from the cores' technical reference manuals).
constexpr ArmPart kArmParts[] = {
    {"0xc07", "cortex-a7"},   {"0xc08", "cortex-a8"},   {"0xc09", "cortex-a9"},
    {"0xc0f", "cortex-a15"},  {"0xd01", "cortex-a32"},  {"0xd03", "cortex-a53"},
    {"0xd04", "cortex-a35"},  {"0xd05", "cortex-a55"},  {"0xd07", "cortex-a57"},
    {"0xd08", "cortex-a72"},  {"0xd09", "cortex-a73"},  {"0xd0a", "cortex-a75"},
    {"0xd0b", "cortex-a76"},  {"0xd0c", "neoverse-n1"}, {"0xd0d", "cortex-a77"},
    {"0xd40", "neoverse-v1"}, {"0xd41", "cortex-a78"},  {"0xd42", "cortex-a78ae"},
    {"0xd44", "cortex-x1"},   {"0xd46", "cortex-a510"}, {"0xd47", "cortex-a710"},
    {"0xd49", "neoverse-n2"}, {"0xd4b", "cortex-a78c"}};

std::string name_of_part(const std::string& number) {
  for (const ArmPart& part : kArmParts) {
    if (number == part.number) return part.name;
  }
  return number;
}

#if defined(__x86_64__)
constexpr const char* kPartLine = "model name";
#elif defined(__riscv)
constexpr const char* kPartLine = "uarch";
#else
constexpr const char* kPartLine = "CPU part";
#endif

// What /proc/cpuinfo calls each core. qemu-user shows the host's file for some architectures; its
// lines then do not match ours, and the parts stay unknown.
std::map<int64_t, std::string> read_parts() {
  std::map<int64_t, std::string> parts;
  std::ifstream file("/proc/cpuinfo");
  int64_t core = -1;
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    const std::string value = begin == std::string::npos ? "" : line.substr(begin);
    if (line.rfind("processor", 0) == 0) {
      core = std::strtoll(value.c_str(), nullptr, 10);
    } else if (line.rfind(kPartLine, 0) == 0 && core >= 0) {
      parts[core] = name_of_part(value);
    }
  }
  return parts;
}

// The board's own number, or one that is this installation's alone. machine-id(5) itself is not to
// be told to others, so they get a keyed digest of it.
std::string read_serial() {
  std::string serial = read_word("/proc/device-tree/serial-number");
  const std::string machine = read_word("/etc/machine-id");
  if (!serial.empty() || machine.empty()) return serial;
  return hmac_sha256_hex(machine, "edgeweave-device").substr(0, 32);
}

}  // namespace

ffi::json::Array read_cpus() {
  const auto parts = read_parts();
  ffi::json::Array cpus;
  for (int64_t core = 0; core < sysconf(_SC_NPROCESSORS_CONF); ++core) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(core) + "/cpufreq/";
    auto in_mhz = [&](const char* name) {
      auto khz = read_number(folder + name);
      return khz ? std::optional<int64_t>(*khz / 1000) : std::nullopt;
    };
    const auto part = parts.find(core);
    Reply cpu;
    cpu.set("core", core)
        .set("part", or_null(part == parts.end() ? "" : part->second))
        .set("max_mhz", or_null(in_mhz("cpuinfo_max_freq")))
        .set("mhz", or_null(in_mhz("scaling_cur_freq")))
        .set("governor", or_null(read_word(folder + "scaling_governor")));
    cpus.push_back(cpu.object());
  }
  return cpus;
}

ffi::Any read_temperature() {
  std::optional<double> hottest;
  DIR* zones = opendir("/sys/class/thermal");
  if (zones == nullptr) return ffi::Any(nullptr);
  while (const dirent* entry = readdir(zones)) {
    const std::string name = entry->d_name;
    if (name.rfind("thermal_zone", 0) != 0) continue;
    const auto thousandths = read_number("/sys/class/thermal/" + name + "/temp");
    if (!thousandths || *thousandths <= 0 || *thousandths > 200000) continue;
    const double degrees = static_cast<double>(*thousandths) / 1000;
    if (!hottest || degrees > *hottest) hottest = degrees;
  }
  closedir(zones);
  return hottest ? ffi::Any(*hottest) : ffi::Any(nullptr);
}

int64_t free_mib(const std::string& folder) {
  struct statvfs room{};
  if (statvfs(folder.c_str(), &room) != 0) return 0;
  return static_cast<int64_t>(room.f_bavail) * static_cast<int64_t>(room.f_frsize) >> 20;
}

Reply describe_device(const Settings& settings, const std::string& emulator) {
  struct sysinfo memory{};
  sysinfo(&memory);
  Reply versions;
  for (const auto& [name, version] : settings.versions) versions.text(name.c_str(), version);
  Reply limits;
  limits.set("session_s", settings.max_session_s)
      .set("upload_mib", settings.upload_mib)
      .set("store_mib", settings.store_mib);
  Reply device;
  device.set("protocol", 1)
      .text("name", settings.name)
      .text("key", settings.key)
      .text("arch", settings.arch)
      .texts("features", cpu_features())
      .set("memory_mib", static_cast<int64_t>(memory.totalram) * memory.mem_unit >> 20)
      .text("serial", read_serial())
      .text("emulated", emulator)
      .set("versions", versions.object())
      .texts("runners", {"tvm"})
      .set("limits", limits.object());
  return device;
}

}  // namespace edgeweave::device
