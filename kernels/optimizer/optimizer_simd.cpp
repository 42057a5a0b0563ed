#include "atrous/kernels/optimizer/optimizer_simd.h"

namespace atrous::kernels::simd::ATROUS_ISA {

void sgd_step(float learning_rate, float momentum, float weight_decay, bool nesterov,
              const float* __restrict gradient, float* __restrict velocity, float* __restrict weight,
              long n) {
  if (!velocity) {
    for (long i = 0; i < n; ++i) weight[i] -= learning_rate * (gradient[i] + weight_decay * weight[i]);
  } else if (nesterov) {
    for (long i = 0; i < n; ++i) {
      const float g = gradient[i] + weight_decay * weight[i];
      velocity[i] = momentum * velocity[i] + g;
      weight[i] -= learning_rate * (g + momentum * velocity[i]);
    }
  } else {
    for (long i = 0; i < n; ++i) {
      velocity[i] = momentum * velocity[i] + (gradient[i] + weight_decay * weight[i]);
      weight[i] -= learning_rate * velocity[i];
    }
  }
}

void adamw_step(const float* factors, const float* __restrict gradient, float* __restrict mean,
                float* __restrict square, float* __restrict weight, long n) {
  const float shrink = factors[0], beta1 = factors[1], beta2 = factors[2], rest1 = factors[3];
  const float rest2 = factors[4], rate = factors[5], root = factors[6], epsilon = factors[7];
  for (long i = 0; i < n; ++i) {
    const float g = gradient[i];
    mean[i] = beta1 * mean[i] + rest1 * g;
    square[i] = beta2 * square[i] + rest2 * (g * g);
    weight[i] = shrink * weight[i] - rate * mean[i] / (root * __builtin_sqrtf(square[i]) + epsilon);
  }
}

}  // namespace atrous::kernels::simd::ATROUS_ISA
