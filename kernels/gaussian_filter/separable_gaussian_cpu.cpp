#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "atrous/core/parallel.h"
#include "atrous/kernels/for_each.h"
#include "atrous/kernels/gaussian_filter/separable_gaussian.h"
#include "atrous/kernels/gaussian_filter/separable_gaussian_body.h"
#include "atrous/kernels/gaussian_filter/separable_gaussian_simd.h"

namespace atrous::kernels {

std::int64_t separable_gaussian_radius(double sigma, std::int64_t size) {
  return std::int64_t(std::min(std::ceil(5 * sigma), double(std::max<std::int64_t>(size, 1) - 1)));
}

namespace cpu {
namespace {

constexpr std::int64_t kMostTaps = 512;

// Floats: whole rows at a time. Pixels nearer to a side than the radius have fewer taps.
void fast_separable(const SeparableGaussianDims& d, std::int64_t radius_x, std::int64_t radius_y,
                    Span<const float> pre, Span<const float> post, Span<const float> values, Span<float> rows,
                    Span<float> out) {
  float weights_x[kMostTaps], weights_y[kMostTaps];
  for (std::int64_t k = 0; k <= radius_x; ++k)
    weights_x[k] = float(std::exp(-0.5 * double(k * k) / (d.sigma_x * d.sigma_x)));
  for (std::int64_t k = 0; k <= radius_y; ++k)
    weights_y[k] = float(std::exp(-0.5 * double(k * k) / (d.sigma_y * d.sigma_y)));
  const std::int64_t row = d.width * d.classes;
  const float* in = values.data();
  if (!pre.empty()) {
    in = out.data();
    for_each_row(d.height * d.width, d.classes, [&](std::int64_t p) {
      for (std::int64_t c = 0; c < d.classes; ++c)
        out[p * d.classes + c] = pre[p] * values[p * d.classes + c];
    });
  }
  parallel_for(d.height, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y) {
      const float* from = in + y * row;
      float* to = rows.data() + y * row;
      const std::int64_t left = std::min(radius_x, d.width), right = std::max(left, d.width - radius_x);
      const auto pixels = [&](std::int64_t x, std::int64_t n) {
        const std::int64_t first = std::max(-radius_x, -x), last = std::min(radius_x, d.width - x - n);
        simd::gaussian_taps(n * d.classes, first, last, d.classes, weights_x, from + x * d.classes,
                            to + x * d.classes);
      };
      for (std::int64_t x = 0; x < left; ++x) pixels(x, 1);
      if (right > left) pixels(left, right - left);
      for (std::int64_t x = right; x < d.width; ++x) pixels(x, 1);
    }
  });
  parallel_for(d.height, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y) {
      const std::int64_t first = std::max(-radius_y, -y), last = std::min(radius_y, d.height - 1 - y);
      simd::gaussian_taps(row, first, last, row, weights_y, rows.data() + y * row, out.data() + y * row);
      if (post.empty()) continue;
      for (std::int64_t p = y * d.width; p < (y + 1) * d.width; ++p)
        for (std::int64_t c = 0; c < d.classes; ++c) out[p * d.classes + c] *= post[p];
    }
  });
}

}  // namespace

template <class T>
void separable_gaussian(Stream, const SeparableGaussianDims& dims, Span<const T> pre, Span<const T> post,
                        Span<const T> values, Span<T> rows, Span<T> out) {
  const std::int64_t radius_x = separable_gaussian_radius(dims.sigma_x, dims.width),
                     radius_y = separable_gaussian_radius(dims.sigma_y, dims.height);
  if constexpr (std::is_same_v<T, float>)
    if (std::max(radius_x, radius_y) < kMostTaps)
      return fast_separable(dims, radius_x, radius_y, pre, post, values, rows, out);
  const std::int64_t elements = dims.height * dims.width * dims.classes;
  for_each_row(elements, 2 * radius_x + 1, gaussian_along_x<T>(dims, pre, values, rows));
  for_each_row(elements, 2 * radius_y + 1, gaussian_along_y<T>(dims, post, rows, out));
}
ATROUS_INSTANTIATE_F32_F64(separable_gaussian);

}  // namespace cpu
}  // namespace atrous::kernels
