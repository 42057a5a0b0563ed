#pragma once

#include <string>

#include "tests/support/test_files.h"

namespace atrous::tests {

/// A file that tests/reference/weight_files.py wrote.
inline std::string weight_sample(const std::string& name) {
  return std::string(ATROUS_SOURCE_DIR "/tests/reference/weight_files/") + name;
}

/// A zip archive of stored entries, as PyTorch writes it, of any content.
class CraftedZip {
 public:
  struct Options {
    int method = 0;
    int flags = 0;
    bool zip64 = false;
    bool wrong_crc = false;
  };
  void add(const std::string& name, const Bytes& content, Options options);
  void add(const std::string& name, const Bytes& content) { add(name, content, Options()); }
  Bytes encode() const;

 private:
  Bytes entries_, directory_;
  std::size_t count_ = 0;
  bool zip64_ = false;
};

/// A pickle of protocol 2, put together by its opcodes.
Bytes pickle(const std::string& program);
/// The pickle of a state dict {name: tensor} whose one tensor has this shape, stride and offset in a
/// FloatStorage "0" of `size` elements. A number is four bytes; larger ones are LONG1.
std::string pickled_tensor(const std::string& name, const std::vector<std::int64_t>& shape,
                           const std::vector<std::int64_t>& stride, std::int64_t offset, std::int64_t size);
/// A .pth of such a pickle and a storage of `floats` floats.
Bytes crafted_pth(const std::string& program, std::size_t floats);

}  // namespace atrous::tests
