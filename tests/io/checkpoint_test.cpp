#include "atrous/io/checkpoint.h"

#include <limits>

#include "atrous/io/crc32c.h"
#include "atrous/io/safetensors.h"
#include "tests/io/io_error.h"

namespace atrous::tests {
namespace {

io::CheckpointInfo example() {
  io::CheckpointInfo info;
  info.model = "deeplab_v3plus_mobilenet_v2";
  info.classes = 21;
  info.width = 0.35;
  info.output_stride = 8;
  info.preprocessing = {"imagenet", {123.675, 116.28, 103.53}, {58.395, 57.12, 57.375}, {124, 116, 104}};
  info.batch_norm = {{"backbone", {1e-3, 0.9}}, {"head", {1e-5, 0.9997}}};
  info.colormap = io::voc_colormap();
  info.extra = {{"note", "any text"}};
  return info;
}

const std::map<std::string, Tensor> kTensors = {{"head.bias", Tensor::from<float>({2}, {1, 2})},
                                                {"backbone.weight", Tensor::from<float>({1, 3}, {3, 4, 5})}};

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("checkpoint: info and tensors come back, and equal content gives equal bytes", "[io][checkpoint]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  const io::CheckpointInfo info = example();
  io::write_checkpoint(path, info, kTensors);
  const io::Checkpoint read = io::read_checkpoint(path);
  CHECK(read.info.model == info.model);
  CHECK(read.info.convention == "atrous");
  CHECK(read.info.classes == 21);
  CHECK(read.info.width == 0.35);
  CHECK(read.info.output_stride == 8);
  CHECK(read.info.preprocessing == info.preprocessing);
  CHECK(read.info.batch_norm == info.batch_norm);
  CHECK(read.info.colormap.classes == info.colormap.classes);
  CHECK(read.info.colormap.ignore_color == info.colormap.ignore_color);
  CHECK(read.info.extra == info.extra);
  REQUIRE(read.tensors.size() == 2);
  for (const auto& [name, tensor] : kTensors) CHECK(identical(read.tensors.at(name), tensor));
  io::write_checkpoint(folder.file("b"), read.info, read.tensors);
  CHECK(file_bytes(folder.file("b")) == file_bytes(path));
  CHECK(io::is_checkpoint(path));
  // Other programs see the agreed names.
  const auto metadata = io::read_safetensors(path).metadata;
  for (const char* key : {"format", "model", "convention", "classes", "width", "output_stride",
                          "preprocessing", "batch_norm", "class_names", "colors"})
    CHECK(metadata.count(std::string("atrous.") + key) == 1);
  CHECK(metadata.at("atrous.width") == "0.35");
  CHECK(metadata.at("atrous.classes") == "21");
}

TEST_CASE("checkpoint: names and colours are optional", "[io][checkpoint]") {
  const TemporaryFolder folder;
  io::CheckpointInfo info = example();
  info.colormap = {};
  io::write_checkpoint(folder.file("a"), info, kTensors);
  CHECK(io::read_checkpoint(folder.file("a")).info.colormap.size() == 0);
}

TEST_CASE("checkpoint: an info that could not be read back is refused", "[io][checkpoint]") {
  const TemporaryFolder folder;
  const auto refused_info = [&](auto change) {
    io::CheckpointInfo info = example();
    change(info);
    CHECK_THROWS_AS(io::write_checkpoint(folder.file("a"), info, kTensors), ValueError);
  };
  refused_info([](auto& info) { info.classes = 0; });
  refused_info([](auto& info) { info.classes = 1000000000; });
  refused_info([](auto& info) { info.classes = 20; });  // 21 names
  refused_info([](auto& info) { info.width = 0; });
  refused_info([](auto& info) { info.width = std::numeric_limits<double>::quiet_NaN(); });
  refused_info([](auto& info) { info.output_stride = -8; });
  refused_info([](auto& info) { info.preprocessing.deviation[1] = 0; });
  refused_info([](auto& info) { info.batch_norm["head"].decay = 1.5; });
  refused_info([](auto& info) { info.batch_norm["head"].epsilon = std::numeric_limits<double>::infinity(); });
  refused_info([](auto& info) { info.model = "\xff"; });
  refused_info([](auto& info) { info.colormap.classes[0].name = "\xff"; });
}

TEST_CASE("read_checkpoint: files that are none, newer or damaged", "[io][checkpoint][crafted]") {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.safetensors");
  io::write_safetensors(path, kTensors);
  CHECK(mentions(io_error(path, [&] { io::read_checkpoint(path); }), "no atrous checkpoint"));
  CHECK(!io::is_checkpoint(path));

  const auto with = [&](const std::string& key, const std::string& value) {
    auto metadata = io::checkpoint_metadata(example());
    metadata[key] = value;
    return io_error(path, [&] { io::checkpoint_info(metadata, path); });
  };
  CHECK(mentions(with("atrous.format", "2"), "newer"));
  CHECK(mentions(with("atrous.format", "99999999999"), "newer"));
  for (const char* format : {"", "0", "-1", "1.5", "one", "1 ", "99999999999999999999999"})
    with("atrous.format", format);
  for (const char* classes : {"", "0", "1000000000", "21x", "-21"}) with("atrous.classes", classes);
  for (const char* width : {"", "0", "nan", "inf", "1e9", "-1"}) with("atrous.width", width);
  for (const char* key : {"preprocessing", "batch_norm", "class_names", "colors"})
    for (const char* value :
         {"", "{", "null", "1", "\"x\"", "[1]", "{\"a\":1}", "[[[[[1]]]]]", "[[1,2]]", "[[256,0,0]]"})
      with(std::string("atrous.") + key, value);
  with("atrous.preprocessing", R"({"name":"x","mean":[1,2],"deviation":[1,1,1],"pad_color":[0,0,0]})");
  with("atrous.colors", "[" + std::string(1 << 20, '[') + "]");
  auto metadata = io::checkpoint_metadata(example());
  metadata.erase("atrous.model");
  io::write_safetensors(path, kTensors, metadata);
  CHECK(mentions(io_error(path, [&] { io::read_checkpoint(path); }), "atrous.model"));

  io::write_checkpoint(path, example(), kTensors);
  Bytes bytes = file_bytes(path);
  bytes.back() ^= 1;  // the last tensor by name
  folder.write("a.safetensors", bytes);
  CHECK(mentions(io_error(path, [&] { io::read_checkpoint(path); }), "head.bias"));
  folder.write("a.safetensors", truncated(bytes, bytes.size() - 1));
  CHECK(mentions(io_error(path, [&] { io::read_checkpoint(path); }), "cut off"));
}

TEST_CASE("crc32c: the published values", "[io][checkpoint]") {
  // RFC 3720, appendix B.4, and the usual check value.
  const auto of = [](const Bytes& bytes) { return io::crc32c(bytes); };
  Bytes counting;
  for (int i = 0; i < 32; ++i) counting.push_back(std::uint8_t(i));
  CHECK(of(Bytes(32, 0)) == 0x8a9136aau);
  CHECK(of(Bytes(32, 0xff)) == 0x62a8ab43u);
  CHECK(of(counting) == 0x46dd794eu);
  CHECK(of({'1', '2', '3', '4', '5', '6', '7', '8', '9'}) == 0xe3069283u);
  CHECK(of({}) == 0);
}

}  // namespace atrous::tests
