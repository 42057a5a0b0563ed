#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Files for tests: a folder that goes away with the test, and the optional folder of real data sets.

namespace atrous::tests {

using Bytes = std::vector<std::uint8_t>;

/// An empty folder of its own under the system's temporary folder, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// Writes a file into the folder; returns its path.
  std::string write(const std::string& name, const Bytes& bytes) const;
  std::string write(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

Bytes file_bytes(const std::string& path);

/// The path of a file or folder of the optional test data (environment variable ATROUS_SHARED_DATA, or
/// ../shared/data beside the source root). Without it: a warning that names it, and nothing; the test then
/// ends.
std::optional<std::string> test_data(const std::string& name);

}  // namespace atrous::tests
