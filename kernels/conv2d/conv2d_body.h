#pragma once

#include <cstdint>

#include "atrous/core/dtype.h"
#include "atrous/core/host_device.h"
#include "atrous/core/span.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/elementwise/elementwise_body.h"

// The plain convolution: for every element type and shape, and what tuned kernels are compared with. Each
// body computes neighbouring elements [begin, end) of the innermost axis of one output row, kAtOnce of them
// together, so that a loop on the CPU runs along contiguous channels; a CUDA thread takes one element.

namespace atrous::kernels {

/// y where it is above 0 (and below 6 for relu6), or hard_swish(y); NaN stays NaN.
template <class T>
ATROUS_HD T activate(Activation activation, T y) {
  if (activation == Activation::hard_swish) return HardSwish()(y);
  if (activation != Activation::none && y <= T(0)) return T(0);
  if (activation == Activation::relu6 && y >= T(6)) return T(6);
  return y;
}

/// Elements that a body sums up together: a piece of a row on the CPU.
inline constexpr int kRowPiece = 32;

/// Calls piece(first, count) for [begin, end) cut into pieces of kAtOnce. With kAtOnce = 1, count is the
/// constant 1 and arrays of kAtOnce sums are registers.
template <int kAtOnce, class Piece>
ATROUS_HD void for_each_piece(std::int64_t begin, std::int64_t end, const Piece& piece) {
  for (std::int64_t i = begin; i < end; i += kAtOnce)
    piece(i, kAtOnce == 1 ? 1 : int(end - i < kAtOnce ? end - i : kAtOnce));
}

/// Outputs k in [begin, end) of output pixel `pixel` = (n * out_h + oh) * out_w + ow.
template <class T, int kAtOnce = kRowPiece>
struct Conv2dForward {
  using A = Accumulator<T>;
  Conv2dDims d;
  Span<const T> x, weight;
  Conv2dEpilogue<T> epilogue;
  Span<T> y;

  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    for_each_piece<kAtOnce>(begin, end, [&](std::int64_t k, int count) { piece(pixel, k, count); });
  }

 private:
  ATROUS_HD void piece(std::int64_t pixel, std::int64_t k, int count) const {
    const std::int64_t ow = pixel % d.out_w, oh = pixel / d.out_w % d.out_h, n = pixel / d.out_w / d.out_h;
    A sums[kAtOnce] = {};
    for (std::int64_t r = 0; r < d.window_h; ++r) {
      const std::int64_t h = oh * d.stride.h + r * d.rate.h - d.padding.top;
      if (h < 0 || h >= d.in_h) continue;
      for (std::int64_t s = 0; s < d.window_w; ++s) {
        const std::int64_t w = ow * d.stride.w + s * d.rate.w - d.padding.left;
        if (w < 0 || w >= d.in_w) continue;
        const T* in = x.data() + ((n * d.in_h + h) * d.in_w + w) * d.in_channels;
        const T* row = weight.data() + (r * d.window_w + s) * d.in_channels * d.out_channels + k;
        for (std::int64_t c = 0; c < d.in_channels; ++c, row += d.out_channels) {
          const A value = A(in[c]);
          for (int i = 0; i < count; ++i) sums[i] += value * A(row[i]);
        }
      }
    }
    T* out = y.data() + pixel * epilogue.y_channels_or(d.out_channels) + k;
    for (int i = 0; i < count; ++i) {
      A sum = epilogue.bias.empty() ? sums[i] : sums[i] + A(epilogue.bias[k + i]);
      if (!epilogue.residual.empty()) sum = A(T(sum)) + A(epilogue.residual[pixel * d.out_channels + k + i]);
      out[i] = T(activate(epilogue.activation, sum));
    }
  }
};

/// y = activation(y + residual), element by element: the end of a convolution whose kernel takes no residual.
template <class T>
struct ResidualEnd {
  Activation activation;
  Span<const T> residual;
  Span<T> y;

  ATROUS_HD void operator()(std::int64_t i) const {
    y[i] = T(activate(activation, Accumulator<T>(y[i]) + Accumulator<T>(residual[i])));
  }
};

/// Elements c in [begin, end) of dx at input pixel `pixel` = (n * in_h + h) * in_w + w, plus bias[c] if there
/// is one (the transposed convolution has).
template <class T, int kAtOnce = kRowPiece>
struct Conv2dBackwardInput {
  using A = Accumulator<T>;
  Conv2dDims d;
  Span<const T> dy, weight, bias;
  Span<T> dx;

  ATROUS_HD void operator()(std::int64_t pixel, std::int64_t begin, std::int64_t end) const {
    for_each_piece<kAtOnce>(begin, end, [&](std::int64_t c, int count) { piece(pixel, c, count); });
  }

 private:
  ATROUS_HD void piece(std::int64_t pixel, std::int64_t c, int count) const {
    const std::int64_t w = pixel % d.in_w, h = pixel / d.in_w % d.in_h, n = pixel / d.in_w / d.in_h;
    A sums[kAtOnce] = {};
    for (std::int64_t r = 0; r < d.window_h; ++r) {
      const std::int64_t oh = reader_of(h, r, d.out_h, d.padding.top, d.rate.h, d.stride.h);
      if (oh < 0) continue;
      for (std::int64_t s = 0; s < d.window_w; ++s) {
        const std::int64_t ow = reader_of(w, s, d.out_w, d.padding.left, d.rate.w, d.stride.w);
        if (ow < 0) continue;
        const T* from = dy.data() + ((n * d.out_h + oh) * d.out_w + ow) * d.out_channels;
        const T* row = weight.data() + ((r * d.window_w + s) * d.in_channels + c) * d.out_channels;
        for (int i = 0; i < count; ++i, row += d.out_channels) {
          A sum = 0;
          for (std::int64_t k = 0; k < d.out_channels; ++k) sum += A(from[k]) * A(row[k]);
          sums[i] += sum;
        }
      }
    }
    T* out = dx.data() + pixel * d.in_channels + c;
    for (int i = 0; i < count; ++i) out[i] = T(bias.empty() ? sums[i] : sums[i] + A(bias[c + i]));
  }
};

/// Outputs first..first+count-1 of an axis read pixel o*stride - before + tap*rate inside of the map.
template <class Int>
struct LiveOutputs {
  Int first, count;
};
template <class Int>
ATROUS_HD constexpr LiveOutputs<Int> live_outputs(Int out, Int in, Int before, Int tap, Int rate,
                                                  Int stride) {
  const Int start = tap * rate - before;
  const Int first = start < 0 ? (-start + stride - 1) / stride : 0;
  const Int inside = start < in ? (in - 1 - start) / stride + 1 : 0, end = inside < out ? inside : out;
  return {first, end > first ? end - first : 0};
}

/// Elements k in [begin, end) of row `row` = (r * window_w + s) * in_channels + c of dweight.
template <class T, int kAtOnce = kRowPiece>
struct Conv2dBackwardWeight {
  using A = Accumulator<T>;
  Conv2dDims d;
  Span<const T> x, dy;
  Span<T> dweight;

  ATROUS_HD void operator()(std::int64_t row, std::int64_t begin, std::int64_t end) const {
    for_each_piece<kAtOnce>(begin, end, [&](std::int64_t k, int count) { piece(row, k, count); });
  }

 private:
  ATROUS_HD void piece(std::int64_t row, std::int64_t k, int count) const {
    const std::int64_t c = row % d.in_channels, s = row / d.in_channels % d.window_w,
                       r = row / d.in_channels / d.window_w;
    const auto columns = live_outputs(d.out_w, d.in_w, d.padding.left, s, d.rate.w, d.stride.w);
    const std::int64_t first_h = r * d.rate.h - d.padding.top;
    const std::int64_t first_w = columns.first * d.stride.w + s * d.rate.w - d.padding.left;
    const std::int64_t step = d.stride.w * d.in_channels;
    A sums[kAtOnce] = {};
    for (std::int64_t n = 0; n < d.batch; ++n)
      for (std::int64_t oh = 0; oh < d.out_h; ++oh) {
        const std::int64_t h = oh * d.stride.h + first_h;
        if (h < 0 || h >= d.in_h) continue;
        const T* in = x.data() + ((n * d.in_h + h) * d.in_w + first_w) * d.in_channels + c;
        const T* from = dy.data() + ((n * d.out_h + oh) * d.out_w + columns.first) * d.out_channels + k;
#ifdef __CUDACC__
#pragma unroll 1  // unrolled, it spills on sm_80
#endif
        for (std::int64_t j = 0; j < columns.count; ++j, in += step, from += d.out_channels) {
          const A value = A(*in);
          for (int i = 0; i < count; ++i) sums[i] += value * A(from[i]);
        }
      }
    T* out = dweight.data() + row * d.out_channels + k;
    for (int i = 0; i < count; ++i) out[i] = T(sums[i]);
  }
};

/// How the sum over all pixels of a channel is cut: a count that follows from the number of pixels alone.
struct PixelChunks {
  static constexpr std::int64_t kMost = 64, kLeast = 128;  // chunks; pixels in one
  std::int64_t pixels, size, count;

  ATROUS_HD constexpr explicit PixelChunks(std::int64_t n)
      : pixels(n),
        size((n + kMost - 1) / kMost > kLeast ? (n + kMost - 1) / kMost : kLeast),
        count((n + size - 1) / size) {}
  ATROUS_HD constexpr std::int64_t begin(std::int64_t chunk) const { return chunk * size; }
  ATROUS_HD constexpr std::int64_t end(std::int64_t chunk) const {
    return begin(chunk + 1) < pixels ? begin(chunk + 1) : pixels;
  }
};

/// Sums of channels [begin, end) of dy over the pixels of one chunk, into row `chunk` of `partial`.
template <class T, int kAtOnce = 8 * kRowPiece>
struct Conv2dBackwardBias {
  using A = Accumulator<T>;
  PixelChunks chunks;
  std::int64_t channels;
  Span<const T> dy;
  Span<A> partial;

  ATROUS_HD void operator()(std::int64_t chunk, std::int64_t begin, std::int64_t end) const {
    for_each_piece<kAtOnce>(begin, end, [&](std::int64_t k, int count) {
      A sums[kAtOnce] = {};
      for (std::int64_t p = chunks.begin(chunk); p < chunks.end(chunk); ++p)
        for (int i = 0; i < count; ++i) sums[i] += A(dy[p * channels + k + i]);
      for (int i = 0; i < count; ++i) partial[chunk * channels + k + i] = sums[i];
    });
  }
};

/// dbias[k]: the chunks' sums of channel k, added up in order.
template <class T>
struct Conv2dBiasTotal {
  using A = Accumulator<T>;
  std::int64_t chunks, channels;
  Span<const A> partial;
  Span<T> dbias;

  ATROUS_HD void operator()(std::int64_t k) const {
    A sum = 0;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * channels + k];
    dbias[k] = T(sum);
  }
};

/// Memory of elements T as accumulators of T: how kernels read a workspace that holds sums.
template <class T>
Span<Accumulator<T>> as_accumulators(Span<T> workspace) {
  using A = Accumulator<T>;
  return {reinterpret_cast<A*>(workspace.data()),
          workspace.size() * std::int64_t(sizeof(T)) / std::int64_t(sizeof(A))};
}
/// Elements of T that hold `count` accumulators.
template <class T>
constexpr std::int64_t accumulator_room(std::int64_t count) {
  return count * std::int64_t(sizeof(Accumulator<T>) / sizeof(T));
}

}  // namespace atrous::kernels
