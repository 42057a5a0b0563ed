#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "atrous/core/tensor.h"
#include "atrous/io/element_type.h"
#include "atrous/io/file.h"

// Files of named tensors, whoever wrote them: safetensors, PyTorch, TFLite, TensorFlow, Caffe. Each format
// has its reader; behind this interface they are the same: a list of names, types and shapes, and the
// elements of one tensor when they are asked for. Names and layouts stay those of the file.
//
// No file is trusted. At most 100,000 tensors, names of at most 1 KiB that occur once, at most 8 axes. What
// the file claims is checked against its length before anything is allocated, and neither the list nor the
// elements of all tensors together are more than twice the file and a MiB.

namespace atrous::io {

struct StoredTensor {
  std::string name;
  ElementType type = ElementType::f32;
  Shape shape;
};

/// An opened file of tensors. Every member throws IoError, with the file's name, for what is damaged.
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  WeightFile(const WeightFile&) = delete;
  WeightFile& operator=(const WeightFile&) = delete;

  const std::string& path() const { return path_; }
  /// "safetensors", "PyTorch", "TFLite", "TensorFlow", "Caffe"
  const char* format() const { return format_; }
  /// In the file's order.
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  /// Where in tensors(); nothing if no tensor has this name.
  std::optional<std::size_t> find(std::string_view name) const;
  /// What is in the file and is no tensor that could be read, each as a short text ("args: text").
  const std::vector<std::string>& skipped() const { return skipped_; }
  /// Further texts: safetensors' metadata; of TFLite "input" and each convolution's weight, with the height
  /// and width of the map ("257x257").
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// The elements of tensors()[index]; f16 as f32.
  virtual Tensor read(std::size_t index) const = 0;

 protected:
  /// `bytes` is the size of the whole file, or of all its parts.
  WeightFile(std::string path, const char* format, std::int64_t bytes)
      : path_(std::move(path)), format_(format), budget_(2 * bytes + (1 << 20)), elements_left_(budget_) {}

  /// Checks and adds; returns the bytes of its elements as stored. Sizes may be anything that the file says.
  std::int64_t add(std::string name, ElementType type, const std::vector<std::int64_t>& shape);
  void skip(std::string text);
  /// Takes from what the list may cost. Throws when it is spent.
  void charge(std::int64_t bytes);
  template <class... Pieces>
  [[noreturn]] void fail(const Pieces&... pieces) const {
    atrous::fail<IoError>(kOp, path_, ": ", pieces...);
  }

  static constexpr const char* kOp = "read_weights";
  std::map<std::string, std::string> metadata_;

 private:
  std::string path_;
  const char* format_;
  std::int64_t budget_, elements_left_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
  std::vector<std::string> skipped_;
};

/// Opens a file of any of the formats, which is recognised by its content. A TensorFlow checkpoint is given
/// by its prefix ("model.ckpt-30000") or its index file ("model.ckpt-30000.index"). Throws IoError for other
/// files, with what they look like where that is known (PyTorch's old form, a shard of a checkpoint).
std::unique_ptr<WeightFile> open_weight_file(const std::string& path);

}  // namespace atrous::io
