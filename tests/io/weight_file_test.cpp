#include "atrous/io/weight_file.h"

#include <filesystem>

#include "atrous/io/safetensors.h"
#include "tests/io/io_error.h"
#include "tests/io/weight_samples.h"

// Files that the tools of each format wrote (tests/reference/weight_files.py), and what is in them.

namespace atrous::tests {
namespace {

// Element i is start + i / 4, in the element type's precision: all chosen values are exact.
void check_ramp(const io::WeightFile& file, const std::string& name, io::ElementType type, const Shape& shape,
                double start) {
  INFO(file.path() << ": " << name);
  const auto found = file.find(name);
  REQUIRE(found);
  const io::StoredTensor& stored = file.tensors()[*found];
  CHECK(stored.type == type);
  CHECK(stored.shape == shape);
  const Tensor read = file.read(*found);
  CHECK(read.dtype() == io::dtype_of_element(type));
  REQUIRE(read.shape() == shape);
  const Tensor values = read.to(Dtype::f64);
  for (std::int64_t i = 0; i < values.numel(); ++i) CHECK(values.span<double>()[i] == start + double(i) / 4);
}

void check_torch(const std::string& name, std::size_t skipped) {
  const auto file = io::open_weight_file(weight_sample(name));
  CHECK(std::string(file->format()) == "PyTorch");
  CHECK(file->tensors().size() == 9);
  CHECK(file->skipped().size() == skipped);
  using enum io::ElementType;
  check_ramp(*file, "conv.weight", f32, {2, 3, 1, 2}, 1);
  check_ramp(*file, "conv.second", f32, {3, 1, 2}, 2.5);
  check_ramp(*file, "parameter", f32, {2}, 5);
  check_ramp(*file, "half", f16, {4}, -2);
  check_ramp(*file, "brain", bf16, {3}, 1);
  check_ramp(*file, "double", f64, {2, 2}, 3);
  check_ramp(*file, "count", i64, {}, 7);
  check_ramp(*file, "none", f32, {0, 3}, 0);
  const Tensor turned = file->read(*file->find("turned"));
  REQUIRE(turned.shape() == Shape{4, 3});
  for (std::int64_t r = 0; r < 4; ++r)
    for (std::int64_t c = 0; c < 3; ++c) CHECK(turned.span<float>()[3 * r + c] == float(4 * c + r) / 4);
}

}  // namespace

TEST_CASE("weight files: PyTorch's state dicts, by themselves and in a training state", "[io][weights]") {
  check_torch("torch.pth", 0);
  check_torch("torch_training.pth", 0);
}

TEST_CASE("weight files: other files of PyTorch are refused by name", "[io][weights]") {
  const auto refusal = [](const std::string& name) {
    const std::string path = weight_sample(name);
    return io_error(path, [&] { io::open_weight_file(path); });
  };
  CHECK(refusal("torch_old.pth").find("before 1.6") != std::string::npos);
  CHECK(refusal("torch_module.pth").find("torch.nn.modules.conv.Conv2d") != std::string::npos);
}

TEST_CASE("weight files: TensorFlow checkpoints of two shards", "[io][weights]") {
  using enum io::ElementType;
  for (const char* name : {"tensorflow.ckpt", "tensorflow.ckpt.index"}) {
    const auto file = io::open_weight_file(weight_sample(name));
    CHECK(std::string(file->format()) == "TensorFlow");
    CHECK(file->tensors().size() == 7);
    REQUIRE(file->skipped().size() == 1);
    CHECK(file->skipped()[0].find("text") != std::string::npos);
    check_ramp(*file, "aspp0/weights", f32, {1, 1, 2, 3}, 1);
    check_ramp(*file, "aspp0/BatchNorm/gamma", f32, {3}, 5);
    check_ramp(*file, "double", f64, {2, 2}, 3);
    check_ramp(*file, "half", f16, {4}, -2);
    check_ramp(*file, "brain", bf16, {3}, 1);
    check_ramp(*file, "global_step", i64, {}, 7);
    const Tensor integers = file->read(*file->find("integers"));
    CHECK(integers.span<std::int32_t>()[1] == -2);
  }
  const std::string shard = weight_sample("tensorflow.ckpt.data-00000-of-00002");
  CHECK(io_error(shard, [&] { io::open_weight_file(shard); }).find("shard") != std::string::npos);
}

TEST_CASE("weight files: a TensorFlow checkpoint without one of its shards", "[io][weights]") {
  const TemporaryFolder folder;
  folder.write("a.index", file_bytes(weight_sample("tensorflow.ckpt.index")));
  Bytes shard = file_bytes(weight_sample("tensorflow.ckpt.data-00000-of-00002"));
  folder.write("a.data-00000-of-00002", shard);
  const auto file = io::open_weight_file(folder.file("a"));
  CHECK_NOTHROW(file->read(*file->find("aspp0/weights")));
  CHECK_THROWS_AS(file->read(*file->find("brain")), IoError);
  // A changed byte and a cut are found when the tensor is read.
  const auto refused_shard = [&](const Bytes& bytes) {
    folder.write("a.data-00000-of-00002", bytes);
    const auto damaged = io::open_weight_file(folder.file("a"));
    return io_error(folder.file("a.data-00000-of-00002"), [&] {
      for (const char* name : {"aspp0/weights", "aspp0/BatchNorm/gamma", "double", "half"})
        damaged->read(*damaged->find(name));
    });
  };
  shard[5] ^= 1;
  CHECK(refused_shard(shard).find("has changed") != std::string::npos);
  shard[5] ^= 1;
  CHECK(refused_shard(truncated(shard, shard.size() - 1)).find("cut off") != std::string::npos);
}

TEST_CASE("weight files: TFLite models, their biases called after the weights", "[io][weights]") {
  using enum io::ElementType;
  const auto file = io::open_weight_file(weight_sample("small.tflite"));
  CHECK(std::string(file->format()) == "TFLite");
  check_ramp(*file, "first/weights", f32, {2, 1, 1, 3}, 1);
  check_ramp(*file, "first/biases", f32, {2}, 5);
  check_ramp(*file, "second/depthwise_weights", f32, {1, 1, 2, 2}, 3);
  check_ramp(*file, "second/biases", f32, {2}, -2);
  CHECK(file->tensors().size() == 5);  // and the resize's size
  CHECK(file->metadata().at("input") == "9x9");
  CHECK(file->metadata().at("first/weights") == "5x5");
}

TEST_CASE("weight files: Caffe's blobs, of both generations of layers", "[io][weights]") {
  using enum io::ElementType;
  for (const bool v1 : {false, true}) {
    const auto file = io::open_weight_file(weight_sample(v1 ? "caffe_v1.caffemodel" : "caffe.caffemodel"));
    CHECK(std::string(file->format()) == "Caffe");
    CHECK(file->tensors().size() == 7);
    const auto vector = [&](std::int64_t n) { return v1 ? Shape{1, 1, 1, n} : Shape{n}; };
    check_ramp(*file, "conv1/0", f32, {2, 3, 1, 1}, 1);
    check_ramp(*file, "conv1/1", f32, vector(2), 5);
    check_ramp(*file, "bn_conv1/0", f32, vector(2), 3);
    check_ramp(*file, "bn_conv1/2", f32, vector(1), 4);
    check_ramp(*file, "scale_conv1/0", f64, vector(2), -2);
  }
}

TEST_CASE("weight files: safetensors behind the same interface", "[io][weights]") {
  const TemporaryFolder folder;
  io::write_safetensors(
      folder.file("a"),
      {{"x", Tensor::from<float>({3}, {1, 1.25, 1.5})}, {"n", Tensor::full({2}, 7, Dtype::i64)}},
      {{"key", "value"}});
  const auto file = io::open_weight_file(folder.file("a"));
  CHECK(std::string(file->format()) == "safetensors");
  check_ramp(*file, "x", io::ElementType::f32, {3}, 1);
  CHECK(file->metadata().at("key") == "value");
  CHECK_FALSE(file->find("y"));
}

TEST_CASE("weight files: a published TFLite model has the numbers of its safetensors twin", "[io][weights]") {
  const auto path = test_data("weights/deeplabv3_257_mv_gpu.tflite");
  const auto twin_path = test_data("weights/deeplabv3_257_mv_gpu.safetensors");
  if (!path || !twin_path) return;
  const auto file = io::open_weight_file(*path);
  const auto twin = io::read_safetensors(*twin_path).tensors;
  // The twin counts the nodes of the graph; both list convolutions in their order of execution, so sums over
  // all numbers tell whether something is missing.
  double sum = 0, twin_sum = 0;
  std::int64_t count = 0, twin_count = 0;
  for (std::size_t i = 0; i < file->tensors().size(); ++i) {
    if (file->tensors()[i].type != io::ElementType::f32) continue;
    const Tensor t = file->read(i);
    for (const float v : t.span<float>()) sum += double(v) * double(v);
    count += t.numel();
  }
  for (const auto& [name, t] : twin) {
    for (const float v : t.span<float>()) twin_sum += double(v) * double(v);
    twin_count += t.numel();
  }
  CHECK(count == twin_count);
  CHECK(std::abs(sum - twin_sum) < 1e-9 * twin_sum);
  const Tensor bias = file->read(*file->find("logits/semantic/biases"));
  CHECK(identical(bias, twin.at("t67.conv.bias")));
  CHECK(file->metadata().at("input") == "257x257");
  CHECK(file->metadata().at("logits/semantic/weights") == "33x33");
}

}  // namespace atrous::tests
