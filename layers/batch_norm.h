#pragma once

#include "atrous/autograd/batch_norm.h"
#include "atrous/layers/layer.h"

namespace atrous::layers {

using atrous::Activation;  // none, relu, relu6

/// The constants of a batch norm: epsilon is added to the variance inside the root, and
/// running = decay * running + (1 - decay) * batch (1 - PyTorch's "momentum"). epsilon has no default:
/// it differs between parts of one network and belongs to the convention.
struct BatchNormConstants {
  double epsilon;
  double decay = 0.9;
};

/// Batch norm over the channels of [N, H, W, C]: parameters gamma and beta, statistics running_mean and
/// running_var (unbiased). In training mode it normalises by the batch; in evaluation mode, when frozen, or
/// where the batch is a single pixel, by the running statistics.
class BatchNorm : public Layer {
 public:
  BatchNorm(std::int64_t channels, const BatchNormConstants& constants);

  Variable forward(const Variable& x) override { return forward(x, Activation::none); }
  /// activation(batch norm of x + residual) in one pass; the residual may be undefined. `statistics` are
  /// those of x where something else has computed them (batch_norm() of autograd says more).
  Variable forward(const Variable& x, Activation activation, const Variable& residual = {},
                   const ChannelStatistics& statistics = {});
  /// The same for norms whose channels lie side by side in x, in one pass: concat_channels of what each makes
  /// of its own channels. They have the same constants, and the same mode. `statistics` are those of x, given
  /// if the norms take the batch's.
  static Variable forward_side_by_side(const std::vector<BatchNorm*>& norms, const Variable& x,
                                       Activation activation, const ChannelStatistics& statistics);
  Shape trace(const Shape& x, const std::string& name, Summary& summary) const override;

  /// Whether forward() of x normalises by the statistics of x.
  bool takes_batch(const Shape& x) const { return training() && !frozen_ && x.numel() > x[3]; }
  bool frozen() const { return frozen_; }
  const BatchNormConstants& constants() const { return constants_; }
  const Variable& gamma() const { return gamma_; }
  const Variable& beta() const { return beta_; }
  const Tensor& running_mean() const { return running_mean_; }
  const Tensor& running_var() const { return running_var_; }

 protected:
  void set_frozen(bool frozen) override { frozen_ = frozen; }
  void set_decay(double decay) override { constants_.decay = decay; }

 private:
  BatchNormConstants constants_;
  bool frozen_ = false;
  Variable& gamma_;
  Variable& beta_;
  Tensor& running_mean_;
  Tensor& running_var_;
};

}  // namespace atrous::layers
