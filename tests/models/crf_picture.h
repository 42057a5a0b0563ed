#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "atrous/core/error.h"
#include "atrous/models/dense_crf.h"

// What the tests of the dense CRF share.

namespace atrous::tests {

/// A picture of 16x12 pixels and logits by formula, whose answers by the public densecrf core (in floats) are
/// known. Of several images all but the first are upside down.
struct Golden {
  static constexpr std::int64_t kWidth = 16, kHeight = 12, kClasses = 3;
  Tensor image, logits;

  explicit Golden(std::int64_t images = 1)
      : image(Tensor::empty({images, kHeight, kWidth, 3}, Dtype::u8)),
        logits(Tensor::empty({images, kHeight, kWidth, kClasses}, Dtype::f64)) {
    for (std::int64_t i = 0; i < images * kHeight * kWidth; ++i) {
      const std::int64_t x = i % kWidth, row = i / kWidth % kHeight,
                         y = i < kHeight * kWidth ? row : kHeight - 1 - row;
      const std::array<std::int64_t, 3> rgb = {16 * x, 20 * y, x < 8 ? 40 : 200};
      for (std::int64_t c = 0; c < 3; ++c) {
        image.span<std::uint8_t>()[3 * i + c] = std::uint8_t(rgb[std::size_t(c)]);
        logits.span<double>()[3 * i + c] =
            std::sin(0.7 * double(x) + 1.3 * double(c)) + std::cos(0.5 * double(y) - 0.9 * double(c));
      }
    }
  }
  models::DenseCrf crf(Dtype dtype, Normalization normalization, const models::Compatibility& gaussian,
                       const models::Compatibility& bilateral,
                       FilterMethod method = FilterMethod::lattice) const {
    models::DenseCrf crf(models::unary_from_logits(logits.to(dtype)));
    crf.add_gaussian({3, 3}, gaussian, {.normalization = normalization, .method = method});
    crf.add_bilateral(image, {8, 8}, {30}, bilateral, {.normalization = normalization, .method = method});
    return crf;
  }
};

/// Argmax agreement, and quantiles of |a - b|.
struct Comparison {
  double agreement, mean, quantile999;
};
inline Comparison compare(const Tensor& a, const Tensor& b, std::int64_t classes) {
  const Tensor left = a.to(Dtype::f32), right = b.to(Dtype::f32);
  const Span<const float> p = left.span<float>(), q = right.span<float>();
  std::vector<double> gaps;
  std::int64_t same = 0;
  for (std::int64_t i = 0; i < p.size(); i += classes) {
    same += std::max_element(p.data() + i, p.data() + i + classes) - (p.data() + i) ==
            std::max_element(q.data() + i, q.data() + i + classes) - (q.data() + i);
    for (std::int64_t c = i; c < i + classes; ++c) gaps.push_back(std::abs(double(p[c]) - double(q[c])));
  }
  std::sort(gaps.begin(), gaps.end());
  return {double(same) * double(classes) / double(p.size()),
          std::accumulate(gaps.begin(), gaps.end(), 0.0) / double(gaps.size()),
          gaps[std::size_t(0.999 * double(gaps.size()))]};
}

/// The sentence with which f refuses.
inline std::string refusal(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace atrous::tests
