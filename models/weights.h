#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "atrous/io/checkpoint.h"
#include "atrous/layers/optimizer.h"
#include "atrous/models/model.h"

// Models into files and back. A weight file (io/checkpoint.h) holds parameters and batch norm statistics by
// name, and what else it takes to run the model. A training state also holds what the next step depends on.
// Loading checks every name, shape and type before it changes anything.

namespace atrous::models {

/// What a weight file records about this model: name, convention, sizes, preprocessing, batch norm constants.
io::CheckpointInfo checkpoint_info(const Model& model, const io::Colormap& classes = {});

/// Writes the model. `classes` are its classes' names and colours (its size must be the model's, or 0);
/// `extra` goes into the metadata as it is. Throws IoError, ValueError.
void save(const Model& model, const std::string& path, const io::Colormap& classes = {},
          const std::map<std::string, std::string>& extra = {});

enum class LoadMode {
  strict,       ///< the file has exactly the model's tensors
  new_classes,  ///< for another task: classifiers of another number of classes stay as they are, the first
                ///< convolution is fitted to the images' channels, an auxiliary classifier may be on one side
  lenient       ///< whatever fits by name and shape; the rest stays
};

/// What load() did, tensor by tensor.
struct LoadReport {
  std::vector<std::string> loaded;
  std::vector<std::string> kept;        ///< of the model: not in the file, or of another shape there
  std::vector<std::string> unexpected;  ///< in the file, not in the model
  std::vector<std::string> changes;     ///< a line for each thing that differs and what was done about it
  /// One line: "loaded 312 tensors; kept head.logits.weight, head.logits.bias"
  std::string text() const;
};

/// Overwrites parameters and statistics with those of a checkpoint, or of any safetensors file with the same
/// names. Throws IoError that names the first tensor that does not fit, and for a checkpoint of another
/// convention or with other batch norm epsilons; the model is then unchanged. Output stride and (but for
/// LoadMode::strict) classes and channels of the images may differ. A lenient load of which nothing fits is
/// an IoError too.
LoadReport load(Model& model, const std::string& path, LoadMode mode = LoadMode::strict);

/// A model made from what its weight file says, with its weights, in evaluation mode.
struct LoadedModel {
  std::unique_ptr<Model> model;
  io::CheckpointInfo info;
  std::vector<std::string> changes;  ///< as LoadReport's
};
/// `output_stride` other than 0 overrides the file's: the same weights on a denser or coarser grid.
LoadedModel load_model(const std::string& path, std::int64_t output_stride = 0);

/// All that the next training step depends on: parameters, statistics, dropout counters and the optimiser's
/// state. `metadata` takes what the program adds (the number of the step).
void save_training_state(const std::string& path, const Model& model, const layers::Optimizer& optimizer,
                         const std::map<std::string, std::string>& metadata);
/// Puts it back and returns the metadata. The model and the optimiser must be made as they were then. Throws
/// IoError; model and optimiser are then unchanged.
std::map<std::string, std::string> load_training_state(const std::string& path, Model& model,
                                                       layers::Optimizer& optimizer);

}  // namespace atrous::models
