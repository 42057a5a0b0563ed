#include "tests/support/test_files.h"

#include <stdlib.h>
#include <cstdlib>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "tests/support/catch.h"

namespace atrous::tests {
namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (fs::temp_directory_path() / "atrous_test_XXXXXX").string();
  if (!::mkdtemp(pattern.data())) throw std::runtime_error("no temporary folder " + pattern);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(const std::string& name, const Bytes& bytes) const {
  const std::string path = file(name);
  fs::remove(path);  // some file systems go to the disk when a file is cut and written again
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), std::streamsize(bytes.size()));
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
  return path;
}

std::string TemporaryFolder::write(const std::string& name, const std::string& text) const {
  return write(name, Bytes(text.begin(), text.end()));
}

Bytes file_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

std::optional<std::string> test_data(const std::string& name) {
  const char* folder = std::getenv("ATROUS_SHARED_DATA");
  const std::string path = std::string(folder ? folder : ATROUS_SHARED_DATA_DEFAULT) + "/" + name;
  if (fs::exists(path)) return path;
  WARN("SKIPPED: no test data at " << path << " (set ATROUS_SHARED_DATA)");
  return {};
}

}  // namespace atrous::tests
