#pragma once

#include <sys/resource.h>

#include <string>

#include "atrous/core/error.h"
#include "atrous/core/memory.h"
#include "atrous/io/image.h"
#include "tests/support/catch.h"
#include "tests/support/test_files.h"

namespace atrous::tests {

/// Runs `call`, which must throw an IoError that names the file; returns its text.
template <class Call>
std::string io_error(const std::string& path, const Call& call) {
  std::string text;
  try {
    call();
  } catch (const IoError& error) {
    text = error.what();
  } catch (const std::exception& error) {
    FAIL("another exception than IoError for " << path << ": " << error.what());
  }
  INFO("file " << path << ", error: " << text);
  CHECK(!text.empty());
  CHECK(text.find(path) != std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
  return text;
}

/// Reading the file throws an IoError that names it, and asked for no more tensor memory on the way than
/// twice the file and a MiB.
template <class Read>
std::string refused(const TemporaryFolder& folder, const std::string& name, const Bytes& bytes,
                    const Read& read) {
  const std::string path = folder.write(name, bytes);
  reset_memory_peak();
  const std::int64_t before = memory_stats().in_use;
  const std::string text = io_error(path, [&] { read(path); });
  CHECK(memory_stats().peak - before <= 2 * std::int64_t(bytes.size()) + (1 << 20));
  return text;
}

inline std::string refused_image(const TemporaryFolder& folder, const std::string& name, const Bytes& bytes) {
  return refused(folder, name, bytes, [](const std::string& path) { io::read_image(path); });
}

inline Bytes truncated(Bytes bytes, std::size_t size) {
  bytes.resize(size);
  return bytes;
}

/// The program's peak resident memory so far, in bytes: what a decoder takes outside of tensors shows here
/// too.
inline std::int64_t peak_resident_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::int64_t(usage.ru_maxrss) * 1024;
}

}  // namespace atrous::tests
