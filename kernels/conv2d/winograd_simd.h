#pragma once

#include <cstdint>

#include "atrous/kernels/simd.h"

// The transforms of winograd.h on vectors of channels.

namespace atrous::kernels::simd {

/// Floats at addresses that the patches of a run have in common but for an offset.
template <class T>
struct WinogradPlaces {
  T* const* at = nullptr;
  std::int64_t offset = 0;

  T* operator[](int i) const { return at[i] + offset; }
};

struct WinogradInput {  // some channels of one input patch
  int scheme_h, scheme_w;
  WinogradPlaces<const float> pixels;  ///< row-major; those outside of the picture are zeros
  WinogradPlaces<float> points;  ///< for each pair of points: where its channels go, in chunks of kChunk
  std::int64_t chunk_step;       ///< floats from chunk to chunk (gemm_tile_simd.h)
  std::int64_t channels;
  WinogradPlaces<const float> next_pixels = {};  ///< of the patch that follows: fetched; null for none
};
ATROUS_SIMD(winograd_input, const WinogradInput& args);

struct WinogradOutput {  // all channels of one output patch
  int scheme_h, scheme_w;
  WinogradPlaces<const float> points;  ///< for each pair of points: its row in the first panel of sums
  const std::int64_t* panel_step;      ///< for each pair of points: from one panel to the next
  WinogradPlaces<float> pixels;        ///< row-major
  const float* bias;                   ///< readable for whole vectors, or null
  std::int64_t channels;
  int activation;                        ///< 0 none, 1 relu, 2 relu6, 3 hard swish
  WinogradPlaces<const float> residual;  ///< for each pixel: what is added behind the bias; null for nothing
};
ATROUS_SIMD(winograd_output, const WinogradOutput& args);

/// The transpose of winograd_output: the gradient of the sums from the gradient of the output. `points` as in
/// WinogradInput.
struct WinogradOutputGradient {
  int scheme_h, scheme_w;
  WinogradPlaces<const float> pixels;  ///< row-major
  WinogradPlaces<float> points;
  std::int64_t chunk_step, channels;
};
ATROUS_SIMD(winograd_output_gradient, const WinogradOutputGradient& args);

/// Transforms weights of 3x3 taps, each `rows` x `width` (whole vectors), taps `tap_step` and rows `row_step`
/// floats apart:
///   to[slots[kRowsOfG * i + j] * to_step + row * width + k] =
///       sum over r, s < 3 of g(i, r) * g(j, s) * from[(3*r + s) * tap_step + row * row_step + k]
/// for all rows i, j of G whose slot is not negative; past the cache only if `to` is aligned to 64 bytes.
ATROUS_SIMD(winograd_weight, const float* from, std::int64_t tap_step, std::int64_t row_step,
            std::int64_t rows, int width, const int* slots, float* to, std::int64_t to_step, bool past_cache);

/// The transpose of winograd_weight, of `slots` pairs of rows with the factors that each tap has in them:
/// to[t * count + i] = sum over s < slots of factors[9 * s + t] * from[s * stride + i] for t < 9, i < count.
ATROUS_SIMD(winograd_weight_gradient, const float* from, std::int64_t stride, const float* factors, int slots,
            std::int64_t count, float* to);

}  // namespace atrous::kernels::simd
