// What the daemon was told on its command line, and what its kit says of itself.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace edgeweave::device {

struct Settings {
  std::string listen = "127.0.0.1";
  int port = 9090;        // 0 takes a free one
  std::string advertise;  // the host that the tracker hands out; empty: the one it sees
  std::string tracker_host;
  int tracker_port = 0;  // 0: no tracker
  std::string key = "device";
  std::string name;
  std::string secret;  // empty: anyone who reaches the port may open a session
  std::string state;
  std::string lib_dir;
  int64_t max_session_s = 3600;
  int64_t upload_mib = 512;                     // one file
  int64_t store_mib = 2048;                     // all files that are kept
  std::map<std::string, std::string> versions;  // of the libraries in the kit
  std::string arch;
};

// Reads the command line. Prints what is wrong, or the help, and exits where there is nothing to
// do.
Settings parse_settings(int argc, char** argv);

}  // namespace edgeweave::device
