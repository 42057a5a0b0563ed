#include "atrous/kernels/gemm/panels.h"

#include <cstring>

namespace atrous::kernels {

void pack_panel(const float* from, std::int64_t stride, std::int64_t depth, int used, int width, float* to) {
  for (std::int64_t i = 0; i < depth; ++i, from += stride, to += width) {
    std::memcpy(to, from, std::size_t(used) * sizeof(float));
    for (int j = used; j < width; ++j) to[j] = 0;
  }
}

}  // namespace atrous::kernels
