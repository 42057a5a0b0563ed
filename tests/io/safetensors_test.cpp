#include "atrous/io/safetensors.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "atrous/core/random.h"
#include "tests/io/io_error.h"
#include "tests/io/safetensors_bytes.h"

namespace atrous::tests {
namespace {

using Tensors = std::map<std::string, Tensor>;

Tensor random_bytes(const Shape& shape, Dtype dtype, std::uint64_t seed) {
  Tensor tensor = Tensor::empty(shape, dtype);
  Random random(seed);
  auto* bytes = static_cast<std::uint8_t*>(tensor.data());
  for (std::int64_t i = 0; i < tensor.bytes(); ++i) bytes[i] = std::uint8_t(random.below(256));
  return tensor;
}

Tensors every_kind() {
  return {{"f32", random_bytes({3, 5}, Dtype::f32, 1)},
          {"f64", random_bytes({2, 1, 3}, Dtype::f64, 2)},
          {"bf16", random_bytes({7}, Dtype::bf16, 3)},
          {"u8", random_bytes({3}, Dtype::u8, 4)},
          {"i32", random_bytes({2, 2}, Dtype::i32, 5)},
          {"i64", random_bytes({1}, Dtype::i64, 6)},
          {"scalar", random_bytes({}, Dtype::f32, 7)},
          {"nothing", random_bytes({0, 4}, Dtype::f32, 8)},
          {"deep", random_bytes({1, 2, 1, 2, 1, 2, 1, 2}, Dtype::u8, 9)},
          {"a \"name\" with \\ and \xc3\xa4", random_bytes({2}, Dtype::u8, 10)}};
}

}  // namespace

TEST_CASE("safetensors: every dtype and shape comes back bit by bit", "[io][safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  const Tensors tensors = every_kind();
  const std::map<std::string, std::string> metadata = {{"b", "line\nbreak"}, {"a", ""}};
  io::write_safetensors(path, tensors, metadata);
  const io::SafeTensors read = io::read_safetensors(path);
  CHECK(read.metadata == metadata);
  REQUIRE(read.tensors.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    INFO(name);
    CHECK(identical(read.tensors.at(name), tensor));
  }
  io::write_safetensors(path, {});
  CHECK(io::read_safetensors(path).tensors.empty());
}

TEST_CASE("safetensors: equal content gives equal bytes, aligned, and no other file", "[io][safetensors]") {
  const TemporaryFolder folder;
  const std::string first = folder.file("a.safetensors"), second = folder.file("b.safetensors");
  io::write_safetensors(first, every_kind());
  io::write_safetensors(second, every_kind());
  io::write_safetensors(second, io::read_safetensors(first).tensors);
  CHECK(file_bytes(first) == file_bytes(second));
  CHECK(file_bytes(first)[0] % 8 == 0);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 2);
  // The bytes themselves, so that a change of the layout is seen.
  io::write_safetensors(
      first, {{"b", Tensor::from<std::uint8_t>({2}, {0, 1})}, {"a", Tensor::from<float>({1}, {0})}},
      {{"k", "v"}});
  const std::string header =
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
      R"("b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})";
  Bytes expected = safetensors_bytes(header + std::string((8 - header.size() % 8) % 8, ' '), 0);
  for (const int byte : {0, 0, 0, 0, 0, 1}) expected.push_back(std::uint8_t(byte));
  CHECK(file_bytes(first) == expected);
}

TEST_CASE("safetensors: half precision is read as float, exactly", "[io][safetensors]") {
  const TemporaryFolder folder;
  const std::vector<std::uint16_t> halves = {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff, 0x0001,
                                             0x03ff, 0x0400, 0x7c00, 0xfc00, 0x7e00, 0x3555};
  Bytes bytes = safetensors_bytes(R"({"h":{"dtype":"F16","shape":[12],"data_offsets":[0,24]}})", 0);
  for (const std::uint16_t half : halves) {
    bytes.push_back(std::uint8_t(half));
    bytes.push_back(std::uint8_t(half >> 8));
  }
  const io::SafeTensors read = io::read_safetensors(folder.write("h.safetensors", bytes));
  const auto v = read.tensors.at("h").span<float>();
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> expected = {0.f,      -0.f, 1.f, -2.f, 65504.f, 0x1p-24f, 1023 * 0x1p-24f,
                                       0x1p-14f, inf,  -inf};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(v[std::int64_t(i)] == expected[i]);
    CHECK(std::signbit(v[std::int64_t(i)]) == std::signbit(expected[i]));
  }
  CHECK(std::isnan(v[10]));
  CHECK(v[11] == 1365 * 0x1p-12f);
}

TEST_CASE("safetensors: what cannot be read back is not written", "[io][safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  const Tensor one = Tensor::zeros({1});
  for (const auto& name : {std::string("__metadata__"), std::string(2000, 'x'), std::string("\xff")})
    io_error(path, [&] { io::write_safetensors(path, {{name, one}}); });
  io_error(path, [&] { io::write_safetensors(path, {{"undefined", Tensor()}}); });
  io_error(path, [&] { io::write_safetensors(path, {{"a", one}}, {{"k", "\xc3"}}); });
  CHECK(std::filesystem::is_empty(folder.path()));
  const std::string missing = folder.file("no/folder.safetensors");
  io_error(missing, [&] { io::write_safetensors(missing, {{"a", one}}); });
  CHECK_THROWS_AS(io::read_safetensors(folder.path()), IoError);
}

TEST_CASE("safetensors: a writer that fails leaves the old file", "[io][safetensors]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  io::write_safetensors(path, {{"a", Tensor::zeros({1})}});
  const Bytes before = file_bytes(path);
  CHECK_THROWS_AS(io::write_safetensors(path, {{"\xff", Tensor::zeros({1})}}), IoError);
  CHECK(file_bytes(path) == before);
}

TEST_CASE("safetensors: a published file", "[io][safetensors][data]") {
  const auto path = test_data("weights/deeplabv3_257_mv_gpu.safetensors");
  if (!path) return;
  const io::SafeTensors file = io::read_safetensors(*path);
  CHECK(file.tensors.size() == 110);
  CHECK(file.metadata.at("licence") == "Apache-2.0 (tensorflow/models)");
  CHECK(file.tensors.at("t00.conv.weight").shape() == Shape({16, 3, 3, 3}));
  for (const auto& [name, tensor] : file.tensors)
    for (const float v : tensor.span<float>()) REQUIRE(std::isfinite(v));
  const TemporaryFolder folder;
  io::write_safetensors(folder.file("copy"), file.tensors, file.metadata);
  const io::SafeTensors copy = io::read_safetensors(folder.file("copy"));
  for (const auto& [name, tensor] : file.tensors) REQUIRE(identical(copy.tensors.at(name), tensor));
}

}  // namespace atrous::tests
