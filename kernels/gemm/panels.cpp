#include "atrous/kernels/gemm/panels.h"

#include <bit>
#include <cstring>

#include "atrous/core/dtype.h"

namespace atrous::kernels {

void pack_panel(const float* from, std::int64_t stride, std::int64_t depth, int used, int width, float* to) {
  for (std::int64_t i = 0; i < depth; ++i, from += stride, to += width) {
    std::memcpy(to, from, std::size_t(used) * sizeof(float));
    for (int j = used; j < width; ++j) to[j] = 0;
  }
}

void pack_panel_pairs(const float* from, std::int64_t stride, std::int64_t rows, int used, int width,
                      float* to) {
  for (std::int64_t i = 0; i < rows; i += 2, from += 2 * stride, to += width)
    for (int j = 0; j < width; ++j) {
      const std::uint32_t low = j < used ? bf16(from[j]).bits : 0;
      const std::uint32_t high = j < used && i + 1 < rows ? bf16(from[stride + j]).bits : 0;
      to[j] = std::bit_cast<float>(low | high << 16);
    }
}

}  // namespace atrous::kernels
