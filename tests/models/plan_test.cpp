#include "atrous/models/plan.h"

#include "atrous/layers/adamw.h"
#include "atrous/layers/sgd.h"
#include "atrous/models/registry.h"
#include "tests/support/catch.h"

namespace atrous::models {
namespace {

std::unique_ptr<layers::Optimizer> sgd(Model& model) {
  return std::make_unique<layers::Sgd>(model.named_parameters(), layers::SgdOptions{.lr = 0.01});
}

// The bytes that the real run holds at its end, counted from nothing.
std::int64_t measured(const ModelConfig& config, const PlanRequest& request) {
  trim_memory();
  const MemoryStats before = memory_stats();
  const auto model = build(config);
  run_planned(*model, request);
  const MemoryStats after = memory_stats();
  return after.in_use + after.cached - before.in_use;
}

}  // namespace

TEST_CASE("plan: the bytes that are then measured", "[models][plan]") {
  const std::string name = GENERATE(from_range(names()));
  const bool mobile = name.find("mobilenet") != std::string::npos;
  const ModelConfig config{.name = name, .classes = 5, .width = mobile ? 0.25 : 0.125, .head_width = 0.25};
  PlanRequest request{.batch = 2, .height = 65, .width = 49};
  CAPTURE(name);
  CHECK(double(plan(config, request).peak_bytes()) ==
        Approx(double(measured(config, request))).epsilon(0.02));
  request.optimizer = sgd;
  CHECK(double(plan(config, request).peak_bytes()) ==
        Approx(double(measured(config, request))).epsilon(0.02));
}

TEST_CASE("plan: a step of training at full size, known at once", "[models][plan]") {
  const ModelConfig config{.name = "deeplab_v3plus_resnet50"};
  const Plan training = plan(config, {.batch = 16, .height = 513, .width = 513, .optimizer = sgd});
  const Plan inference = plan(config, {.batch = 16, .height = 513, .width = 513});
  CHECK(training.parameters == inference.parameters);
  CHECK(training.optimizer > training.parameters * 9 / 10);
  CHECK(training.peak_bytes() > 2 * inference.peak_bytes());
  CHECK(training.peak_bytes() >= training.device.peak);
}

TEST_CASE("plan: the largest batch that fits", "[models][plan]") {
  const ModelConfig config{.name = "deeplab_v3_mobilenet_v2"};
  PlanRequest request{.height = 257, .width = 257, .optimizer = sgd};
  const std::int64_t room = std::int64_t(4) << 30;
  const std::int64_t batch = largest_batch(config, request, room);
  REQUIRE(batch > 1);
  request.batch = batch;
  CHECK(plan(config, request).peak_bytes() <= room);
  request.batch = batch + 1;
  CHECK(plan(config, request).peak_bytes() > room);
  CHECK(largest_batch(config, request, 1 << 20) == 0);
  CHECK(largest_batch(config, request, room, 3) == 3);
}

TEST_CASE("plan: refuses sizes that are none", "[models][plan]") {
  CHECK_THROWS_AS(plan({.name = "deeplab_v3_mobilenet_v2"}, {.batch = 0}), ValueError);
  CHECK_THROWS_AS(plan({.name = "deeplab_v3_mobilenet_v2"}, {.height = 0}), ValueError);
}

}  // namespace atrous::models
