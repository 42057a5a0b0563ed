#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "atrous/io/weight_file.h"
#include "atrous/models/model.h"

// Weights of other frameworks into our models: a file of tensors (io/weight_file.h) and a table of names
// (name_map.h). Every name, shape, type and value is checked before a model is given.

namespace atrous::models {

struct ImportOptions {
  std::string model = {};  ///< a name of the registry; the convention behind its colon, else the source's own
  std::string from = {};   ///< a name map; empty: the one that finds most of the model in the file
  /// What the file does not tell, or shall not: classes of the logits, channel multiplier, output stride.
  std::optional<std::int64_t> classes = {}, output_stride = {};
  std::optional<double> width = {};
  std::int64_t in_channels = 3;  ///< of the images; weights for three are fitted to them
};

struct ImportReport {
  std::string format;                 ///< of the file
  std::string from;                   ///< the name map
  std::vector<std::string> notes;     ///< what was read off the file, left out or turned, a line each
  std::vector<std::string> problems;  ///< a line for each tensor that is missing, left over or does not fit
};

struct ImportedModel {
  std::unique_ptr<Model> model;  ///< in evaluation mode; null if there are problems
  ImportReport report;
};

/// Reads a model's weights out of a file. Convolutions are turned to our layout, f16, bf16 and f64 become
/// f32, statistics of Caffe are divided by their factor; a convolution with a bias instead of a batch norm
/// (folded) gets an identity batch norm whose beta is the bias; where the orders of concatenation differ, the
/// weights that see it are moved. With `classes` other than the file's, the classifier keeps its initial
/// weights. A tensor that is missing, left over, of another shape or not finite is a problem; nothing is half
/// loaded.
///
/// Throws IoError for a file that cannot be read, ValueError for options that make no model.
ImportedModel import_model(const std::string& path, const ImportOptions& options);
/// The same from an opened file.
ImportedModel import_model(const io::WeightFile& file, const ImportOptions& options);

}  // namespace atrous::models
