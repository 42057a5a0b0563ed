#include "atrous/io/protobuf.h"

#include <cstring>

namespace atrous::io {

std::uint64_t ProtoReader::varint(Span<const std::uint8_t>& rest) const {
  std::uint64_t value = 0;
  for (int i = 0; i < 10; ++i) {
    if (rest.empty()) break;
    const std::uint8_t byte = rest[0];
    rest = rest.part(1, rest.size() - 1);
    value |= std::uint64_t(byte & 127) << (7 * i);
    if (byte < 128) return value;
  }
  file_.fail("is cut off or damaged: no number ends at byte ", at_ + (rest.data() - message_.data()));
}

bool ProtoReader::next() {
  if (next_ == message_.size()) return false;
  Span<const std::uint8_t> rest = message_.part(next_, message_.size() - next_);
  const std::int64_t here = at_ + next_;
  const std::uint64_t key = varint(rest);
  field_ = int(key >> 3 & 0x1fffffff);
  wire_ = Wire(key & 7);
  if (field_ == 0 || key >> 32 != 0) file_.fail("is damaged: no field begins at byte ", here);
  number_ = 0;
  std::int64_t count = 0;
  switch (wire_) {
    case kVarint:
      number_ = varint(rest);
      break;
    case kFixed64:
      count = 8;
      break;
    case kFixed32:
      count = 4;
      break;
    case kBytes: {
      const std::uint64_t bytes = varint(rest);
      if (bytes > std::uint64_t(rest.size()))
        file_.fail("is cut off or damaged: the field at byte ", here, " has ", bytes, " bytes, ", rest.size(),
                   " are left");
      count = std::int64_t(bytes);
      break;
    }
    default:
      file_.fail("is damaged: the field at byte ", here, " is of wire type ", int(wire_));
  }
  if (count > rest.size()) file_.fail("is cut off: the field at byte ", here, " has ", count, " bytes");
  bytes_ = rest.part(0, count);
  if (wire_ == kFixed32 || wire_ == kFixed64) std::memcpy(&number_, bytes_.data(), std::size_t(count));
  next_ = rest.data() + count - message_.data();
  return true;
}

std::uint64_t ProtoReader::number() const {
  if (wire_ == kBytes) file_.fail("is damaged: field ", field_, " at byte ", bytes_at(), " is no number");
  return number_;
}

std::int64_t ProtoReader::size() const {
  const std::uint64_t value = number();
  if (value > std::uint64_t(INT64_MAX))
    file_.fail("is damaged: field ", field_, " before byte ", at_ + next_, " is ", value,
               ", which is beyond 63 bits");
  return std::int64_t(value);
}

void ProtoReader::check_bytes() const {
  if (wire_ != kBytes) file_.fail("is damaged: field ", field_, " before byte ", at_ + next_, " is a number");
}

std::string_view ProtoReader::text() const {
  check_bytes();
  return {reinterpret_cast<const char*>(bytes_.data()), std::size_t(bytes_.size())};
}

ProtoReader ProtoReader::message() const {
  check_bytes();
  return {file_, bytes_, bytes_at()};
}

}  // namespace atrous::io
