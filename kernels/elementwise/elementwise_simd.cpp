#include "atrous/kernels/elementwise/elementwise_simd.h"

#include "atrous/kernels/simd_vector.h"

// Both values of each choice are loaded before it is made, or the compiler sees a branch where it could
// blend. ivdep: an output may be one of the inputs (element by element), but never overlaps one otherwise.

namespace atrous::kernels::simd::ATROUS_ISA {

void relu_forward(const float* x, float* y, long n) {
#pragma GCC ivdep
  for (long i = 0; i < n; ++i) {
    const float v = x[i];
    y[i] = v <= 0 ? 0 : v;
  }
}

void relu_backward(const float* y, const float* dy, float* dx, long n) {
#pragma GCC ivdep
  for (long i = 0; i < n; ++i) {
    const float v = y[i], d = dy[i];
    dx[i] = v <= 0 ? 0 : d;
  }
}

void relu6_forward(const float* x, float* y, long n) {
#pragma GCC ivdep
  for (long i = 0; i < n; ++i) {
    const float v = x[i], positive = v <= 0 ? 0 : v;
    y[i] = positive >= 6 ? 6 : positive;
  }
}

void relu6_backward(const float* y, const float* dy, float* dx, long n) {
#pragma GCC ivdep
  for (long i = 0; i < n; ++i) {
    const float v = y[i], d = dy[i], above = v <= 0 ? 0 : d;
    dx[i] = v >= 6 ? 0 : above;
  }
}

void hard_swish_forward(const float* x, float* y, long n) {
#pragma GCC ivdep
  for (long i = 0; i < n; ++i) {
    const float v = x[i], inside = v * (v + 3) * float(1.0 / 6), positive = v >= 3 ? v : inside;
    y[i] = v <= -3 ? 0 : positive;
  }
}

void hard_swish_backward(const float* x, const float* dy, float* dx, long n) {
#pragma GCC ivdep
  for (long i = 0; i < n; ++i) {
    const float v = x[i], d = dy[i], inside = d * ((v + v + 3) * float(1.0 / 6)),
                positive = v >= 3 ? d : inside;
    dx[i] = v <= -3 ? 0 : positive;
  }
}

void add_forward(const float* a, const float* b, float* sum, long n) {
#pragma GCC ivdep
  for (long i = 0; i < n; ++i) sum[i] = a[i] + b[i];
}

void mul_forward(const float* a, const float* b, float* product, long n) {
#pragma GCC ivdep
  for (long i = 0; i < n; ++i) product[i] = a[i] * b[i];
}

void scale_forward(float factor, const float* x, float* y, long n) {
#pragma GCC ivdep
  for (long i = 0; i < n; ++i) y[i] = factor * x[i];
}

void scale_channels_forward(const float* x, const float* factors, long pixels, long channels, bool stream,
                            float* y) {
  for (long p = 0; p < pixels; ++p, x += channels, y += channels) {
    if (stream)
      for (long c = 0; c < channels; c += kLanes) store_past_cache(y + c, load(factors + c) * load(x + c));
    else
      mul_forward(factors, x, y, channels);
  }
}

namespace {

// kRows pixels' products onto the sums, pixel after pixel.
template <int kRows>
void add_products(const float* x, const float* dy, long channels, double* sums, long n) {
#pragma GCC ivdep
  for (long c = 0; c < n; ++c) {
    double sum = sums[c];
#pragma GCC unroll 4
    for (int k = 0; k < kRows; ++k) sum += double(x[k * channels + c]) * double(dy[k * channels + c]);
    sums[c] = sum;
  }
}

}  // namespace

void scale_channels_backward_factors(const float* x, const float* dy, long pixels, long channels,
                                     float* dfactors, long n) {
  constexpr long kBlock = 1024;  // channels at a time: their sums take 8 kB of the L1
  for (long first = 0; first < n; first += kBlock, x += kBlock, dy += kBlock) {
    const long width = n - first < kBlock ? n - first : kBlock;
    double sums[kBlock] = {};
    long p = 0;
    for (; p + 4 <= pixels; p += 4)
      add_products<4>(x + p * channels, dy + p * channels, channels, sums, width);
    for (; p < pixels; ++p) add_products<1>(x + p * channels, dy + p * channels, channels, sums, width);
    for (long c = 0; c < width; ++c) dfactors[first + c] = float(sums[c]);
  }
}

namespace {

// Philox as in core/random.h, for 16 counters at a time: the lanes of each array move together.
constexpr int kCounters = 16;

void philox(unsigned long seed, unsigned long call, unsigned long counter, unsigned* words) {
  unsigned c0[kCounters], c1[kCounters], c2[kCounters], c3[kCounters];
  for (int l = 0; l < kCounters; ++l) {
    c0[l] = unsigned(counter + (unsigned long)(l));
    c1[l] = unsigned((counter + (unsigned long)(l)) >> 32);
    c2[l] = unsigned(call);
    c3[l] = unsigned(call >> 32);
  }
  unsigned k0 = unsigned(seed), k1 = unsigned(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < kCounters; ++l) {
      const unsigned long p0 = 0xD2511F53ul * c0[l], p1 = 0xCD9E8D57ul * c2[l];
      c0[l] = unsigned(p1 >> 32) ^ c1[l] ^ k0;
      c1[l] = unsigned(p1);
      c2[l] = unsigned(p0 >> 32) ^ c3[l] ^ k1;
      c3[l] = unsigned(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int l = 0; l < kCounters; ++l) {
    words[4 * l] = c0[l];
    words[4 * l + 1] = c1[l];
    words[4 * l + 2] = c2[l];
    words[4 * l + 3] = c3[l];
  }
}

}  // namespace

void dropout_forward(float threshold, float kept, unsigned long seed, unsigned long call, long group,
                     const float* x, float* y, long n) {
  x += 4 * group;
  y += 4 * group;
  for (long i = 0; i < n; i += 4 * kCounters) {
    unsigned words[4 * kCounters];
    philox(seed, call, (unsigned long)(group + i / 4), words);
    float factors[4 * kCounters];
    for (int k = 0; k < 4 * kCounters; ++k)
      factors[k] = float(int(words[k] >> 8)) * 0x1p-24f < threshold ? 0 : kept;
    const int rest = n - i < 4 * kCounters ? int(n - i) : 4 * kCounters;
#pragma GCC ivdep
    for (int k = 0; k < rest; ++k) {
      const float f = factors[k], v = x[i + k] * f;
      y[i + k] = f == 0 ? 0 : v;
    }
  }
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
