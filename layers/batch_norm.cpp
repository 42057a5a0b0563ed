#include "atrous/layers/batch_norm.h"

#include "atrous/autograd/layout.h"
#include "atrous/core/error.h"
#include "atrous/kernels/batch_norm/batch_norm.h"

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

Variable BatchNorm::forward_side_by_side(const std::vector<BatchNorm*>& norms, const Variable& x,
                                         Activation activation, const ChannelStatistics& statistics) {
  const BatchNorm& first = *norms.at(0);
  const bool batch = first.takes_batch(x.shape());
  std::vector<Variable> gammas, betas, means, vars;
  for (const BatchNorm* norm : norms) {
    gammas.push_back(norm->gamma_);
    betas.push_back(norm->beta_);
    means.emplace_back(norm->running_mean_);
    vars.emplace_back(norm->running_var_);
  }
  // Of a batch, the running averages move norm by norm, below: here others stand in for them.
  const auto running = [&](const std::vector<Variable>& parts) {
    const Tensor& part = parts[0].value();
    return batch ? Tensor::zeros({x.dim(3)}, part.dtype(), part.device()) : concat_channels(parts).value();
  };
  Tensor mean = running(means), var = running(vars);
  const Variable y = batch_norm(x, concat_channels(gammas), concat_channels(betas), mean, var,
                                {.mode = batch ? BatchNormMode::training : BatchNormMode::frozen,
                                 .epsilon = first.constants_.epsilon,
                                 .decay = 1,
                                 .activation = activation},
                                {}, statistics);
  if (!batch) return y;
  std::int64_t begin = 0;
  visit_float(x.dtype(), [&]<class T>() {
    for (BatchNorm* norm : norms) {
      const std::int64_t channels = norm->gamma_.dim(0);
      const kernels::BatchNormDims dims{x.value().numel() / x.dim(3), channels};
      kernels::batch_norm_update_running<T>(
          x.stream(), dims, statistics.mean.span<double>().part(begin, channels),
          statistics.var.span<double>().part(begin, channels), norm->constants_.decay,
          norm->running_mean_.span<Accumulator<T>>(), norm->running_var_.span<Accumulator<T>>());
      begin += channels;
    }
  });
  return y;
}

Shape BatchNorm::trace(const Shape& x, const std::string& name, Summary& summary) const {
  ATROUS_CHECK(ShapeError, x.rank() == 4 && x[3] == gamma_.dim(0), name, "batch norm of ", gamma_.dim(0),
               " channels; x is ", x);
  summary.rows.push_back({name, "batch norm", x, 2 * gamma_.dim(0), 0});
  return x;
}

}  // namespace atrous::layers
