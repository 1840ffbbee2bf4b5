#include "store.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "json.h"
#include "net.h"
#include "sha256.h"

namespace edgeweave::device {
namespace {

namespace fs = std::filesystem;
// Left free for the system: a full disk harms more than a refused upload.
constexpr int64_t kSpare = int64_t{16} << 20;

std::string mib(int64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

std::string digest_of(const std::string& path) {
  Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  Sha256 sum;
  std::array<char, 1 << 16> chunk;
  ssize_t size;
  while ((size = read(file.get(), chunk.data(), chunk.size())) > 0) {
    sum.update(chunk.data(), static_cast<size_t>(size));
  }
  return size < 0 ? "" : sum.hex();
}

// -1 for what is no file.
int64_t size_of(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) ? info.st_size : -1;
}

[[noreturn]] void cannot_write(const std::string& path, int fault) {
  const bool full = fault == ENOSPC || fault == EDQUOT || fault == EFBIG;
  throw Failure(full ? "disk-full" : "failed", path + " cannot be written: " + strerror(fault));
}

bool is_digest(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Bytes that may still be written to the folder's file system.
int64_t room_in(const std::string& folder) {
  struct statvfs disk{};
  if (statvfs(folder.c_str(), &disk) != 0) return 0;
  return static_cast<int64_t>(disk.f_bavail) * static_cast<int64_t>(disk.f_frsize) - kSpare;
}

struct Kept {
  fs::file_time_type used;
  int64_t size;
  fs::path path;
  std::string sha256;  // empty: no file of ours
};

std::vector<Kept> files_in(const std::string& folder) {
  std::vector<Kept> files;
  std::error_code fault;
  for (const auto& entry : fs::directory_iterator(folder, fault)) {
    const int64_t size = size_of(entry.path());
    const std::string stem = entry.path().stem().string();
    if (size >= 0 && is_digest(stem)) {
      files.push_back({entry.last_write_time(fault), size, entry.path(), stem});
    }
  }
  return files;
}

}  // namespace

Store::Store(std::string folder, int64_t file_limit, int64_t limit)
    : folder_(std::move(folder)), file_limit_(file_limit), limit_(limit) {
  fs::create_directories(folder_);
}

void Store::check(const File& file) const {
  if (!is_digest(file.sha256)) bad_request("sha256 is not 64 lowercase hex digits");
  if (file.size > std::min(file_limit_, limit_)) {
    throw Failure("too-large", "a file of " + mib(file.size) + " is over this device's limit of " +
                                   mib(std::min(file_limit_, limit_)));
  }
}

std::vector<Store::Missing> Store::missing(const std::vector<File>& files) {
  std::map<std::string, int64_t> wanted;
  int64_t all = 0;
  for (const File& file : files) {
    check(file);
    const auto [entry, is_new] = wanted.emplace(file.sha256, file.size);
    if (is_new) all += file.size;
    if (entry->second != file.size) bad_request("one sha256 is given two sizes");
    if (all > limit_) {
      throw Failure("too-large",
                    "these files need " + mib(all) + ", and this device keeps " + mib(limit_));
    }
  }
  wanted_ = std::move(wanted);
  std::vector<Missing> missing;
  int64_t bytes = 0;
  for (const auto& [sha256, size] : wanted_) {
    const int64_t here = have({sha256, size});
    if (here < 0) continue;
    bytes += size - here;
    missing.push_back({sha256, here});
  }
  make_room(bytes);
  return missing;
}

// Bytes of it that have arrived; -1 when it is complete.
int64_t Store::have(const File& file) const {
  const std::string complete = whole(file.sha256);
  const int64_t size = size_of(complete);
  if (size == file.size) {
    utimensat(AT_FDCWD, complete.c_str(), nullptr, 0);  // used now: last to be removed
    return -1;
  }
  if (size >= 0) {
    if (digest_of(complete) == file.sha256) {
      bad_request("the file " + file.sha256.substr(0, 12) + " has " + std::to_string(size) +
                  " bytes, not " + std::to_string(file.size));
    }
    unlink(complete.c_str());  // cut short by a fault of the disk
  }
  const int64_t there = size_of(part(file.sha256));
  if (there <= file.size) return std::max<int64_t>(there, 0);
  unlink(part(file.sha256).c_str());
  return 0;
}

void Store::make_room(int64_t bytes) const {
  if (bytes == 0) return;
  std::vector<Kept> idle;
  int64_t total = bytes, removable = 0;
  for (Kept& file : files_in(folder_)) {
    total += file.size;
    if (wanted_.count(file.sha256) != 0) continue;
    removable += file.size;
    idle.push_back(std::move(file));
  }
  const int64_t room = room_in(folder_);
  const int64_t needed = std::max(total - limit_, bytes - room);
  if (needed > removable) {  // nothing is removed in vain
    throw Failure("disk-full", mib(bytes) + " are needed in " + folder_ + ", and " +
                                   mib(std::max<int64_t>(room + removable, 0)) + " can be used");
  }
  std::sort(idle.begin(), idle.end(), [](const Kept& a, const Kept& b) { return a.used < b.used; });
  int64_t removed = 0;
  for (const Kept& file : idle) {
    if (removed >= needed) return;
    std::error_code fault;
    if (fs::remove(file.path, fault)) removed += file.size;
  }
}

int64_t Store::put(const File& file, int64_t offset, std::string_view data) {
  check(file);
  const auto wanted = wanted_.find(file.sha256);
  if (wanted == wanted_.end() || wanted->second != file.size) {
    bad_request("no such file was asked for with edgeweave.device.missing");
  }
  const auto count = static_cast<int64_t>(data.size());
  const int64_t arrived = have(file);
  const int64_t here = arrived < 0 ? file.size : arrived;
  if (offset != here) {
    bad_request("the data begins at " + std::to_string(offset) + ", and " + std::to_string(here) +
                " bytes are here");
  }
  if (count > file.size - offset) bad_request("there is more data than the stated size");
  if (arrived < 0) return file.size;
  append(file, offset, data);
  if (offset + count == file.size) complete(file);
  return offset + count;
}

void Store::append(const File& file, int64_t offset, std::string_view data) const {
  const std::string path = part(file.sha256);
  Fd target(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!target.open()) cannot_write(path, errno);
  while (!data.empty()) {
    const ssize_t written = pwrite(target.get(), data.data(), data.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) cannot_write(path, written < 0 ? errno : ENOSPC);
    data.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
}

// The content is on the disk before the name says that it is.
void Store::complete(const File& file) const {
  const std::string path = part(file.sha256);
  Fd arrived(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!arrived.open() || fsync(arrived.get()) != 0) cannot_write(path, errno);
  if (digest_of(path) != file.sha256) {
    unlink(path.c_str());
    throw Failure("damaged", "what arrived for the file " + file.sha256.substr(0, 12) +
                                 " has another SHA-256, and was removed");
  }
  if (rename(path.c_str(), whole(file.sha256).c_str()) != 0) cannot_write(path, errno);
  Fd folder(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.open()) fsync(folder.get());
}

std::string Store::path(const std::string& sha256) const {
  check({sha256, 0});
  if (size_of(whole(sha256)) < 0) {
    throw Failure("unknown-file", "the file " + sha256.substr(0, 12) + " was not uploaded");
  }
  return whole(sha256);
}

}  // namespace edgeweave::device
