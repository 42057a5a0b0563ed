#pragma once

#include <cstdint>
#include <string_view>

#include "atrous/io/file.h"

// Protocol buffers as bytes: fields one behind the other, each a number, a wire type and a value. Messages
// are read by their field numbers, without a compiler for schemas.
// Source: protobuf.dev, "Encoding".

namespace atrous::io {

/// The fields of one message, in order. Throws IoError through the file, with the byte, for what is cut off
/// or of a wire type that is not in use any more (groups).
class ProtoReader {
 public:
  enum Wire { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  /// `at` is where the message lies in the file, for errors.
  ProtoReader(const FileReader& file, Span<const std::uint8_t> message, std::int64_t at)
      : file_(file), message_(message), at_(at) {}

  /// Goes to the next field; false at the end.
  bool next();

  /// Of the field that next() came to.
  int field() const { return field_; }
  Wire wire() const { return wire_; }
  /// A number; a fixed one as its bits. Throws if the field is bytes.
  std::uint64_t number() const;
  /// The same, for what has to be a size or an offset. Throws if it is negative or beyond 63 bits.
  std::int64_t size() const;
  /// The value's bytes: of kBytes its content, of fixed numbers the 4 or 8.
  Span<const std::uint8_t> bytes() const { return bytes_; }
  std::string_view text() const;
  /// A message within. Throws if the field is a number.
  ProtoReader message() const;
  /// Where bytes() lie in the file.
  std::int64_t bytes_at() const { return at_ + (bytes_.data() - message_.data()); }

  /// A number at the front of `rest`, which is taken off: an element of a packed field.
  std::uint64_t varint(Span<const std::uint8_t>& rest) const;

 private:
  void check_bytes() const;

  const FileReader& file_;
  Span<const std::uint8_t> message_, bytes_;
  std::int64_t at_, next_ = 0;
  int field_ = 0;
  Wire wire_ = kVarint;
  std::uint64_t number_ = 0;
};

}  // namespace atrous::io
