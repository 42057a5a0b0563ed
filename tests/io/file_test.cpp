#include "atrous/io/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/io/io_error.h"

namespace atrous::tests {
namespace {

std::int64_t files_in(const TemporaryFolder& folder) {
  return std::distance(std::filesystem::directory_iterator(folder.path()), {});
}

}  // namespace

TEST_CASE("FileWriter: the old file stays until the new one is whole", "[io][file]") {
  const TemporaryFolder folder;
  const std::string path = folder.write("a", std::string("old"));
  {
    io::FileWriter file(path, "test");
    file.write("new", 3);
    CHECK(file_bytes(path) == Bytes{'o', 'l', 'd'});
  }  // without commit()
  CHECK(file_bytes(path) == Bytes{'o', 'l', 'd'});
  CHECK(files_in(folder) == 1);
  io::FileWriter file(path, "test");
  file.write("new", 3);
  file.sync();
  file.commit();
  CHECK(file_bytes(path) == Bytes{'n', 'e', 'w'});
  CHECK(files_in(folder) == 1);
}

TEST_CASE("FileWriter: a temporary file that somebody left does not stop it", "[io][file]") {
  const TemporaryFolder folder;
  for (int i = 0; i < 100; ++i)
    folder.write("a.tmp" + std::to_string(::getpid()) + "." + std::to_string(i), Bytes{1});
  io::write_text(folder.file("a"), "text", "test");
  CHECK(file_bytes(folder.file("a")) == Bytes{'t', 'e', 'x', 't'});
  CHECK(files_in(folder) == 101);
}

TEST_CASE("FileReader: only regular files, only what is there", "[io][file]") {
  const TemporaryFolder folder;
  const std::string path = folder.write("a", std::string("abc"));
  const io::FileReader file(path, "test");
  CHECK(file.size() == 3);
  char two[2];
  file.read(1, two, 2);
  CHECK(std::string(two, 2) == "bc");
  io_error(path, [&] { file.read(2, two, 2); });
  io_error(path, [&] { file.read(-1, two, 1); });
  io_error(path, [&] { file.read(INT64_MAX, two, 2); });
  const std::string pipe = folder.file("pipe");
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  io_error(pipe, [&] { io::read_bytes(pipe, "test"); });  // and does not wait for a writer
  io_error(folder.path(), [&] { io::read_bytes(folder.path(), "test"); });
  io_error(folder.file("none"), [&] { io::read_bytes(folder.file("none"), "test"); });
  const std::string no_folder = folder.file("no/file");
  io_error(no_folder, [&] { io::write_text(no_folder, "", "test"); });
}

}  // namespace atrous::tests
