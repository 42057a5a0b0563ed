#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "atrous/core/error.h"
#include "atrous/core/span.h"

// Files as the readers and writers of io/ see them. Reading takes regular files only (a directory, a pipe or
// a device is an error, not a hang) and knows the size before it allocates. Writing is all or nothing: bytes
// go to a temporary name in the same folder, and the name is changed last, so a
// reader sees the old file or the new one, never half of one. `op` is the function that an error names in
// brackets.

namespace atrous::io {

/// A regular file opened for reading. Throws IoError if it cannot be opened or is not a regular file.
class FileReader {
 public:
  FileReader(const std::string& path, std::string_view op);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  const std::string& path() const { return path_; }
  std::string_view op() const { return op_; }
  /// Bytes in the file when it was opened.
  std::int64_t size() const { return size_; }
  /// Reads exactly `count` bytes from `offset` on. Throws IoError if they are not there.
  void read(std::int64_t offset, void* to, std::int64_t count) const;
  /// The next `count` bytes, after the last ones that next() gave.
  void next(void* to, std::int64_t count);
  std::int64_t position() const { return position_; }
  /// Throws IoError "[op] path: pieces...".
  template <class... Pieces>
  [[noreturn]] void fail(const Pieces&... pieces) const {
    atrous::fail<IoError>(op_, path_, ": ", pieces...);
  }

 private:
  std::string path_, op_;
  int descriptor_ = -1;
  std::int64_t size_ = 0, position_ = 0;
};

/// A file in the making. Nothing appears under `path` before commit(); without it the destructor removes what
/// was written. Throws IoError if the folder does not exist or the disk is full.
class FileWriter {
 public:
  FileWriter(const std::string& path, std::string_view op);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const void* from, std::int64_t count);
  /// Forces the bytes to the disk, so that what the name stands for survives a loss of power. Takes tens of
  /// milliseconds on a busy disk: for files that took long to make.
  void sync();
  /// Gives the file its name.
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;

  std::string path_, op_, temporary_;
  int descriptor_ = -1;
};

/// All bytes of a file.
std::vector<std::uint8_t> read_bytes(const std::string& path, std::string_view op);
/// Writes a file whole, or not at all.
void write_bytes(const std::string& path, Span<const std::uint8_t> bytes, std::string_view op);
/// The same for text.
void write_text(const std::string& path, std::string_view text, std::string_view op);

}  // namespace atrous::io
