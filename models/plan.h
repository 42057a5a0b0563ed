#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "atrous/core/device.h"
#include "atrous/core/memory.h"
#include "atrous/layers/optimizer.h"
#include "atrous/models/model.h"

// How much memory a network takes, known before any is taken: the plan is a rehearsal (core/dry_run.h) of
// what the programs do, so it asks the allocator for the same blocks in the same order.

namespace atrous::models {

/// Makes the optimiser of a training run for a model's parameters.
using MakeOptimizer = std::function<std::unique_ptr<layers::Optimizer>(Model&)>;

struct PlanRequest {
  std::int64_t batch = 1;
  std::int64_t height = 513, width = 513;  ///< of the images, before padding; of the crops in training
  Device device = kCpu;
  /// Defined: two training steps (forward, loss on full-size labels, backward, optimiser). Undefined: one
  /// batch of images to labels, by Module::prepare_inference().
  MakeOptimizer optimizer = {};
};

struct Plan {
  std::int64_t parameters = 0;  ///< bytes of weights and statistics, on the device
  std::int64_t optimizer = 0;   ///< bytes of the optimiser's state, on the device
  MemoryStats device;           ///< peak: the most in use at once; in_use + cached: what the system gave
  MemoryStats host;             ///< the same for the host; equal to `device` on the CPU

  /// What the system has to give: peak of blocks held, free ones included, as they are not given back.
  std::int64_t peak_bytes() const { return device.in_use + device.cached; }
};

/// Rehearses, and allocates nothing to speak of. The device need not be there, but a plan for CUDA takes a
/// build with CUDA. What is not counted: the program itself, decoded images that wait in a loader, and what
/// drivers and cuBLAS keep for themselves. Throws what the real run would throw about shapes, ValueError for
/// sizes below 1.
Plan plan(const ModelConfig& model, const PlanRequest& request);

/// The largest batch of at most `most` for which peak_bytes() fits into `bytes`; 0 if not even one does.
std::int64_t largest_batch(const ModelConfig& model, PlanRequest request, std::int64_t bytes,
                           std::int64_t most = 4096);

/// The run that plan() rehearses, with images and labels of zeros: for measuring what a plan says.
void run_planned(Model& model, const PlanRequest& request);

}  // namespace atrous::models
