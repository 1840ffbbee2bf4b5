#include "settings.h"

#include <getopt.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "kit.h"

namespace edgeweave::device {
namespace {

constexpr char kHelp[] =
    R"(usage: edgeweave-device [OPTION...]
Serves this machine to edgeweave, and to TVM's own RPC clients.

  --listen ADDRESS       address to listen on (127.0.0.1: this machine only)
  --port N               port to listen on (9090); 0 takes a free one
  --tracker HOST:PORT    TVM tracker to register with
  --key KEY              what devices like this one are asked for by (device)
  --advertise HOST       host that the tracker hands out (the one that it sees)
  --name NAME            what this device calls itself (its host name)
  --secret-file FILE     sessions must prove that they know the content of FILE
  --state DIR            folder for uploaded files and work folders
                         ($XDG_STATE_HOME/edgeweave-device)
  --max-session SECONDS  longest session (3600)
  --upload-mib N         largest uploaded file (512)
  --store-mib N          most that is kept of uploaded files (2048)
  --lib-dir DIR          folder of TVM's runtime libraries (../lib of this program)
  --version, --help
)";

enum Option {
  kListen = 1,
  kPort,
  kTracker,
  kKey,
  kAdvertise,
  kName,
  kSecret,
  kState,
  kMaxSession,
  kUpload,
  kStore,
  kLibDir,
  kVersion,
  kHelpOption
};

constexpr option kOptions[] = {{"listen", required_argument, nullptr, kListen},
                               {"port", required_argument, nullptr, kPort},
                               {"tracker", required_argument, nullptr, kTracker},
                               {"key", required_argument, nullptr, kKey},
                               {"advertise", required_argument, nullptr, kAdvertise},
                               {"name", required_argument, nullptr, kName},
                               {"secret-file", required_argument, nullptr, kSecret},
                               {"state", required_argument, nullptr, kState},
                               {"max-session", required_argument, nullptr, kMaxSession},
                               {"upload-mib", required_argument, nullptr, kUpload},
                               {"store-mib", required_argument, nullptr, kStore},
                               {"lib-dir", required_argument, nullptr, kLibDir},
                               {"version", no_argument, nullptr, kVersion},
                               {"help", no_argument, nullptr, kHelpOption},
                               {nullptr, 0, nullptr, 0}};

[[noreturn]] void refuse(const std::string& what) {
  std::fprintf(stderr, "edgeweave-device: %s. See edgeweave-device --help\n", what.c_str());
  std::exit(2);
}

int64_t number(const std::string& option, const std::string& text, int64_t least, int64_t most) {
  char* end = nullptr;
  errno = 0;
  long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0 || value < least || value > most) {
    refuse(option + " takes a number from " + std::to_string(least) + " to " +
           std::to_string(most) + ", not '" + text + "'");
  }
  return value;
}

// Keys and names travel inside lines and JSON, so they are one plain word.
std::string word(const std::string& option, const std::string& text) {
  bool plain = !text.empty() && text.size() <= 128;
  for (char c : text) plain = plain && c > ' ' && c < 127 && c != '"' && c != '\\';
  if (!plain) refuse(option + " takes a word of up to 128 plain characters");
  return text;
}

std::string read_secret(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  std::string secret = content.str();
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  if (!file || secret.empty()) refuse("--secret-file " + path + " cannot be read or is empty");
  return secret;
}

void read_tracker(Settings& settings, const std::string& text) {
  size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) refuse("--tracker takes HOST:PORT");
  settings.tracker_host = text.substr(0, colon);
  if (settings.tracker_host.front() == '[' && settings.tracker_host.back() == ']') {  // IPv6
    settings.tracker_host = settings.tracker_host.substr(1, settings.tracker_host.size() - 2);
  }
  settings.tracker_port =
      static_cast<int>(number("the port of --tracker", text.substr(colon + 1), 1, 65535));
}

void read_option(Settings& settings, int option, const std::string& text) {
  switch (option) {
    case kListen:
      settings.listen = text;
      break;
    case kPort:
      settings.port = static_cast<int>(number("--port", text, 0, 65535));
      break;
    case kTracker:
      read_tracker(settings, text);
      break;
    case kKey:
      settings.key = word("--key", text);
      break;
    case kAdvertise:
      settings.advertise = word("--advertise", text);
      break;
    case kName:
      settings.name = word("--name", text);
      break;
    case kSecret:
      settings.secret = read_secret(text);
      break;
    case kState:
      settings.state = text;
      break;
    case kMaxSession:
      settings.max_session_s = number("--max-session", text, 1, 604800);
      break;
    case kUpload:
      settings.upload_mib = number("--upload-mib", text, 1, 1 << 20);
      break;
    case kStore:
      settings.store_mib = number("--store-mib", text, 1, 1 << 20);
      break;
    case kLibDir:
      settings.lib_dir = text;
      break;
    default:
      break;
  }
}

std::string default_state() {
  const char* base = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (base != nullptr && base[0] == '/') return std::string(base) + "/edgeweave-device";
  if (home != nullptr && home[0] == '/')
    return std::string(home) + "/.local/state/edgeweave-device";
  return "/tmp/edgeweave-device-" + std::to_string(getuid());
}

std::string host_name() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  std::string plain;
  for (const char* c = name; *c != '\0'; ++c) plain += *c > ' ' && *c < 127 ? *c : '-';
  return plain.empty() ? "device" : plain;
}

}  // namespace

Settings parse_settings(int argc, char** argv) {
  Settings settings;
  settings.arch = architecture();
  const std::string kit = kit_folder();
  try {
    settings.versions = read_versions(kit);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "edgeweave-device: %s/device.json is damaged: %s\n", kit.c_str(),
                 error.what());
    std::exit(1);
  }
  opterr = 0;
  int option;
  while ((option = getopt_long(argc, argv, "", kOptions, nullptr)) != -1) {
    if (option == '?')
      refuse(std::string("'") + argv[optind - 1] + "' is no option, or lacks its value");
    if (option == kHelpOption) {
      std::fputs(kHelp, stdout);
      std::exit(0);
    }
    if (option == kVersion) {
      for (const auto& [name, version] : settings.versions) {
        std::printf("%s %s\n", name.c_str(), version.c_str());
      }
      std::exit(0);
    }
    read_option(settings, option, optarg == nullptr ? "" : optarg);
  }
  if (optind < argc) refuse(std::string("'") + argv[optind] + "' is no option");
  if (settings.state.empty()) settings.state = default_state();
  if (settings.name.empty()) settings.name = host_name();
  if (settings.lib_dir.empty()) settings.lib_dir = kit + "/lib";
  // sessions work in folders of their own
  settings.state = std::filesystem::absolute(settings.state);
  settings.lib_dir = std::filesystem::absolute(settings.lib_dir);
  return settings;
}

}  // namespace edgeweave::device
