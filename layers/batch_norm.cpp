#include "atrous/layers/batch_norm.h"

#include "atrous/core/error.h"

namespace atrous::layers {

BatchNorm::BatchNorm(std::int64_t channels, const BatchNormConstants& constants)
    : constants_(constants),
      gamma_(add_parameter("gamma", {channels}, ParameterKind::batch_norm, Initialiser::constant(1))),
      beta_(add_parameter("beta", {channels}, ParameterKind::batch_norm, Initialiser::constant(0))),
      running_mean_(add_buffer("running_mean", Tensor::zeros({channels}))),
      running_var_(add_buffer("running_var", Tensor::full({channels}, 1))) {}

Variable BatchNorm::forward(const Variable& x, Activation activation, const Variable& residual,
                            const ChannelStatistics& statistics) {
  return batch_norm(x, gamma_, beta_, running_mean_, running_var_,
                    {.mode = training() && !frozen_ ? BatchNormMode::training : BatchNormMode::frozen,
                     .epsilon = constants_.epsilon,
                     .decay = constants_.decay,
                     .activation = activation},
                    residual, statistics);
}

Shape BatchNorm::trace(const Shape& x, const std::string& name, Summary& summary) const {
  ATROUS_CHECK(ShapeError, x.rank() == 4 && x[3] == gamma_.dim(0), name, "batch norm of ", gamma_.dim(0),
               " channels; x is ", x);
  summary.rows.push_back({name, "batch norm", x, 2 * gamma_.dim(0), 0});
  return x;
}

}  // namespace atrous::layers
