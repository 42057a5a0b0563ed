#include "atrous/layers/folded_conv.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "atrous/core/arena.h"
#include "atrous/core/error.h"
#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/layers/batch_norm.h"
#include "atrous/layers/conv2d.h"

namespace atrous::layers {
namespace {

Tensor scratch_of(std::int64_t size, const Tensor& x) { return Tensor::empty({size}, x.dtype(), x.device()); }

}  // namespace

kernels::DepthwiseConv2dDims FoldedConv::depthwise_dims(const Conv2dSettings& conv, const Shape& x,
                                                        const Shape& out) {
  return {.batch = out[0],
          .in_h = x[1],
          .in_w = x[2],
          .channels = x[3],
          .multiplier = out[3] / x[3],
          .out_h = out[1],
          .out_w = out[2],
          .window_h = conv.taps.h,
          .window_w = conv.taps.w,
          .stride = conv.stride,
          .padding = conv.resolved_padding(x),
          .rate = conv.rate};
}

void FoldedConv::keep(const InferenceOptions& options) {
  sizes_ = options.sizes;
  releases_ = options.release_weights;
  kept_ = {};
  packed_.clear();
}

// The last axis of a dense weight is the output channel; a depthwise one has it in its last two axes: c * M +
// m. Either way the output channel of element i is i modulo the number of output channels.
FoldedConv::Parts FoldedConv::fold(const Tensor& x) const {
  const Tensor& weight = weight_.value();
  ATROUS_CHECK(DtypeError, x.dtype() == weight.dtype(), "conv2d layer", "x is ", x.dtype(), ", the weight ",
               weight.dtype());
  ATROUS_CHECK(DeviceError, x.device() == weight.device(), "conv2d layer", "x is on ", x.device(),
               ", the weight on ", weight.device());
  ATROUS_CHECK(ValueError, !weight.released(), "conv2d layer", "the weight ", weight.shape(),
               " was released by prepare_inference; for x ", x.shape(),
               " it would have to be packed again: load the model again");
  if (!bn_) return {weight, bias_ ? bias_->value() : Tensor()};
  Parts folded{Tensor::empty(weight.shape(), x.dtype(), x.device()), scratch_of(conv_.out_channels, x)};
  visit_float(x.dtype(), [&]<class T>() {
    kernels::batch_norm_fold<T>(x.stream(), conv_.out_channels, bn_->gamma().value().span<T>(),
                                bn_->beta().value().span<T>(), bn_->running_mean().span<Accumulator<T>>(),
                                bn_->running_var().span<Accumulator<T>>(), bn_->constants().epsilon,
                                weight.span<T>(), Span<const T>(), folded.weight.span<T>(),
                                folded.bias.span<T>());
  });
  return folded;
}

FoldedConv::Stamps FoldedConv::stamps() const {
  Stamps all{};
  all[0] = weight_.value().stamp();
  if (bias_) all[1] = bias_->value().stamp();
  if (bn_) {
    all[2] = bn_->gamma().value().stamp();
    all[3] = bn_->beta().value().stamp();
    all[4] = bn_->running_mean().stamp();
    all[5] = bn_->running_var().stamp();
  }
  return all;
}

void FoldedConv::refresh() {
  const Stamps now = stamps();
  if (now == stamps_) return;
  stamps_ = now;
  kept_ = {};
  packed_.clear();
}

// What is kept is no part of a run's arena, and what a rehearsal makes is not kept.
FoldedConv::Parts FoldedConv::parts(const Tensor& x) {
  if (!keeps()) return fold(x);
  refresh();
  if (kept_.weight.defined()) return kept_;
  const Arena::Pause pause;
  const Parts made = fold(x);
  if (Arena::planning()) return made;
  kept_ = made;
  if (bn_) release();
  return kept_;
}

FoldedConv::Parts FoldedConv::packed(const Tensor& x, const kernels::Conv2dDims& dims) {
  refresh();
  const Arena::Pause pause;
  return visit_float(x.dtype(), [&]<class T>() -> Parts {
    const auto found = std::find_if(packed_.begin(), packed_.end(), [&](const Packed& p) {
      return kernels::conv2d_same_packing<T>(p.dims, dims, x.device());
    });
    if (found != packed_.end()) {
      found->dims = dims;
      std::rotate(found, found + 1, packed_.end());
      return {packed_.back().weight, kept_.bias};
    }
    if (Arena::planning())
      return {scratch_of(1, x), bn_ || bias_ ? scratch_of(conv_.out_channels, x) : Tensor()};
    if (std::int64_t(packed_.size()) >= sizes_) packed_.erase(packed_.begin());
    Parts folded = fold(x);
    Tensor weight = scratch_of(kernels::conv2d_packed_weight_size<T>(dims, x.device()), x);
    kernels::conv2d_pack_weight<T>(x.stream(), dims, std::as_const(folded.weight).span<T>(),
                                   weight.span<T>());
    kept_.bias = folded.bias;
    packed_.push_back({dims, weight});
    release();
    return {weight, folded.bias};
  });
}

void FoldedConv::release() {
  if (releases_) weight_.mutable_value().release();
}

// Writes y, by the epilogue but for its bias.
template <class T>
void FoldedConv::run(const Tensor& x, const Shape& out, const kernels::Conv2dEpilogue<T>& end, Span<T> y) {
  const auto with_bias = [&](const Tensor& bias) {
    kernels::Conv2dEpilogue<T> all = end;
    if (bias.defined()) all.bias = bias.span<T>();
    return all;
  };
  if (conv_.depthwise) {
    assert(end.residual.empty() && !end.y_channels);
    const kernels::DepthwiseConv2dDims dims = depthwise_dims(conv_, x.shape(), out);
    const Parts own = parts(x);
    Tensor scratch = scratch_of(kernels::depthwise_conv2d_forward_workspace_size<T>(dims), x);
    kernels::depthwise_conv2d_forward<T>(x.stream(), dims, x.span<T>(), own.weight.span<T>(),
                                         with_bias(own.bias), scratch.span<T>(), y);
    return;
  }
  const kernels::Conv2dDims dims = conv_.dims(x.shape(), out);
  // CUDA kernels read a weight as it is.
  if (keeps() && x.device().is_cpu()) {
    const Parts own = packed(x, dims);
    Tensor scratch = scratch_of(kernels::conv2d_forward_packed_workspace_size<T>(dims, x.device()), x);
    kernels::conv2d_forward_packed<T>(x.stream(), dims, x.span<T>(), own.weight.span<T>(),
                                      with_bias(own.bias), scratch.span<T>(), y);
    return;
  }
  const Parts own = parts(x);
  Tensor scratch = scratch_of(kernels::conv2d_forward_workspace_size<T>(dims, x.device()), x);
  kernels::conv2d_forward<T>(x.stream(), dims, x.span<T>(), own.weight.span<T>(), with_bias(own.bias),
                             scratch.span<T>(), y);
}

Tensor FoldedConv::forward(const Tensor& x, Activation activation, const Tensor& residual) {
  const Shape out = conv_.output_shape(x.shape(), "conv2d layer");
  ATROUS_CHECK(ShapeError, !residual.defined() || residual.shape() == out, "conv2d layer", "the residual is ",
               residual.shape(), ", what it is added to ", out);
  Tensor y = Tensor::empty(out, x.dtype(), x.device());
  visit_float(x.dtype(), [&]<class T>() {
    kernels::Conv2dEpilogue<T> end{.bias = {}, .activation = activation};
    if (residual.defined()) end.residual = residual.span<T>();
    run<T>(x, out, end, y.span<T>());
  });
  return y;
}

void FoldedConv::forward_into(const Tensor& x, Activation activation, std::int64_t first, Tensor& y) {
  const Shape out = conv_.output_shape(x.shape(), "conv2d layer");
  ATROUS_CHECK(ShapeError, y.rank() == 4 && y.shape().with(3, out[3]) == out && first + out[3] <= y.dim(3),
               "conv2d layer", out, " does not fit into ", y.shape(), " from channel ", first, " on");
  visit_float(x.dtype(), [&]<class T>() {
    const Span<T> all = y.span<T>();
    if (all.empty()) return;
    run<T>(x, out, {.bias = {}, .activation = activation, .residual = {}, .y_channels = y.dim(3)},
           all.part(first, all.size() - first));
  });
}

}  // namespace atrous::layers
