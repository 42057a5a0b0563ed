#include "atrous/models/weight_layout.h"

#include <algorithm>
#include <array>

namespace atrous::models {
namespace {

/// Axis k of the result is axis from[k] of x.
Tensor permuted(const Tensor& x, const std::array<int, 4>& from) {
  const Shape& s = x.shape();
  const std::array<std::int64_t, 4> strides = {s[1] * s[2] * s[3], s[2] * s[3], s[3], 1};
  const auto stride = [&](std::size_t axis) { return strides[std::size_t(from[axis])]; };
  Tensor y = Tensor::empty({s[from[0]], s[from[1]], s[from[2]], s[from[3]]}, x.dtype());
  const Span<const float> in = x.span<float>();
  float* out = y.span<float>().data();
  for (std::int64_t a = 0; a < y.dim(0); ++a)
    for (std::int64_t b = 0; b < y.dim(1); ++b)
      for (std::int64_t c = 0; c < y.dim(2); ++c)
        for (std::int64_t d = 0; d < y.dim(3); ++d)
          *out++ = in[a * stride(0) + b * stride(1) + c * stride(2) + d * stride(3)];
  return y;
}

}  // namespace

std::optional<Shape> shape_in_our_layout(const Shape& s, WeightLayout layout,
                                         std::int64_t depthwise_channels) {
  if (s.rank() != 4) return std::nullopt;
  const std::int64_t in = depthwise_channels;
  switch (layout) {
    case WeightLayout::hwio:
      return s;
    case WeightLayout::oihw:
      if (in == 0) return Shape{s[2], s[3], s[1], s[0]};
      if (s[1] != 1 || s[0] % in != 0) return std::nullopt;
      return Shape{s[2], s[3], in, s[0] / in};
    case WeightLayout::ohwi:
      if (in == 0) return Shape{s[1], s[2], s[3], s[0]};
      if (s[0] != 1 || s[3] % in != 0) return std::nullopt;
      return Shape{s[1], s[2], in, s[3] / in};
  }
  return std::nullopt;
}

Tensor in_our_layout(const Tensor& x, WeightLayout layout, std::int64_t depthwise_channels) {
  const bool depthwise = depthwise_channels > 0;
  if (layout == WeightLayout::oihw && !depthwise) return permuted(x, {2, 3, 1, 0});
  if (layout == WeightLayout::ohwi && !depthwise) return permuted(x, {1, 2, 3, 0});
  const Shape ours = *shape_in_our_layout(x.shape(), layout, depthwise_channels);
  // In memory [C * M, 1, R, S] is [C, M, R, S].
  if (layout == WeightLayout::oihw)
    return permuted(x.reshape({ours[2], ours[3], ours[0], ours[1]}), {2, 3, 0, 1});
  return x.reshape(ours);
}

Tensor with_inputs_from(const Tensor& x, std::int64_t first) {
  Tensor y = Tensor::empty(x.shape());
  const std::int64_t c = x.dim(2), k = x.dim(3);
  const Span<const float> in = x.span<float>();
  const Span<float> out = y.span<float>();
  for (std::int64_t tap = 0; tap < x.dim(0) * x.dim(1); ++tap)
    for (std::int64_t i = 0; i < c; ++i)
      std::copy_n(in.data() + (tap * c + (i + first) % c) * k, k, out.data() + (tap * c + i) * k);
  return y;
}

Tensor with_input_channels(const Tensor& x, std::int64_t channels) {
  const std::int64_t taps = x.dim(0) * x.dim(1), c = x.dim(2), k = x.dim(3);
  Tensor y = Tensor::zeros(x.shape().with(2, channels));
  const float factor = channels == 1 ? 1.f : float(c) / float(channels);
  const Span<const float> in = x.span<float>();
  const Span<float> out = y.span<float>();
  for (std::int64_t tap = 0; tap < taps; ++tap)
    for (std::int64_t i = 0; i < (channels == 1 ? c : channels); ++i)
      for (std::int64_t j = 0; j < k; ++j)
        out[(tap * channels + i % channels) * k + j] += factor * in[(tap * c + i % c) * k + j];
  return y;
}

}  // namespace atrous::models
