#include "tests/io/weight_samples.h"

#include "atrous/io/crc32c.h"

namespace atrous::tests {
namespace {

// Little-endian, of any length.
void put(Bytes& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i, value >>= 8) to.push_back(std::uint8_t(value));
}

void put(Bytes& to, const std::string& text) { to.insert(to.end(), text.begin(), text.end()); }

std::string number(std::int64_t value) {
  Bytes bytes;
  const bool small = value >= INT32_MIN && value <= INT32_MAX;
  put(bytes, small ? 'J' : 0x8a, 1);
  if (!small) put(bytes, 8, 1);
  put(bytes, std::uint64_t(value), small ? 4 : 8);
  return {bytes.begin(), bytes.end()};
}

std::string unicode(const std::string& text) {
  Bytes bytes;
  put(bytes, 'X', 1);
  put(bytes, text.size(), 4);
  put(bytes, text);
  return {bytes.begin(), bytes.end()};
}

std::string numbers(const std::vector<std::int64_t>& values) {
  std::string text = "(";
  for (const std::int64_t v : values) text += number(v);
  return text + "t";
}

}  // namespace

void CraftedZip::add(const std::string& name, const Bytes& content, Options options) {
  const std::uint32_t crc = io::crc32(content) ^ std::uint32_t(options.wrong_crc);
  const std::size_t at = entries_.size();
  const std::uint64_t in_directory = options.zip64 ? 0xffffffffu : content.size();
  zip64_ |= options.zip64;
  put(entries_, 0x04034b50, 4);
  put(entries_, 20, 2);
  put(entries_, std::uint64_t(options.flags), 2);
  put(entries_, std::uint64_t(options.method), 2);
  put(entries_, 0, 4);  // date
  put(entries_, crc, 4);
  put(entries_, content.size(), 4);
  put(entries_, content.size(), 4);
  put(entries_, name.size(), 2);
  put(entries_, 0, 2);
  put(entries_, name);
  entries_.insert(entries_.end(), content.begin(), content.end());

  put(directory_, 0x02014b50, 4);
  put(directory_, 20, 2);
  put(directory_, 20, 2);
  put(directory_, std::uint64_t(options.flags), 2);
  put(directory_, std::uint64_t(options.method), 2);
  put(directory_, 0, 4);
  put(directory_, crc, 4);
  put(directory_, in_directory, 4);
  put(directory_, in_directory, 4);
  put(directory_, name.size(), 2);
  put(directory_, options.zip64 ? 28 : 0, 2);
  put(directory_, 0, 10);  // comment, disk, attributes
  put(directory_, options.zip64 ? 0xffffffffu : at, 4);
  put(directory_, name);
  if (options.zip64) {
    put(directory_, 1, 2);
    put(directory_, 24, 2);
    put(directory_, content.size(), 8);
    put(directory_, content.size(), 8);
    put(directory_, at, 8);
  }
  ++count_;
}

Bytes CraftedZip::encode() const {
  Bytes bytes = entries_;
  bytes.insert(bytes.end(), directory_.begin(), directory_.end());
  const std::size_t end64 = bytes.size();
  if (zip64_) {
    put(bytes, 0x06064b50, 4);
    put(bytes, 44, 8);
    put(bytes, 45, 2);
    put(bytes, 45, 2);
    put(bytes, 0, 8);  // disks
    put(bytes, count_, 8);
    put(bytes, count_, 8);
    put(bytes, directory_.size(), 8);
    put(bytes, entries_.size(), 8);
    put(bytes, 0x07064b50, 4);
    put(bytes, 0, 4);
    put(bytes, end64, 8);
    put(bytes, 1, 4);
  }
  put(bytes, 0x06054b50, 4);
  put(bytes, 0, 4);
  put(bytes, zip64_ ? 0xffff : count_, 2);
  put(bytes, zip64_ ? 0xffff : count_, 2);
  put(bytes, zip64_ ? 0xffffffffu : directory_.size(), 4);
  put(bytes, zip64_ ? 0xffffffffu : entries_.size(), 4);
  put(bytes, 0, 2);
  return bytes;
}

Bytes pickle(const std::string& program) {
  Bytes bytes = {0x80, 2};
  put(bytes, program);
  bytes.push_back('.');
  return bytes;
}

std::string pickled_tensor(const std::string& name, const std::vector<std::int64_t>& shape,
                           const std::vector<std::int64_t>& stride, std::int64_t offset, std::int64_t size) {
  return "}" + unicode(name) + "ctorch._utils\n_rebuild_tensor_v2\n((" + unicode("storage") +
         "ctorch\nFloatStorage\n" + unicode("0") + unicode("cpu") + number(size) + "tQ" + number(offset) +
         numbers(shape) + numbers(stride) + "\x89" + "ccollections\nOrderedDict\n)RtRs";
}

Bytes crafted_pth(const std::string& program, std::size_t floats) {
  CraftedZip zip;
  zip.add("a/data.pkl", pickle(program));
  Bytes storage;
  for (std::size_t i = 0; i < 4 * floats; ++i) storage.push_back(std::uint8_t(i));
  zip.add("a/data/0", storage);
  return zip.encode();
}

}  // namespace atrous::tests
