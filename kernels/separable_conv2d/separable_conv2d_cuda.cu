#include "atrous/kernels/separable_conv2d/separable_conv2d.h"

#include "atrous/kernels/channels.cuh"
#include "atrous/kernels/depthwise_conv2d/depthwise_conv2d_body.h"
#include "atrous/kernels/mma.cuh"

namespace atrous::kernels::cuda {
namespace {

constexpr int kPixels = 64, kOutputs = 128, kInputs = 32, kSeparableThreads = 256;
// Rows in shared memory, 8 elements longer than they need to be: eight of them begin in eight different
// banks.
constexpr int kInputPitch = kInputs + 8, kOutputPitch = kOutputs + 8;

// A block owns 64 output pixels and 128 output channels. Input channels come 32 at a time: each thread makes
// 8 of them for one pixel (16-byte reads, taps outside skipped), rounded to bf16 in shared memory, beside 32
// rows of the pointwise matrix; then each of 8 warps multiplies 32 pixels by 32 channels on the tensor cores.
//
// Floor: x is read and y written once, 2 bytes each; with more than 128 output channels the depthwise half is
// done again for each 128.
__global__ void __launch_bounds__(kSeparableThreads, 2)
    separable_kernel(SeparableConv2dDims dims, const bf16* x, const bf16* depthwise,
                     Conv2dEpilogue<bf16> between, const bf16* pointwise, Conv2dEpilogue<bf16> epilogue,
                     bf16* y) {
  const DepthwiseConv2dDims& d = dims.depthwise;
  ATROUS_SHARED(uint4, input_words, [kPixels * kInputPitch / 8]);
  ATROUS_SHARED(uint4, weight_words, [kInputs * kOutputPitch / 8]);
  bf16* const inputs = reinterpret_cast<bf16*>(input_words);
  bf16* const weights = reinterpret_cast<bf16*>(weight_words);
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const std::int64_t first_pixel = std::int64_t(blockIdx.x) * kPixels, pixels = d.out_pixels();
  const int first_output = int(blockIdx.y) * kOutputs, outputs = int(dims.out_channels);
  const int channels = int(d.channels);

  // The pixel and the vector of channels that this thread makes.
  const int own_pixel = thread / 4, own_vector = thread % 4 * 8;
  const std::int64_t pixel = first_pixel + own_pixel;
  const int column = int(pixel % d.out_w), row = int(pixel / d.out_w % d.out_h);
  const std::int64_t image = pixel / d.out_w / d.out_h;
  const int top = row * int(d.stride.h) - int(d.padding.top),
            left = column * int(d.stride.w) - int(d.padding.left);

  const int warp_pixel = warp / 4 * 32, warp_output = warp % 4 * 32;
  float sums[2][4][4] = {};
  for (int first = 0; first < channels; first += kInputs) {
    const int c = first + own_vector;
    float z[8] = {}, v[8], w[8];
    if (pixel < pixels && c < channels) {
      if (!between.bias.empty()) load_channels<bf16, 8>(between.bias.data() + c, z);
      for (int r = 0; r < int(d.window_h); ++r) {
        const int h = top + r * int(d.rate.h);
        if (unsigned(h) >= unsigned(d.in_h)) continue;
        for (int s = 0; s < int(d.window_w); ++s) {
          const int at = left + s * int(d.rate.w);
          if (unsigned(at) >= unsigned(d.in_w)) continue;
          load_channels<bf16, 8>(x + ((image * d.in_h + h) * d.in_w + at) * channels + c, v);
          load_channels<bf16, 8>(depthwise + (r * d.window_w + s) * channels + c, w);
          ATROUS_UNROLL
          for (int i = 0; i < 8; ++i) z[i] += v[i] * w[i];
        }
      }
      ATROUS_UNROLL
      for (int i = 0; i < 8; ++i) z[i] = activate(between.activation, z[i]);
    }
    store_channels<bf16, 8>(inputs + own_pixel * kInputPitch + own_vector, z);
    for (int i = thread; i < kInputs * kOutputs / 8; i += kSeparableThreads) {
      const int k = i / (kOutputs / 8), q = i % (kOutputs / 8) * 8;
      const bool inside = first + k < channels && first_output + q < outputs;
      const bf16* from = pointwise + std::int64_t(first + k) * outputs + first_output + q;
      store16(weights + k * kOutputPitch + q, inside ? load16(from) : make_uint4(0, 0, 0, 0));
    }
    __syncthreads();
    ATROUS_UNROLL
    for (int k = 0; k < kInputs; k += 16) {
      std::uint32_t a[2][4], b[4][2];
      ATROUS_UNROLL
      for (int i = 0; i < 2; ++i)
        ldmatrix_x4(a[i], inputs + (warp_pixel + i * 16 + lane % 16) * kInputPitch + k + lane / 16 * 8);
      ATROUS_UNROLL
      for (int j = 0; j < 4; ++j)
        ldmatrix_x2_trans(b[j], weights + (k + lane % 16) * kOutputPitch + warp_output + j * 8);
      ATROUS_UNROLL
      for (int i = 0; i < 2; ++i) ATROUS_UNROLL
      for (int j = 0; j < 4; ++j) mma_m16n8k16_bf16(sums[i][j], a[i], b[j]);
    }
    __syncthreads();
  }
  ATROUS_UNROLL
  for (int i = 0; i < 2; ++i) ATROUS_UNROLL
  for (int j = 0; j < 4; ++j) ATROUS_UNROLL
  for (int half = 0; half < 2; ++half) {
    const std::int64_t p = first_pixel + warp_pixel + i * 16 + lane / 4 + 8 * half;
    const int k = first_output + warp_output + j * 8 + lane % 4 * 2;
    if (p >= pixels || k >= outputs) continue;
    float v[2];
    ATROUS_UNROLL
    for (int e = 0; e < 2; ++e) {
      const float bias = epilogue.bias.empty() ? 0 : float(epilogue.bias[k + e]);
      v[e] = activate(epilogue.activation, sums[i][j][2 * half + e] + bias);
    }
    *reinterpret_cast<std::uint32_t*>(y + p * outputs + k) = pack_bf16(v[0], v[1]);
  }
}

// One element by the plain way, the depthwise half anew for each: doubles, floats, odd channels, multipliers.
template <class T>
struct SeparableElement {
  using A = Accumulator<T>;
  DepthwiseConv2dDims d;
  Span<const T> x, depthwise, pointwise;
  Conv2dEpilogue<T> between, epilogue;
  std::int64_t outputs;
  T* y;
  __device__ void element(std::int64_t pixel, std::int64_t k) const {
    const std::int64_t ow = pixel % d.out_w, oh = pixel / d.out_w % d.out_h, n = pixel / d.out_w / d.out_h;
    A sum = epilogue.bias.empty() ? A(0) : A(epilogue.bias[k]);
    for (std::int64_t c = 0; c < d.out_channels(); ++c) {
      A z = between.bias.empty() ? A(0) : A(between.bias[c]);
      for (std::int64_t tap = 0; tap < d.taps(); ++tap) {
        const std::int64_t h = oh * d.stride.h + tap / d.window_w * d.rate.h - d.padding.top,
                           w = ow * d.stride.w + tap % d.window_w * d.rate.w - d.padding.left;
        if (h < 0 || h >= d.in_h || w < 0 || w >= d.in_w) continue;
        z += A(x[((n * d.in_h + h) * d.in_w + w) * d.channels + c / d.multiplier]) *
             A(depthwise[tap * d.out_channels() + c]);
      }
      sum += A(T(activate(between.activation, z))) * A(pointwise[c * outputs + k]);
    }
    y[pixel * outputs + k] = T(activate(epilogue.activation, sum));
  }
};

}  // namespace

template <class T>
void separable_conv2d_forward(Stream stream, const SeparableConv2dDims& dims, Span<const T> x,
                              Span<const T> depthwise, const Conv2dEpilogue<T>& between,
                              Span<const T> pointwise, const Conv2dEpilogue<T>& epilogue, Span<T>,
                              Span<T> y) {
  const DepthwiseConv2dDims& d = dims.depthwise;
  if (y.empty()) return;
  if constexpr (sizeof(T) == 2)
    if (d.multiplier == 1 && in_vectors<T>(d.channels, x.data(), depthwise.data(), between.bias.data()) &&
        in_vectors<T>(dims.out_channels, pointwise.data(), y.data())) {
      const dim3 grid(unsigned((d.out_pixels() + kPixels - 1) / kPixels),
                      unsigned((dims.out_channels + kOutputs - 1) / kOutputs));
      ATROUS_LAUNCH(separable_kernel, grid, kSeparableThreads, 0, stream, dims, x.data(), depthwise.data(),
                    between, pointwise.data(), epilogue, y.data());
      return;
    }
  for_each_element(
      stream, d.out_pixels(), dims.out_channels,
      SeparableElement<T>{d, x, depthwise, pointwise, between, epilogue, dims.out_channels, y.data()});
}
ATROUS_INSTANTIATE(separable_conv2d_forward);

}  // namespace atrous::kernels::cuda
