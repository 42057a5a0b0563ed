#pragma once

#include "atrous/kernels/cuda.cuh"

namespace atrous::kernels::cuda {

/// Count, mean and sum of squared deviations of some values; merged by Chan, Golub & LeVeque, "Updating
/// formulae and a pairwise algorithm for computing sample variances", 1982.
struct Moments {
  double count, mean, squares;  // no values of their own: it lies in shared memory
  __device__ __forceinline__ void merge(const Moments& b) {
    if (b.count == 0) return;
    const double all = count + b.count, share = b.count / all, gap = b.mean - mean;
    squares += b.squares + gap * gap * count * share;
    mean += gap * share;
    count = all;
  }
};

}  // namespace atrous::kernels::cuda
