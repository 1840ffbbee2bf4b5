#include "state_folder.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <stdexcept>

namespace edgeweave::device {

Fd lock_state_folder(const std::string& folder) {
  std::error_code fault;
  const std::filesystem::path parent = std::filesystem::path(folder).parent_path();
  std::filesystem::create_directories(parent, fault);
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    throw std::runtime_error(folder + " cannot be made: " + strerror(errno) + "; give --state");
  }
  struct stat found{};
  const bool there = lstat(folder.c_str(), &found) == 0;
  if (!there || found.st_uid != geteuid() || (found.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    throw std::runtime_error(folder + " may be changed by others; give another --state");
  }
  const std::string path = folder + "/lock";
  Fd lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock.open()) throw std::runtime_error(path + " cannot be made: " + strerror(errno));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    throw std::runtime_error(folder + " is used by another edgeweave-device; give --state");
  }
  return lock;
}

}  // namespace edgeweave::device
