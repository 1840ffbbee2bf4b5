// The addresses of a host's name, found by a process of its own: servers of names may take long.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "net.h"

namespace edgeweave::device {

class Lookup {
 public:
  // Whether it began.
  bool begin(const std::string& host, int port);
  // Readable once the answer is there.
  int fd() const { return answer_.get(); }
  // The addresses; none where nobody knows the host.
  std::vector<Address> take();
  void give_up();

 private:
  Fd answer_;
  pid_t pid_ = -1;
};

}  // namespace edgeweave::device
