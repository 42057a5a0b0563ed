#pragma once

#include "atrous/core/dtype.h"
#include "atrous/core/random.h"
#include "atrous/kernels/elementwise/dropout.h"

// The arithmetic of dropout.h: four elements, which share one counter of the generator, and one pixel.

namespace atrous::kernels {

/// What an element is multiplied with: 0 or 1 / (1 - p).
template <class A>
struct DropoutFactor {
  float threshold;  // uniform numbers have 24 bits; rounding p to float moves it by less than they resolve
  A kept;
  explicit DropoutFactor(const DropoutRule& rule)
      : threshold(float(rule.probability)),
        kept(rule.probability < 1 ? A(1 / (1 - rule.probability)) : A(0)) {}
  ATROUS_HD A operator()(std::uint32_t bits) const {
    return uniform_from_bits(bits) < threshold ? A(0) : kept;
  }
};

/// factor * x, and 0 for factor 0 whatever x is.
template <class A>
ATROUS_HD A dropped(A factor, A x) {
  return factor == A(0) ? A(0) : factor * x;
}

/// Elements 4*g .. 4*g + 3.
template <class T>
struct DropoutFour {
  DropoutFactor<Accumulator<T>> factor;
  std::uint64_t seed, call;
  Span<const T> x;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t g) const {
    const auto words = philox(seed, call, std::uint64_t(g));
    const std::int64_t rest = y.size() - 4 * g;
    for (int k = 0; k < (rest < 4 ? int(rest) : 4); ++k)
      y[4 * g + k] = T(dropped(factor(words[k]), Accumulator<T>(x[4 * g + k])));
  }
};

/// The channels of one pixel.
template <class T>
struct ChannelDropoutPixel {
  ChannelDropoutDims dims;
  Span<const T> x;
  Span<const Accumulator<T>> factors;
  Span<T> y;
  ATROUS_HD void operator()(std::int64_t pixel) const {
    const T* from = x.data() + pixel * dims.channels;
    const Accumulator<T>* f = factors.data() + pixel / dims.pixels * dims.channels;
    T* to = y.data() + pixel * dims.channels;
    for (std::int64_t c = 0; c < dims.channels; ++c) to[c] = T(dropped(f[c], Accumulator<T>(from[c])));
  }
};

}  // namespace atrous::kernels
