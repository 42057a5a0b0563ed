#pragma once

#include <memory>
#include <vector>

#include "atrous/layers/conv_bn.h"
#include "atrous/layers/dropout.h"

namespace atrous::layers {

struct AsppSettings {
  std::int64_t in_channels;
  std::int64_t channels = 256;           ///< of each branch, and of the output
  std::vector<std::int64_t> rates = {};  ///< of the 3x3 branches; none: pooling and 1x1 alone
  bool separable = false;                ///< 3x3 branches as separable convolutions
  bool pooling_first = false;            ///< the branches' order: image pooling, 1x1, rates
  double dropout = 0.1;
  BatchNormConstants batch_norm = {.epsilon = 1e-5};
  Initialiser init = Initialiser::xavier_uniform();
};

/// The rates of DeepLab v3: 6, 12, 18 at output stride 16, and the same reach in pixels at others: 12, 24, 36
/// at 8; 3, 6, 9 at 32; 24, 48, 72 at 4. Throws ValueError for other output strides.
std::vector<std::int64_t> aspp_rates(std::int64_t output_stride);

/// Atrous spatial pyramid pooling: what each pixel sees at several reaches, and the whole image.
///
///   y = dropout(project(concat[1x1(x), 3x3 rate r1(x), ..., resize(pool(mean of x))]))
///
/// Every step is a convolution without bias, batch norm, relu. The branches are concatenated in that order:
/// 1x1, the rates, image pooling last, or first with `pooling_first` (TensorFlow's DeepLab). The pooled 1x1
/// map is resized to the size of x, which is the same value everywhere. Children: conv1x1, rate0, rate1, ...,
/// image_pool, project, dropout. Dense branches run at once (ConvBn::forward_side_by_side); in evaluation
/// mode while nothing is recorded, branches write their channels of the concatenation themselves (separable
/// ones on the CPU). Source: Chen et al., "Rethinking Atrous Convolution", 2017, section 3.3.
class Aspp : public Layer {
 public:
  explicit Aspp(const AsppSettings& settings);

  Variable forward(const Variable& x) override { return forward(x, {}); }
  /// The same for a part of an image: `image_mean` [N, 1, 1, C] takes the place of the mean of x.
  Variable forward(const Variable& x, const Variable& image_mean);
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;
  std::int64_t channels() const { return project_.settings().out_channels; }

 private:
  // The concatenation of all branches of x; `image` [N, 1, 1, channels] is that of the pooling.
  Variable one_by_one(const Variable& x, const Variable& image);
  Variable at_once(const Variable& x, const Variable& image);
  // While nothing is recorded: every part straight to its place.
  Variable in_place(const Variable& x, const Variable& image);

  ConvBn conv1x1_;
  std::vector<ConvBn*> side_by_side_;  // conv1x1 and the rates, if those are dense
  std::vector<std::unique_ptr<Layer>> rates_;
  std::vector<SeparableConvBn*> separable_;  // the rates, if they are separable
  ConvBn image_pool_;
  ConvBn project_;
  Dropout dropout_;
  bool pooling_first_;
};

}  // namespace atrous::layers
