#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "atrous/io/file.h"

// FlatBuffers as bytes: tables whose fields are found through a table of 16-bit offsets, vectors with a
// 32-bit count in front. Every access is checked against the end of the buffer.
// Source: FlatBuffers' "Internals" page, google.github.io/flatbuffers.

namespace atrous::io {

/// A whole buffer in memory; `file` is for messages.
struct FlatBuffer {
  const FileReader& file;
  Span<const std::uint8_t> bytes;

  void check(std::int64_t at, std::int64_t count) const {
    if (at < 0 || count < 0 || at > bytes.size() || count > bytes.size() - at)
      file.fail("is cut off or damaged: byte ", at, " of its ", bytes.size(), " was to be read");
  }
  template <class T>
  T number(std::int64_t at) const {
    check(at, sizeof(T));
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  }
  /// Where the offset at `at` points to.
  std::int64_t follow(std::int64_t at) const { return at + number<std::uint32_t>(at); }
};

/// A vector: `count` elements from `begin` on, of a size that the caller knows.
struct FlatVector {
  std::int64_t begin = 0, count = 0;
};

/// A table. Fields are numbered as in the schema; one that is absent has its default.
class FlatTable {
 public:
  FlatTable(const FlatBuffer& buffer, std::int64_t at) : buffer_(&buffer), at_(at) {
    vtable_ = at - buffer.number<std::int32_t>(at);
    fields_ = (std::int64_t(buffer.number<std::uint16_t>(vtable_)) - 4) / 2;
  }

  template <class T>
  T number(int field, T fallback = 0) const {
    const std::int64_t at = place(field);
    return at ? buffer_->number<T>(at) : fallback;
  }
  /// Elements of `element` bytes each; empty if absent.
  FlatVector vector(int field, std::int64_t element) const {
    const std::int64_t at = place(field);
    if (!at) return {};
    const std::int64_t begin = buffer_->follow(at);
    const FlatVector found{begin + 4, buffer_->number<std::uint32_t>(begin)};
    buffer_->check(found.begin, found.count * element);
    return found;
  }
  std::string_view text(int field) const {
    const FlatVector found = vector(field, 1);
    return {reinterpret_cast<const char*>(buffer_->bytes.data()) + found.begin, std::size_t(found.count)};
  }
  /// Element `index` of a vector of tables.
  FlatTable table(const FlatVector& tables, std::int64_t index) const {
    return {*buffer_, buffer_->follow(tables.begin + 4 * index)};
  }

 private:
  std::int64_t place(int field) const {
    if (field >= fields_) return 0;
    const auto offset = buffer_->number<std::uint16_t>(vtable_ + 4 + 2 * field);
    return offset ? at_ + offset : 0;
  }

  const FlatBuffer* buffer_;
  std::int64_t at_, vtable_ = 0, fields_ = 0;
};

}  // namespace atrous::io
