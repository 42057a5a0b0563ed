#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "atrous/models/weight_layout.h"

// What other frameworks call the tensors of our models, and how they lay them out: a table for each source of
// published weights, in name_map.cpp. A table has a rule for every convolution; the tensors within follow
// from the suffixes of its source.

namespace atrous::models {

/// Where one convolution with its batch norm is found. {x} stands for digits, {x+1} and {x-1} for the number
/// beside, {x:a} for a letter (0 is a), {net} for the number in the backbone's name. Several rules may have
/// the same `ours`: the first whose weight is in the file counts.
struct NameRule {
  const char* ours;        ///< "backbone.layer{s}.{u}.conv{c}"
  const char* conv;        ///< of weight and bias
  const char* norm = "";   ///< of the batch norm; empty: the convolution's
  const char* scale = "";  ///< of its gamma and beta where they are apart (Caffe); empty: the batch norm's
};

/// What follows a name in the file.
struct TensorSuffixes {
  const char *weight, *depthwise_weight, *bias;
  const char *gamma, *beta, *mean, *variance;
  const char* factor = nullptr;  ///< by which mean and variance have to be divided (Caffe)
};

/// Tensors of published files that no model wants.
struct LeftOut {
  const char* name;  ///< how it begins, or behind a star how it ends
  const char* what;
};

struct NameMap {
  const char* name;        ///< what --from takes: "torchvision", "tf", ...
  const char* convention;  ///< of the models that these weights belong to
  WeightLayout layout;
  bool image_pooling_first;           ///< in the concatenation of ASPP
  bool low_level_first;               ///< in that of the decoder
  std::vector<const char*> prefixes;  ///< that may stand before every name
  TensorSuffixes suffixes;
  std::vector<NameRule> rules;
  std::vector<LeftOut> left_out;
};

const std::vector<NameMap>& name_maps();
/// By name. Throws ValueError that lists the names for any other.
const NameMap& name_map(std::string_view name);

/// A rule with its numbers put in.
struct SourceNames {
  std::string conv, norm, scale;
};
/// Where a convolution of ours ("backbone.layer1.0.conv1") may be found, in the order of preference; empty if
/// the source has nothing like it. `net` is put in for {net}.
std::vector<SourceNames> source_names(const NameMap& map, std::string_view ours, const std::string& net);

/// What a tensor of the file is that no model wants ("moving averages of training"); empty for all others.
std::string left_out_as(const NameMap& map, std::string_view name);

}  // namespace atrous::models
