#pragma once

#include "atrous/layers/optimizer.h"

namespace atrous::layers {

struct SgdOptions {
  double lr = 0.01;
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 0;  ///< of convolutions' weights; other rules through the second constructor
};

/// Stochastic gradient descent with momentum, for each parameter w with gradient g:
///
///   g <- g + weight_decay * w;   v <- momentum * v + g;
///   w <- w - lr * v              (nesterov: w - lr * (g + momentum * v))
///
/// The buffer v does not hold the learning rate (TensorFlow's and PyTorch's form; Caffe's does). State:
/// "momentum.<parameter>", zero at first; of a bf16 parameter "master.<parameter>" too, the weight in f32,
/// which takes the steps: they would be lost in 8 bits.
class Sgd : public Optimizer {
 public:
  Sgd(const std::vector<Parameter>& parameters, const SgdOptions& options)
      : Sgd(parameters, options, decay_conv_weights(options.weight_decay)) {}
  Sgd(const std::vector<Parameter>& parameters, const SgdOptions& options, const ParameterRule& rule);

  NamedState state() const override;

 protected:
  void update(std::size_t i, const Slot& slot, const Tensor& gradient) override;

 private:
  SgdOptions options_;
  std::vector<Tensor> momentum_;  // one for each slot
};

}  // namespace atrous::layers
