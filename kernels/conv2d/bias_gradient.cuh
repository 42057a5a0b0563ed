#pragma once

#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/cuda.cuh"

// The gradient by the bias on CUDA: sums of a chunk of pixels by blocks, then of the chunks
// (Conv2dBiasTotal). Chunks are those of the CPU; within one, every 16th pixel is added up first.

namespace atrous::kernels::cuda {

inline constexpr int kBiasChannels = 32, kBiasLines = 16;

// A block owns 32 channels (a warp's lanes, neighbours in memory) of one chunk; warp `line` adds up pixels
// line, line + 16, ..., and the first warp the lines, in order. Bound by memory: each element is read once.
template <class T>
__global__ void __launch_bounds__(kBiasChannels* kBiasLines)
    bias_chunk_kernel(PixelChunks chunks, std::int64_t channels, const T* dy, Accumulator<T>* partial) {
  using A = Accumulator<T>;
  ATROUS_SHARED(A, lines, [kBiasLines][kBiasChannels]);
  const int lane = int(threadIdx.x) % kBiasChannels, line = int(threadIdx.x) / kBiasChannels;
  const std::int64_t channel = std::int64_t(blockIdx.x) * kBiasChannels + lane, chunk = blockIdx.y;
  const std::int64_t end = chunks.end(chunk);
  A sum = 0;
  if (channel < channels)
    for (std::int64_t pixel = chunks.begin(chunk) + line; pixel < end; pixel += kBiasLines)
      sum += A(dy[pixel * channels + channel]);
  lines[line][lane] = sum;
  __syncthreads();
  if (line > 0 || channel >= channels) return;
  for (int other = 1; other < kBiasLines; ++other) sum += lines[other][lane];
  partial[chunk * channels + channel] = sum;
}

template <class T>
void bias_chunks(Stream stream, const PixelChunks& chunks, std::int64_t channels, Span<const T> dy,
                 Span<Accumulator<T>> partial) {
  if (chunks.count == 0) return;
  const dim3 grid(unsigned((channels + kBiasChannels - 1) / kBiasChannels), unsigned(chunks.count));
  ATROUS_LAUNCH((bias_chunk_kernel<T>), grid, kBiasChannels * kBiasLines, 0, stream, chunks, channels,
                dy.data(), partial.data());
}

}  // namespace atrous::kernels::cuda
