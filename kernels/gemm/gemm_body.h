#pragma once

#include <cstdint>

#include "atrous/core/host_device.h"
#include "atrous/kernels/gemm/gemm.h"

namespace atrous::kernels {

/// The epilogue of one sum in column j; NaN stays NaN.
template <class T>
ATROUS_HD Accumulator<T> finish_sum(const GemmEpilogue<T>& epilogue, Accumulator<T> sum, std::int64_t j) {
  using A = Accumulator<T>;
  if (epilogue.bias.data() != nullptr) sum += A(epilogue.bias[j]);
  return epilogue.relu && sum <= A(0) ? A(0) : sum;
}

/// The epilogue as a pass over c, where the product could not do it: element i of c.
template <class T>
struct GemmEpiloguePass {
  std::int64_t columns;
  GemmEpilogue<T> epilogue;
  Span<T> c;
  ATROUS_HD void operator()(std::int64_t i) const {
    c[i] = T(finish_sum(epilogue, Accumulator<T>(c[i]), i % columns));
  }
};

}  // namespace atrous::kernels
