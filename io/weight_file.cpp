#include "atrous/io/weight_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

#include "atrous/io/caffemodel.h"
#include "atrous/io/pth.h"
#include "atrous/io/safetensors_header.h"
#include "atrous/io/tf_checkpoint.h"
#include "atrous/io/tflite.h"

namespace atrous::io {
namespace {

class SafetensorsFile : public WeightFile {
 public:
  SafetensorsFile(const std::string& path, std::int64_t bytes)
      : WeightFile(path, "safetensors", bytes), file_(path, kOp) {
    SafetensorsHeader header = read_safetensors_header(file_);
    metadata_ = std::move(header.metadata);
    for (TensorEntry& entry : header.entries) {
      add(std::move(entry.name), entry.type, entry.shape);
      offsets_.push_back(header.data_at + entry.begin);
    }
  }

  Tensor read(std::size_t index) const override {
    const StoredTensor& tensor = tensors().at(index);
    return read_elements(file_, offsets_[index], tensor.type, tensor.shape);
  }

 private:
  FileReader file_;
  std::vector<std::int64_t> offsets_;
};

constexpr std::size_t kHead = 16, kTail = 8;

bool starts_with(const std::array<std::uint8_t, kHead>& head, std::string_view text) {
  return std::memcmp(head.data(), text.data(), text.size()) == 0;
}

}  // namespace

std::optional<std::size_t> WeightFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? std::nullopt : std::optional(found->second);
}

void WeightFile::charge(std::int64_t bytes) {
  if (bytes > budget_) fail("the list of what is in it would need more than twice the file's memory");
  budget_ -= bytes;
}

std::int64_t WeightFile::add(std::string name, ElementType type, const std::vector<std::int64_t>& shape) {
  if (tensors_.size() >= kMaxTensors) fail("it has more than ", kMaxTensors, " tensors");
  if (name.size() > kMaxNameBytes)
    fail("a tensor's name has ", name.size(), " bytes; at most ", kMaxNameBytes,
         " are read: ", printable(name));
  if (shape.size() > std::size_t(Shape::kMaxRank))
    fail("tensor ", printable(name), " has ", shape.size(), " axes; at most ", Shape::kMaxRank, " are read");
  const auto bytes = array_bytes(shape, element_bytes(type));
  if (!bytes) fail("tensor ", printable(name), " has a negative size, or more than 2^63 bytes");
  if (*bytes > elements_left_)
    fail("the file is cut off or damaged: with ", printable(name),
         " its tensors have more than twice its bytes");
  elements_left_ -= *bytes;
  charge(std::int64_t(sizeof(StoredTensor) + 2 * name.size()));
  if (!by_name_.emplace(name, tensors_.size()).second) fail("the name ", printable(name), " occurs twice");
  tensors_.push_back({std::move(name), type, Shape(shape)});
  return *bytes;
}

void WeightFile::skip(std::string text) {
  charge(std::int64_t(sizeof(std::string) + text.size()));
  skipped_.push_back(std::move(text));
}

std::unique_ptr<WeightFile> open_weight_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (!fs::exists(path, ignored) && fs::exists(path + ".index", ignored))
    return open_tf_checkpoint(path + ".index");
  std::array<std::uint8_t, kHead> head{};
  std::array<std::uint8_t, kTail> tail{};
  std::int64_t size = 0;
  {
    const FileReader file(path, "read_weights");
    size = file.size();
    if (size < std::int64_t(kHead)) file.fail("has ", size, " bytes; no file of weights is that short");
    file.read(0, head.data(), std::int64_t(kHead));
    file.read(size - std::int64_t(kTail), tail.data(), std::int64_t(kTail));
    if (starts_with(head, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"))
      file.fail(
          "is in PyTorch's form from before 1.6, which is no zip file; load it there and save it again");
    if (path.find(".data-000") != std::string::npos)
      file.fail("is a shard of a TensorFlow checkpoint; give the name without .data-..., or the .index file");
  }
  if (starts_with(head, "PK")) return open_pth(path);
  if (std::memcmp(head.data() + 4, "TFL3", 4) == 0) return open_tflite(path);
  if (is_tf_index(tail)) return open_tf_checkpoint(path);
  std::uint64_t header = 0;
  std::memcpy(&header, head.data(), 8);
  // The header of safetensors is JSON behind 8 bytes of length.
  if (head[8] == '{' || header < std::uint64_t(kMaxHeaderBytes))
    return std::make_unique<SafetensorsFile>(path, size);
  if (is_caffemodel({head.data(), std::int64_t(kHead)})) return open_caffemodel(path);
  fail<IoError>("read_weights", path,
                ": is neither safetensors, nor a .pth zip file, .tflite, TensorFlow index or .caffemodel");
}

}  // namespace atrous::io
