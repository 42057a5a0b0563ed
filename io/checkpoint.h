#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "atrous/core/tensor.h"
#include "atrous/io/colormap.h"
#include "atrous/io/preprocessing.h"

// A trained model as one file: its weights, and all that is needed to run it without another flag: which
// model, for how many classes, under which conventions, how images are prepared, what the classes are called.
// It is a safetensors file whose metadata hold CheckpointInfo as texts (each field says which). Other
// programs can read the tensors. Equal content gives equal bytes: nothing in it depends on time, paths, the
// machine or the number of threads.

namespace atrous::io {

struct CheckpointInfo {
  /// Constants of the batch norms: epsilon is added to the variance; running = decay * running + (1 - decay)
  /// * batch.
  struct BatchNorm {
    double epsilon = 1e-5, decay = 0.9;
    bool operator==(const BatchNorm&) const = default;
  };

  std::string model;                          ///< atrous.model: "deeplab_v3plus_mobilenet_v2"
  std::string convention = "atrous";          ///< atrous.convention: "atrous", "torchvision", ...
  std::int64_t classes = 0;                   ///< atrous.classes, 1..65536
  double width = 1;                           ///< atrous.width: channel multiplier, above 0, at most 16
  double head_width = 1;                      ///< atrous.head_width, the same of the head; left out if 1
  std::int64_t output_stride = 16;            ///< atrous.output_stride, 1..256
  std::vector<std::int64_t> multi_grid = {};  ///< atrous.multi_grid, a JSON array; left out for none
  std::int64_t input_channels = 3;            ///< atrous.input_channels, of the images; left out if 3
  bool auxiliary = false;  ///< atrous.auxiliary: with the auxiliary classifier of training; left out if not
  Preprocessing preprocessing;  ///< atrous.preprocessing, a JSON object
  std::map<std::string, BatchNorm>
      batch_norm;     ///< atrous.batch_norm, a JSON object: part of the model -> constants
  Colormap colormap;  ///< atrous.class_names, atrous.colors (JSON arrays), atrous.ignore_color; may be empty
  std::map<std::string, std::string> extra;  ///< metadata under other names
};

struct Checkpoint {
  CheckpointInfo info;
  std::map<std::string, Tensor> tensors;
};

/// The version of the format that this library writes, and the newest that it reads (atrous.format).
inline constexpr int kCheckpointFormat = 1;

/// Writes a checkpoint whole or not at all, with a CRC-32C of each tensor. Throws IoError, and ValueError for
/// an info that read_checkpoint() would refuse.
void write_checkpoint(const std::string& path, const CheckpointInfo& info,
                      const std::map<std::string, Tensor>& tensors);

/// Reads a checkpoint. Throws IoError with the file's name for what read_safetensors() refuses, a safetensors
/// file that is no checkpoint, one of a newer format, a field that is missing or out of its range, and a
/// tensor whose bytes have changed.
Checkpoint read_checkpoint(const std::string& path);

/// Whether the file is a safetensors file with checkpoint metadata. Throws IoError if it cannot be read as
/// safetensors.
bool is_checkpoint(const std::string& path);

/// The info as metadata texts and back; `path` is what an IoError names.
std::map<std::string, std::string> checkpoint_metadata(const CheckpointInfo& info);
CheckpointInfo checkpoint_info(const std::map<std::string, std::string>& metadata, const std::string& path);

}  // namespace atrous::io
