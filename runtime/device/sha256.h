// SHA-256 (FIPS 180-4) and HMAC (RFC 2104): a board need not have a library for them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace edgeweave::device {

class Sha256 {
 public:
  void update(const void* data, size_t size);
  // The digest in lowercase hex; nothing can be added after it.
  std::string hex();
  std::array<uint8_t, 32> digest();

 private:
  void compress(const uint8_t* block);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> block_{};
  size_t used_ = 0;
  uint64_t total_ = 0;
};

std::string hmac_sha256_hex(std::string_view key, std::string_view text);

// Compares in a time that does not depend on where they differ.
bool equal_secrets(std::string_view a, std::string_view b);

}  // namespace edgeweave::device
