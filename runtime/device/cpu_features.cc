#include "cpu_features.h"

#include <sys/auxv.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

namespace edgeweave::device {
namespace {

#if defined(__aarch64__) || defined(__arm__)

struct Bit {
  unsigned long type;  // AT_HWCAP or AT_HWCAP2
  unsigned long mask;  // all of these bits
  const char* feature;
};

// Bits of Linux' asm/hwcap.h, written out: older C libraries lack the newer names. What is said of
// each holds for all cores.
#if defined(__aarch64__)
constexpr Bit kBits[] = {
    {AT_HWCAP, 1ul << 1, "neon"},                  // asimd
    {AT_HWCAP, 1ul << 9 | 1ul << 10, "fullfp16"},  // fphp, asimdhp
    {AT_HWCAP, 1ul << 20, "dotprod"},              // asimddp
    {AT_HWCAP, 1ul << 23, "fp16fml"},              // asimdfhm
    {AT_HWCAP2, 1ul << 13, "i8mm"},
    {AT_HWCAP2, 1ul << 14, "bf16"},
    {AT_HWCAP, 1ul << 8, "lse"},    // atomics
    {AT_HWCAP, 1ul << 12, "rdm"},   // asimdrdm
    {AT_HWCAP, 1ul << 15, "rcpc"},  // lrcpc
    {AT_HWCAP, 1ul << 22, "sve"},
    {AT_HWCAP2, 1ul << 1, "sve2"},
};
#else
constexpr Bit kBits[] = {
    {AT_HWCAP, 1ul << 12, "neon"},
    {AT_HWCAP, 1ul << 16, "vfp4"},
    // conversions of half floats came to ARM together with VFPv4
    {AT_HWCAP, 1ul << 16, "fp16"},
    {AT_HWCAP, 1ul << 17, "hwdiv-arm"},  // idiva
};
#endif

std::set<std::string> read_features() {
  std::set<std::string> found;
  for (const Bit& bit : kBits) {
    if ((getauxval(bit.type) & bit.mask) == bit.mask) found.insert(bit.feature);
  }
  return found;
}

#elif defined(__x86_64__)

struct Flag {
  const char* flag;  // as /proc/cpuinfo spells it
  const char* feature;
};

constexpr Flag kFlags[] = {
    {"sse4_1", "sse4.1"},
    {"sse4_2", "sse4.2"},
    {"popcnt", "popcnt"},
    {"avx", "avx"},
    {"avx2", "avx2"},
    {"fma", "fma"},
    {"f16c", "f16c"},
    {"bmi1", "bmi"},
    {"bmi2", "bmi2"},
    {"abm", "lzcnt"},
    {"movbe", "movbe"},
    {"gfni", "gfni"},
    {"avx_vnni", "avxvnni"},
    {"avx512f", "avx512f"},
    {"avx512bw", "avx512bw"},
    {"avx512cd", "avx512cd"},
    {"avx512dq", "avx512dq"},
    {"avx512vl", "avx512vl"},
    {"avx512ifma", "avx512ifma"},
    {"avx512vbmi", "avx512vbmi"},
    {"avx512_vbmi2", "avx512vbmi2"},
    {"avx512_bitalg", "avx512bitalg"},
    {"avx512_vpopcntdq", "avx512vpopcntdq"},
    {"avx512_vnni", "avx512vnni"},
    {"avx512_bf16", "avx512bf16"},
    {"avx512_fp16", "avx512fp16"},
    {"amx_tile", "amx-tile"},
    {"amx_int8", "amx-int8"},
    {"amx_bf16", "amx-bf16"},
};

std::set<std::string> read_features() {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> found;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    std::set<std::string> flags{std::istream_iterator<std::string>(words), {}};
    for (const Flag& flag : kFlags) {
      if (flags.count(flag.flag) != 0) found.insert(flag.feature);
    }
    break;
  }
  return found;
}

#elif defined(__riscv)

constexpr const char* kLetters[] = {"m", "a", "f", "d", "c", "v"};
constexpr const char* kLonger[] = {"zfh", "zfa",    "zba",  "zbb", "zbs",
                                   "zcb", "zicond", "zvfh", "zvbb"};

// The longer names in rv64imafdc_zicsr_zba_zbb.
std::set<std::string> longer_names(const std::string& isa) {
  std::set<std::string> words;
  std::istringstream parts(isa);
  for (std::string word; std::getline(parts, word, '_');) words.insert(word);
  return words;
}

std::set<std::string> read_features() {
  std::set<std::string> found;
  const unsigned long letters = getauxval(AT_HWCAP);
  for (const char* letter : kLetters) {
    if ((letters >> (letter[0] - 'a') & 1) != 0) found.insert(letter);
  }
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> common(std::begin(kLonger), std::end(kLonger));
  bool told = false;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("isa", 0) != 0) continue;
    told = true;
    const std::set<std::string> here = longer_names(line);
    for (auto name = common.begin(); name != common.end();) {  // what every core has
      name = here.count(*name) == 0 ? common.erase(name) : std::next(name);
    }
  }
  if (told) found.insert(common.begin(), common.end());
  return found;
}

#endif

}  // namespace

std::vector<std::string> cpu_features() {
  auto found = read_features();
  return {found.begin(), found.end()};
}

}  // namespace edgeweave::device
