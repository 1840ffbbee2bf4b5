// Uploaded files, kept under the SHA-256 of their content, so that nothing is sent twice.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace edgeweave::device {

// What is complete carries its digest as its name; what is not, the ending .part, and its size is
// what has arrived. So the folder says everything, however the process that filled it ended.
class Store {
 public:
  struct File {
    std::string sha256;
    int64_t size;  // bytes
  };
  struct Missing {
    std::string sha256;
    int64_t have;  // bytes that are here already
  };

  // Limits in bytes, of one file and of all.
  Store(std::string folder, int64_t file_limit, int64_t limit);

  // Which of these files are not here whole. Makes room for them, where need be by removing what
  // was used least recently. too-large or disk-full where there cannot be room.
  std::vector<Missing> missing(const std::vector<File>& files);
  // Appends to a file that was among the last missing ones; returns how much is then here.
  // damaged: the whole is not what it should be, and is gone.
  int64_t put(const File& file, int64_t offset, std::string_view data);
  // The path of a complete file; unknown-file otherwise.
  std::string path(const std::string& sha256) const;

 private:
  void check(const File& file) const;
  int64_t have(const File& file) const;
  void make_room(int64_t bytes) const;
  void append(const File& file, int64_t offset, std::string_view data) const;
  void complete(const File& file) const;
  std::string whole(const std::string& sha256) const { return folder_ + "/" + sha256; }
  std::string part(const std::string& sha256) const { return whole(sha256) + ".part"; }

  const std::string folder_;
  const int64_t file_limit_;
  const int64_t limit_;
  std::map<std::string, int64_t> wanted_;  // digest -> size, of the last request
};

}  // namespace edgeweave::device
