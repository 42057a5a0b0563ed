#include "atrous/models/plan.h"

#include <algorithm>

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/upsample.h"
#include "atrous/core/dry_run.h"
#include "atrous/core/error.h"
#include "atrous/models/registry.h"
#include "atrous/models/segment.h"

namespace atrous::models {
namespace {

std::int64_t state_bytes(const Model& model) {
  std::int64_t bytes = 0;
  for (const layers::Parameter& p : model.named_parameters()) bytes += p.variable.value().bytes();
  for (const layers::Buffer& b : model.named_buffers()) bytes += b.tensor->bytes();
  return bytes;
}

std::int64_t state_bytes(const layers::Optimizer& optimizer) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : optimizer.state()) bytes += tensor.bytes();
  return bytes;
}

void train_steps(Model& model, layers::Optimizer& optimizer, const PlanRequest& r) {
  model.train();
  for (int step = 0; step < 2; ++step) {  // the second one has gradients and caches of the first
    const Tensor images = Tensor::zeros({r.batch, r.height, r.width, 3});
    const Tensor labels = Tensor::zeros({r.batch, r.height, r.width}, Dtype::u8);
    const Tensor truth = labels.to(r.device);
    Variable loss;
    for (const TrainingLogits& term : model.training_logits(Variable(images.to(r.device)))) {
      const Variable own =
          upsample_cross_entropy(term.logits, truth, {.align_corners = model.convention().align_corners});
      loss = loss.defined() ? add(loss, scale(own, term.weight)) : own;
    }
    loss.backward();
    optimizer.step();
    model.zero_grad();
    loss.item();
  }
}

void infer(Model& model, const PlanRequest& r) {
  model.prepare_inference();
  segment(model, Tensor::zeros({r.batch, r.height, r.width, 3}, Dtype::u8));
}

}  // namespace

void run_planned(Model& model, const PlanRequest& r) {
  if (!r.optimizer) return infer(model, r);
  const auto optimizer = r.optimizer(model);
  train_steps(model, *optimizer, r);
}

Plan plan(const ModelConfig& config, const PlanRequest& r) {
  ATROUS_CHECK(ValueError, r.batch >= 1 && r.height >= 1 && r.width >= 1, "plan", "a batch of ", r.batch,
               " images of ", r.height, "x", r.width);
  const DryRun rehearsal;
  const auto model = build(config);
  model->to(r.device);
  Plan plan;
  plan.parameters = state_bytes(*model);
  if (r.optimizer) {
    const auto optimizer = r.optimizer(*model);
    plan.optimizer = state_bytes(*optimizer);
    train_steps(*model, *optimizer, r);
  } else {
    infer(*model, r);
  }
  plan.device = rehearsal.stats(r.device);
  plan.host = rehearsal.stats(kCpu);
  return plan;
}

std::int64_t largest_batch(const ModelConfig& model, PlanRequest request, std::int64_t bytes,
                           std::int64_t most) {
  std::int64_t fits = 0, fails = most + 1;
  for (request.batch = 1; fits + 1 < fails;) {
    (plan(model, request).peak_bytes() <= bytes ? fits : fails) = request.batch;
    request.batch =
        fails > most ? std::min(2 * fits, most) : (fits + fails) / 2;  // doubling, then halving the gap
  }
  return fits;
}

}  // namespace atrous::models
