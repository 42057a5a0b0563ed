#include "atrous/io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace atrous::io {
namespace {

// A call of read or write moves at most 2^31 bytes on Linux.
constexpr std::int64_t kMostBytesOfACall = std::int64_t(1) << 30;

/// A path with a NUL byte would be cut there by the system and name another file.
void check_path(const std::string& path, std::string_view op) {
  ATROUS_CHECK(IoError, !path.empty(), op, "the file name is empty");
  ATROUS_CHECK(IoError, path.find('\0') == std::string::npos, op, path.c_str(),
               "...: the file name has a NUL byte in it");
}

}  // namespace

FileReader::FileReader(const std::string& path, std::string_view op) : path_(path), op_(op) {
  check_path(path, op);
  // Without O_NONBLOCK the open of a pipe would wait for a writer.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail("cannot be opened: ", std::strerror(errno));
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  const bool regular = known && S_ISREG(status.st_mode);
  if (!regular) {
    ::close(descriptor_);
    descriptor_ = -1;
    fail(known && S_ISDIR(status.st_mode) ? "is a directory, not a file" : "is not a regular file");
  }
  size_ = std::int64_t(status.st_size);
}

FileReader::~FileReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileReader::read(std::int64_t offset, void* to, std::int64_t count) const {
  if (offset < 0 || count < 0 || offset > size_ || count > size_ - offset)
    fail("ends after ", size_, " bytes; ", count, " bytes from ", offset, " on were to be read");
  auto* target = static_cast<std::uint8_t*>(to);
  while (count > 0) {
    const ssize_t got =
        ::pread(descriptor_, target, std::size_t(std::min(count, kMostBytesOfACall)), off_t(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("cannot be read: ", std::strerror(errno));
    if (got == 0) fail("became shorter than its ", size_, " bytes while it was read");
    target += got;
    offset += got;
    count -= got;
  }
}

void FileReader::next(void* to, std::int64_t count) {
  read(position_, to, count);
  position_ += count;
}

FileWriter::FileWriter(const std::string& path, std::string_view op) : path_(path), op_(op) {
  check_path(path, op);
  // Unique among the processes and threads that may write into this folder; the name never reaches the
  // content.
  static std::atomic<unsigned> serial{0};
  // A process that was killed may have left its temporary file, and in a container the next one often has the
  // same number: then the next name is tried.
  constexpr int kAttempts = 1000;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    temporary_ = path + ".tmp" + std::to_string(::getpid()) + "." + std::to_string(serial++);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ >= 0 || errno != EEXIST) break;
  }
  if (descriptor_ < 0) {
    temporary_.clear();
    fail("cannot be written");
  }
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void FileWriter::write(const void* from, std::int64_t count) {
  const auto* source = static_cast<const std::uint8_t*>(from);
  while (count > 0) {
    const ssize_t written = ::write(descriptor_, source, std::size_t(std::min(count, kMostBytesOfACall)));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot be written");
    source += written;
    count -= written;
  }
}

void FileWriter::sync() {
  if (::fsync(descriptor_) != 0) fail("cannot be forced to the disk");
}

void FileWriter::commit() {
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) fail("cannot be closed");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be given its name");
  temporary_.clear();
}

void FileWriter::fail(const char* what) const {
  atrous::fail<IoError>(op_, path_, ": ", what, ": ", std::strerror(errno));
}

std::vector<std::uint8_t> read_bytes(const std::string& path, std::string_view op) {
  FileReader file(path, op);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(file.size()));
  file.read(0, bytes.data(), file.size());
  return bytes;
}

void write_bytes(const std::string& path, Span<const std::uint8_t> bytes, std::string_view op) {
  FileWriter file(path, op);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

void write_text(const std::string& path, std::string_view text, std::string_view op) {
  FileWriter file(path, op);
  file.write(text.data(), std::int64_t(text.size()));
  file.commit();
}

}  // namespace atrous::io
