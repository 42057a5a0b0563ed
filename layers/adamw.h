#pragma once

#include "atrous/layers/optimizer.h"

namespace atrous::layers {

struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;  ///< of convolutions' weights; other rules through the second constructor
};

/// Adam with decoupled weight decay, for each parameter w with gradient g at step t = 1, 2, ...:
///
///   m <- beta1 m + (1 - beta1) g;   v <- beta2 v + (1 - beta2) g^2
///   w <- w - lr (weight_decay w + (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon))
///
/// State: "adamw.m.<parameter>", "adamw.v.<parameter>" and "adamw.step" (i64 [1]); of a bf16 parameter
/// "master.<parameter>" too, as in Sgd.
/// Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019.
class AdamW : public Optimizer {
 public:
  AdamW(const std::vector<Parameter>& parameters, const AdamWOptions& options)
      : AdamW(parameters, options, decay_conv_weights(options.weight_decay)) {}
  AdamW(const std::vector<Parameter>& parameters, const AdamWOptions& options, const ParameterRule& rule);

  NamedState state() const override;

 protected:
  void begin_step() override { ++step_.span<std::int64_t>()[0]; }
  void update(std::size_t i, const Slot& slot, const Tensor& gradient) override;

 private:
  AdamWOptions options_;
  Tensor step_;
  std::vector<Tensor> m_, v_;  // one for each slot
};

}  // namespace atrous::layers
