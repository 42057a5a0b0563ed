#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "atrous/autograd/variable.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d.h"

namespace atrous::layers {

class BatchNorm;
struct Conv2dSettings;
struct InferenceOptions;

/// A convolution as inference runs it: the batch norm behind it (if there is one) folded into its weight,
///
///   weight' = weight * s,  bias' = beta - running_mean * s,  s = gamma / sqrt(running_var + epsilon),
///
/// and bias, residual and activation applied before an output is written: one pass over memory instead of
/// four. It differs from the unfolded one by rounding.
///
/// Folded and packed anew at every call; after keep(), once: what it made is kept until one of the tensors
/// that it was made of has another stamp (core/tensor.h), so weights that change are noticed. A packed weight
/// serves images of one size (and some others: kernels::conv2d_same_packing); those of the sizes seen last
/// are kept. The bits are the same either way. With release_weights, a weight gives its memory back as soon
/// as its folded or packed form is there.
class FoldedConv {
 public:
  /// The convolution's own parameters, which must live as long; `bias` (null for none) of one without a norm.
  FoldedConv(const Conv2dSettings& conv, Variable& weight, const Variable* bias, const BatchNorm* bn)
      : conv_(conv), weight_(weight), bias_(bias), bn_(bn) {}

  /// From now on keeps the packed weights of options.sizes sizes; 0: nothing, and what was kept is freed.
  void keep(const InferenceOptions& options);
  bool keeps() const { return sizes_ > 0; }

  /// activation(conv(x) + residual); `residual` undefined or of the output's shape, dense convolutions alone.
  Tensor forward(const Tensor& x, kernels::Activation activation, const Tensor& residual = {});
  /// activation(conv(x)) as channels [first, first + out_channels) of y [N, OH, OW, channels of all], whose
  /// others stay as they are: a concatenation without a pass of its own. Dense convolutions on the CPU.
  void forward_into(const Tensor& x, kernels::Activation activation, std::int64_t first, Tensor& y);

  /// The folded weight in its own order, and its bias (undefined if there is neither bias nor norm), for
  /// kernels that take several of them at once.
  struct Parts {
    Tensor weight, bias;
  };
  Parts parts(const Tensor& x);

  /// What kernels of the depthwise family take, for x [N, H, W, C] and its output.
  static kernels::DepthwiseConv2dDims depthwise_dims(const Conv2dSettings& conv, const Shape& x,
                                                     const Shape& out);

 private:
  using Stamps = std::array<std::pair<std::uint64_t, std::uint64_t>, 6>;
  struct Packed {
    kernels::Conv2dDims dims;  // that it was packed for, or seen with since
    Tensor weight;
  };

  Parts fold(const Tensor& x) const;
  Stamps stamps() const;
  template <class T>
  void run(const Tensor& x, const Shape& out, const kernels::Conv2dEpilogue<T>& end, Span<T> y);
  // Forgets what was kept of other weights.
  void refresh();
  // The packed weight, and the bias.
  Parts packed(const Tensor& x, const kernels::Conv2dDims& dims);
  void release();

  const Conv2dSettings& conv_;
  Variable& weight_;
  const Variable* bias_;
  const BatchNorm* bn_;
  int sizes_ = 0;
  bool releases_ = false;
  Stamps stamps_{};
  Parts kept_;                  // bias, and the weight of kernels that take it unpacked
  std::vector<Packed> packed_;  // the one that was used last stands last
};

}  // namespace atrous::layers
