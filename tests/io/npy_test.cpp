#include "atrous/io/npy.h"

#include "atrous/core/random.h"
#include "tests/io/io_error.h"

namespace atrous::tests {
namespace {

Bytes npy(const std::string& header, std::size_t data_bytes, int version = 1) {
  Bytes bytes = {0x93, 'N', 'U', 'M', 'P', 'Y', std::uint8_t(version), 0};
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) bytes.push_back(std::uint8_t(header.size() >> (8 * i)));
  bytes.insert(bytes.end(), header.begin(), header.end());
  for (std::size_t i = 0; i < data_bytes; ++i) bytes.push_back(std::uint8_t(i));
  return bytes;
}

std::string header(const std::string& shape, const std::string& descr = "'|u1'",
                   const std::string& order = "False") {
  return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

std::string refused_npy(const Bytes& bytes) {
  const TemporaryFolder folder;
  return refused(folder, "a.npy", bytes, [](const std::string& path) { io::read_npy(path); });
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("npy: every element type and shape comes back bit by bit", "[io][npy]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.npy");
  for (const Dtype dtype : {Dtype::f32, Dtype::f64, Dtype::u8, Dtype::i32, Dtype::i64})
    for (const Shape& shape : {Shape{}, Shape{5}, Shape{2, 3}, Shape{0, 4}, Shape{1, 2, 1, 2, 1, 2, 1, 3}}) {
      Tensor tensor = Tensor::empty(shape, dtype);
      Random random(7);
      auto* bytes = static_cast<std::uint8_t*>(tensor.data());
      for (std::int64_t i = 0; i < tensor.bytes(); ++i) bytes[i] = std::uint8_t(random.below(256));
      io::write_npy(path, tensor);
      CHECK(identical(io::read_npy(path), tensor));
      CHECK((file_bytes(path).size() - std::size_t(tensor.bytes())) % 64 == 0);
    }
  CHECK_THROWS_AS(io::write_npy(path, Tensor::zeros({2}, Dtype::bf16)), DtypeError);
  CHECK_THROWS_AS(io::write_npy(path, Tensor()), IoError);
}

TEST_CASE("npy: versions, spellings and Fortran order", "[io][npy]") {
  const TemporaryFolder folder;
  const Tensor expected = Tensor::from<std::uint8_t>({2, 3}, {0, 1, 2, 3, 4, 5});
  const auto read = [&](const Bytes& bytes) { return io::read_npy(folder.write("a.npy", bytes)); };
  for (const int version : {1, 2, 3}) CHECK(identical(read(npy(header("(2, 3)"), 6, version)), expected));
  CHECK(identical(read(npy("{\"shape\":(2,3,),\"descr\":\"<u1\",\"fortran_order\":False}", 6)), expected));
  CHECK(identical(read(npy(header("(2, 3)", "'|u1'", "True"), 6)),
                  Tensor::from<std::uint8_t>({2, 3}, {0, 2, 4, 1, 3, 5})));
  CHECK(identical(read(npy(header("(2, 2, 2)", "'|u1'", "True"), 8)),
                  Tensor::from<std::uint8_t>({2, 2, 2}, {0, 4, 2, 6, 1, 5, 3, 7})));
  CHECK(read(npy(header("()"), 1)).rank() == 0);
  CHECK(read(npy(header("(0, 7)", "'|u1'", "True"), 0)).shape() == Shape({0, 7}));
}

TEST_CASE("read_npy: crafted files are refused by name", "[io][npy][crafted]") {
  const std::int64_t resident = peak_resident_bytes();
  refused_npy({});
  refused_npy(Bytes(9));
  Bytes long_header = npy(header("(4,)"), 4);
  long_header[8] = long_header[9] = 0xff;  // 65535 in a file of some 80 bytes
  CHECK(mentions(refused_npy(long_header), "cut off"));
  refused_npy({0x93, 'N', 'U', 'M', 'P', 'Y', 2, 0, 0xf0, 0xff, 0xff, 0xff});
  refused_npy({0x93, 'N', 'U', 'M', 'P', 'Y', 2, 0, 1, 0});
  refused_npy(npy(header("(4,)"), 4, 4));
  refused_npy(npy(header("(4294967296, 4294967296)"), 4));
  refused_npy(npy(header("(0, 4294967296, 4294967296)"), 0));
  refused_npy(npy(header("(9223372036854775807,)", "'<f8'"), 4));
  refused_npy(npy(header("(9223372036854775808,)"), 4));
  refused_npy(npy(header("(1099511627776,)"), 4));
  CHECK(mentions(refused_npy(npy(header("(4,)", "'>f4'"), 16)), "big-endian"));
  CHECK(mentions(refused_npy(npy(header("(4,)", "'|O'"), 32)), "objects"));
  CHECK(mentions(refused_npy(npy(header("(4,)", "[('x', '<f4')]"), 16)), "structures"));
  refused_npy(npy(header("(4,)", "''"), 4));
  refused_npy(npy(header("(4,)", "'<ixy'"), 4));
  refused_npy(npy(header("(4,)", "'\n\x01'"), 4));
  refused_npy(npy(header("(4,)", "None"), 4));
  refused_npy(npy(header("(4", "'|u1'"), 4));
  refused_npy(npy(header("4", "'|u1'"), 4));
  refused_npy(npy(header("(4)", "'|u1'"), 4));
  refused_npy(npy(header("(-4,)", "'|u1'"), 4));
  refused_npy(npy(header("((4,),)", "'|u1'"), 4));
  refused_npy(npy(header("(4.0,)", "'|u1'"), 4));
  refused_npy(npy(header("(1, 1, 1, 1, 1, 1, 1, 1, 4)"), 4));
  refused_npy(npy(header("(4,)", "'|u1'", "None"), 4));
  refused_npy(npy("{'descr': '|u1', 'shape': (4,)}", 4));
  refused_npy(npy("{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (4,)}", 4));
  refused_npy(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4,), 'x': 1}", 4));
  refused_npy(npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4,)", 4));
  refused_npy(npy("{'descr': '|u1, 'fortran_order': False, 'shape': (4,)}", 4));
  refused_npy(npy("__import__('os')", 4));
  refused_npy(npy(header("(4,)") + "x", 4));
  refused_npy(npy(header("(4,)"), 3));
  refused_npy(npy(header("(4,)"), 5));
  const Bytes whole = npy(header("(4,)"), 4);
  for (std::size_t size = 0; size < whole.size(); ++size) refused_npy(truncated(whole, size));
  CHECK(peak_resident_bytes() - resident < (16 << 20));
}

TEST_CASE("npy: a file of NumPy's is read, and written again byte for byte", "[io][npy][data]") {
  const auto path = test_data("crf/small1_unary.npy");
  if (!path) return;
  const Tensor tensor = io::read_npy(*path);
  CHECK(tensor.shape() == Shape({2, 60, 80}));
  CHECK(tensor.dtype() == Dtype::f32);
  const TemporaryFolder folder;
  io::write_npy(folder.file("copy.npy"), tensor);
  CHECK(file_bytes(folder.file("copy.npy")) == file_bytes(*path));
}

}  // namespace atrous::tests
