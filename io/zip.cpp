#include "atrous/io/zip.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "atrous/io/crc32c.h"
#include "atrous/io/safetensors_header.h"

namespace atrous::io {
namespace {

// Signatures, and lengths of the fixed part of each record.
constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                        kLocator64 = 0x07064b50;
constexpr std::int64_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56,
                       kLocator64Bytes = 20, kMaxComment = 65535;

template <class T>
T number(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

struct Directory {
  std::uint64_t entries = 0, bytes = 0, offset = 0;
};

// A value of 63 bits at most; larger ones lie beyond every file.
std::int64_t bounded(const FileReader& file, std::uint64_t value, const char* what) {
  if (value > std::uint64_t(file.size()))
    file.fail("its zip directory speaks of ", what, ' ', value, "; the file has ", file.size(), " bytes");
  return std::int64_t(value);
}

Directory find_directory(const FileReader& file) {
  if (file.size() < kEndBytes) file.fail("is cut off: a zip file has at least ", kEndBytes, " bytes");
  // The last record is followed by a comment of unknown length, mostly none.
  const std::int64_t tail = std::min(file.size(), kEndBytes + kMaxComment);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(tail));
  file.read(file.size() - tail, bytes.data(), tail);
  std::int64_t at = tail - kEndBytes;
  while (at >= 0 && number<std::uint32_t>(&bytes[std::size_t(at)]) != kEnd) --at;
  if (at < 0) file.fail("is cut off: a zip file ends with its directory, which is not there");
  const std::uint8_t* end = &bytes[std::size_t(at)];
  Directory directory{number<std::uint16_t>(end + 10), number<std::uint32_t>(end + 12),
                      number<std::uint32_t>(end + 16)};
  const std::int64_t locator = file.size() - tail + at - kLocator64Bytes;
  std::array<std::uint8_t, kEnd64Bytes> wide;
  if (locator < 0) return directory;
  file.read(locator, wide.data(), kLocator64Bytes);
  if (number<std::uint32_t>(wide.data()) != kLocator64) return directory;
  const std::int64_t end64 = bounded(file, number<std::uint64_t>(wide.data() + 8), "a record at byte");
  file.read(end64, wide.data(), kEnd64Bytes);
  if (number<std::uint32_t>(wide.data()) != kEnd64)
    file.fail("its zip64 directory is not at byte ", end64, " where it should be");
  return {number<std::uint64_t>(wide.data() + 32), number<std::uint64_t>(wide.data() + 40),
          number<std::uint64_t>(wide.data() + 48)};
}

// One record of the directory.
class CentralRecord {
 public:
  CentralRecord(const FileReader& file, std::int64_t at) : file_(file), at_(at) {
    file.read(at, fixed_.data(), kCentralBytes);
    if (number<std::uint32_t>(fixed_.data()) != kCentral)
      file.fail("its zip directory is damaged at byte ", at);
    const std::int64_t name = field<std::uint16_t>(28), extra = field<std::uint16_t>(30);
    if (name > std::int64_t(kMaxNameBytes))
      file.fail("its zip directory has a name of ", name, " bytes at byte ", at, "; at most ", kMaxNameBytes,
                " are read");
    name_.resize(std::size_t(name));
    file.read(at + kCentralBytes, name_.data(), name);
    extra_.resize(std::size_t(extra));
    file.read(at + kCentralBytes + name, extra_.data(), extra);
    next_ = at + kCentralBytes + name + extra + field<std::uint16_t>(32);
  }

  std::int64_t next() const { return next_; }

  ZipEntry entry() {
    const auto flags = field<std::uint16_t>(8), method = field<std::uint16_t>(10);
    if (flags & 1) file_.fail("its entry ", printable(name_), " is encrypted");
    // zip64 puts the numbers that do not fit into 32 bits into an extra field, in this order.
    std::uint64_t size = field<std::uint32_t>(24), stored = field<std::uint32_t>(20),
                  local = field<std::uint32_t>(42);
    std::size_t extra = find_zip64();
    for (std::uint64_t* value : {&size, &stored, &local}) {
      if (*value != 0xffffffffu) continue;
      if (extra + 8 > zip64_end_) file_.fail("its zip directory lacks a zip64 size at byte ", at_);
      *value = number<std::uint64_t>(&extra_[extra]);
      extra += 8;
    }
    if (method == 0 && size != stored)
      file_.fail("its entry ", printable(name_), " has two sizes, ", size, " and ", stored);
    ZipEntry entry{std::move(name_), 0, bounded(file_, stored, "an entry of"), field<std::uint32_t>(16),
                   method};
    entry.offset = data_offset(entry, bounded(file_, local, "an entry at byte"));
    if (entry.size > file_.size() - entry.offset)
      file_.fail("is cut off: its entry ", printable(entry.name), " of ", entry.size,
                 " bytes begins at byte ", entry.offset, ", the file has ", file_.size());
    return entry;
  }

 private:
  template <class T>
  T field(std::size_t at) const {
    return number<T>(fixed_.data() + at);
  }

  std::size_t find_zip64() {
    std::size_t at = 0;
    while (at + 4 <= extra_.size()) {
      const auto id = number<std::uint16_t>(&extra_[at]), size = number<std::uint16_t>(&extra_[at + 2]);
      if (id == 1) {
        zip64_end_ = std::min(at + 4 + size, extra_.size());
        return at + 4;
      }
      at += 4u + size;
    }
    return 0;  // with zip64_end_ 0: no number is there
  }

  // The entry's own header has a name and an extra field of their own lengths.
  std::int64_t data_offset(const ZipEntry& entry, std::int64_t local) const {
    std::array<std::uint8_t, kLocalBytes> header;
    file_.read(local, header.data(), kLocalBytes);
    if (number<std::uint32_t>(header.data()) != kLocal)
      file_.fail("its entry ", printable(entry.name), " is not at byte ", local, " where it should be");
    const std::int64_t name_bytes = number<std::uint16_t>(header.data() + 26);
    std::string name(std::size_t(name_bytes), ' ');
    file_.read(local + kLocalBytes, name.data(), name_bytes);
    if (name != entry.name)
      file_.fail("its entry ", printable(entry.name), " is called ", printable(name), " at byte ", local);
    const std::int64_t at = local + kLocalBytes + name_bytes + number<std::uint16_t>(header.data() + 28);
    if (at > file_.size()) file_.fail("is cut off: its entry ", printable(name), " begins at byte ", at);
    return at;
  }

  const FileReader& file_;
  std::int64_t at_, next_ = 0;
  std::array<std::uint8_t, kCentralBytes> fixed_;
  std::string name_;
  std::vector<std::uint8_t> extra_;
  std::size_t zip64_end_ = 0;
};

}  // namespace

std::vector<ZipEntry> read_zip_directory(const FileReader& file) {
  const Directory directory = find_directory(file);
  if (directory.entries > kMaxTensors)
    file.fail("its zip directory has ", directory.entries, " entries; at most ", kMaxTensors, " are read");
  std::int64_t at = bounded(file, directory.offset, "a directory at byte");
  const std::int64_t end = at + bounded(file, directory.bytes, "a directory of");
  std::vector<ZipEntry> entries;
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    CentralRecord record(file, at);
    entries.push_back(record.entry());
    at = record.next();
  }
  if (at != end)
    file.fail("its zip directory ends at byte ", at, ", not at ", end, " as its last record says");
  std::vector<const ZipEntry*> sorted;
  for (const ZipEntry& entry : entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(),
            [](const ZipEntry* a, const ZipEntry* b) { return a->name < b->name; });
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i]->name == sorted[i - 1]->name)
      file.fail("its zip directory has ", printable(sorted[i]->name), " twice");
  return entries;
}

void check_zip_entry(const FileReader& file, const ZipEntry& entry) {
  if (entry.method != 0)
    file.fail("its entry ", printable(entry.name), " is compressed (method ", entry.method,
              "); only stored entries are read");
  std::vector<std::uint8_t> piece(static_cast<std::size_t>(std::min<std::int64_t>(entry.size, 1 << 18)));
  std::uint32_t crc = 0;
  for (std::int64_t done = 0; done < entry.size;) {
    const std::int64_t count = std::min(std::int64_t(piece.size()), entry.size - done);
    file.read(entry.offset + done, piece.data(), count);
    crc = crc32({piece.data(), count}, crc);
    done += count;
  }
  if (crc != entry.crc)
    file.fail("its entry ", printable(entry.name), " at byte ", entry.offset,
              " has changed: the sum of its bytes is wrong");
}

}  // namespace atrous::io
