#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "atrous/io/weight_file.h"
#include "atrous/models/import.h"
#include "atrous/models/model.h"
#include "atrous/models/name_map.h"

namespace atrous::models {

/// The tensors of one file under one table of names. Remembers which of them were asked for.
class TensorImporter {
 public:
  /// `net` is the number in the backbone's name. File and map must live as long.
  TensorImporter(const io::WeightFile& file, const NameMap& map, std::string net);

  /// What share of the model's convolutions the file has, 0 to 1.
  double share(const Model& model) const;
  /// The output channels of a convolution of ours ("head.logits"); 0 if the file does not have it.
  std::int64_t channels(const std::string& convolution) const;
  /// What the file calls a convolution's weight; empty if it does not have it.
  std::string weight_name(const std::string& convolution) const;

  /// Checks everything; overwrites the model's parameters and statistics if nothing is wrong. Those of `keep`
  /// stay.
  void load(Model& model, const std::set<std::string>& keep, ImportReport& report);

 private:
  struct Own;   // a tensor of the model
  struct Part;  // its role
  static std::vector<Own> own_tensors(const Model& model);

  std::optional<std::size_t> lookup(const std::string& name) const;
  std::optional<std::size_t> weight_of(const SourceNames& names) const;
  std::optional<SourceNames> find(const std::string& convolution) const;

  Tensor read(const Own& own, const Model& model);
  Tensor read_weight(const Own& own, const SourceNames& names, const Convention& convention);
  Tensor read_folded(const Own& own, std::size_t bias, const Model& model);
  Tensor read_vector(const Own& own, std::size_t index);
  Tensor numbers(std::size_t index, const Own& own);
  Tensor divided(const Tensor& value, const SourceNames& names, const Own& own);
  void leave(const Own& own);
  void check_left_over();
  void note_what_was_done(const Convention& convention);
  template <class... Pieces>
  Tensor problem(const Pieces&... pieces);

  const io::WeightFile& file_;
  const NameMap& map_;
  std::string net_;
  std::vector<bool> taken_;
  std::vector<std::string> moved_, left_;
  std::int64_t folded_ = 0;
  ImportReport* report_ = nullptr;
};

}  // namespace atrous::models
