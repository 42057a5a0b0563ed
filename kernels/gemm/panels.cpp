#include "atrous/kernels/gemm/panels.h"

#include <cstring>

namespace atrous::kernels {

void pack_panel(const float* from, std::int64_t stride, std::int64_t depth, int used, int width, float* to) {
  for (std::int64_t i = 0; i < depth; ++i, from += stride, to += width) {
    std::memcpy(to, from, std::size_t(used) * sizeof(float));
    for (int j = used; j < width; ++j) to[j] = 0;
  }
}

void pack_panel_transposed(const float* from, std::int64_t stride, std::int64_t depth, int used, int width,
                           float* to) {
  constexpr std::int64_t kBlock = 16;  // of a cache line in every column
  for (std::int64_t begin = 0; begin < depth; begin += kBlock) {
    const std::int64_t end = std::min(depth, begin + kBlock);
    for (int j = 0; j < used; ++j)
      for (std::int64_t i = begin; i < end; ++i) to[i * width + j] = from[j * stride + i];
    for (int j = used; j < width; ++j)
      for (std::int64_t i = begin; i < end; ++i) to[i * width + j] = 0;
  }
}

}  // namespace atrous::kernels
