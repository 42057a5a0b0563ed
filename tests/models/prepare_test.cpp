#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/core/exact.h"
#include "atrous/core/memory.h"
#include "atrous/core/random.h"
#include "atrous/layers/observer.h"
#include "atrous/models/plan.h"
#include "atrous/models/registry.h"
#include "atrous/models/segment.h"
#include "tests/support/catch.h"

// Module::prepare_inference(): the same bits, made of weights that are folded and packed once.

namespace atrous::models {
namespace {

Tensor noise(const Shape& shape, std::uint64_t seed = 3) {
  Tensor x = Tensor::empty(shape);
  Random random(seed);
  for (float& v : x.span<float>()) v = float(random.uniform(-1, 1));
  return x;
}

// A narrow model whose batch norms are not the identity.
std::unique_ptr<Model> trained(const std::string& name) {
  auto model = make(name, {.classes = 3, .width = 0.125, .head_width = 0.25});
  Random random(5);
  for (layers::Parameter& p : model->named_parameters())
    if (p.name.ends_with("bn.gamma") || p.name.ends_with("bn.beta"))
      for (float& v : p.variable.mutable_value().span<float>()) v = float(random.uniform(0.5, 1.5));
  for (const layers::Buffer& b : model->named_buffers())
    if (b.kind == layers::BufferKind::statistic)
      for (float& v : b.tensor->span<float>()) v = float(random.uniform(0.5, 1.5));
  model->eval();
  return model;
}

Tensor logits(Model& model, const Tensor& x) {
  const NoGrad no_grad;
  return model.forward(Variable(x)).value();
}

}  // namespace

TEST_CASE("prepare_inference: the same bits, image after image and at other sizes", "[models][prepare]") {
  const std::string name = GENERATE(as<std::string>(), "deeplab_v3plus_mobilenet_v2", "deeplab_v3_resnet50",
                                    "deeplab_v3plus_xception41", "deeplab_v1_vgg16",
                                    "deeplab_v2_resnet50_msc", "deeplab_v3_resnet18:torchvision",
                                    "lraspp_mobilenet_v3_large", "deeplab_v3plus_mobilenet_v2:tf");
  CAPTURE(name);
  auto plain = trained(name), prepared = trained(name);
  prepared->prepare_inference({.sizes = GENERATE(1, 3)});
  const Tensor images[] = {noise({1, 65, 81, 3}), noise({2, 97, 65, 3}), noise({1, 65, 81, 3}, 4)};
  for (const int i : {0, 2, 0, 1, 2, 1}) {
    INFO("image " << i);
    CHECK(identical(logits(*prepared, images[i]), logits(*plain, images[i])));
  }
  const ExactScope exact;
  CHECK(identical(logits(*prepared, images[0]), logits(*plain, images[0])));
}

TEST_CASE("deeplab_v3plus: parts that write their own channels have the bits of a concatenation",
          "[models][prepare]") {
  const std::string name = GENERATE(as<std::string>(), "deeplab_v3plus_mobilenet_v2",
                                    "deeplab_v3plus_xception41", "deeplab_v3plus_mobilenet_v2:vainf");
  CAPTURE(name);
  const auto model = trained(name);
  const Tensor x = noise({2, 65, 81, 3}), in_place = logits(*model, x);
  const layers::ForwardObserver observer([](const layers::Module&, const Variable&) {});
  CHECK(identical(logits(*model, x), in_place));
}

TEST_CASE("prepare_inference: weights that change are noticed, and training ends it", "[models][prepare]") {
  const Tensor x = noise({1, 65, 65, 3});
  auto plain = trained("deeplab_v3_resnet18"), prepared = trained("deeplab_v3_resnet18");
  prepared->prepare_inference();
  Tensor before = logits(*prepared, x);
  CHECK(identical(before, logits(*plain, x)));
  const auto changed = [&](const auto& change) {
    for (Model* model : {plain.get(), prepared.get()}) change(*model);
    const Tensor y = logits(*prepared, x);
    CHECK_FALSE(identical(y, before));
    CHECK(identical(y, logits(*plain, x)));
    before = y;
  };
  const auto parameter = [](Model& model, const std::string& name) {
    for (layers::Parameter& p : model.named_parameters())
      if (p.name == name) return p.variable;
    FAIL("no parameter is called " << name);
    return Variable();
  };
  for (const std::string name :
       {"backbone.layer2.0.conv1.weight", "backbone.layer2.0.conv1.bn.gamma", "head.aspp.rate1.weight",
        "head.aspp.rate1.bn.beta", "head.logits.weight", "head.logits.bias"}) {
    INFO(name);
    changed([&](Model& model) {
      for (float& v : parameter(model, name).mutable_value().span<float>()) v += 0.5f;
    });
  }
  changed([](Model& model) {
    for (const layers::Buffer& b : model.named_buffers())
      if (b.name.ends_with("running_var")) b.tensor->fill(0.25);
  });
  const std::int64_t kept = memory_stats().in_use;
  prepared->train();
  CHECK(memory_stats().in_use < kept - prepared->parameter_count() * 4);
  prepared->eval();
  CHECK(identical(logits(*prepared, x), before));
  CHECK(memory_stats().in_use < kept - prepared->parameter_count() * 4);
  CHECK_THROWS_AS(prepared->prepare_inference({.sizes = 0}), ValueError);
}

TEST_CASE("prepare_inference: from the second image on nothing is asked of the system", "[models][prepare]") {
  auto model = trained("deeplab_v3plus_mobilenet_v2");
  model->prepare_inference();
  Tensor image = Tensor::full({1, 129, 161, 3}, 77, Dtype::u8);
  const Tensor first = segment(*model, image);
  segment(*model, image);
  const MemoryStats before = memory_stats();
  for (int i = 0; i < 3; ++i) CHECK(identical(segment(*model, image), first));
  const MemoryStats after = memory_stats();
  CHECK(after.system_calls == before.system_calls);
  CHECK(after.in_use == before.in_use);
  CHECK(after.cached == before.cached);
}

TEST_CASE("prepare_inference: where gradients are recorded, nothing of it is used", "[models][prepare]") {
  auto model = trained("deeplab_v3_mobilenet_v2");
  const Tensor x = noise({1, 33, 33, 3});
  const Tensor recorded = model->forward(Variable(x)).value();
  model->prepare_inference();
  logits(*model, x);
  CHECK(identical(model->forward(Variable(x)).value(), recorded));
}

TEST_CASE("prepare_inference: weights that are released leave one copy of each, and no way back",
          "[models][prepare]") {
  const std::string name = GENERATE(as<std::string>(), "deeplab_v3plus_mobilenet_v2", "deeplab_v3_resnet50",
                                    "deeplab_v3plus_xception41", "deeplab_v1_vgg16");
  CAPTURE(name);
  const Tensor x = noise({1, 65, 81, 3});
  auto kept = trained(name), released = trained(name);
  const Tensor wanted = logits(*kept, x);
  kept->prepare_inference();
  released->prepare_inference({.release_weights = true});
  const std::int64_t start = memory_stats().in_use;
  CHECK(identical(logits(*kept, x), wanted));
  const std::int64_t both = memory_stats().in_use - start;
  CHECK(identical(logits(*released, x), wanted));
  const std::int64_t one = memory_stats().in_use - start - both;
  // Small blocks that are free wait for others of their size; all but biases and norms is given up.
  CHECK(both - one > released->parameter_count() * 4 * 9 / 10);
  CHECK(identical(logits(*released, x), wanted));
  CHECK_THROWS_AS(released->train(), ValueError);
  CHECK_THROWS_AS(released->to(Dtype::f64), ValueError);
  CHECK_THROWS_AS(released->prepare_inference(), ValueError);
  CHECK_THROWS_AS(released->forward(Variable(x)), ValueError);  // recorded: by the weights themselves
  CHECK_FALSE(released->training());
  CHECK(identical(logits(*released, x), wanted));
  CHECK_THROWS_AS(kept->prepare_inference({.sizes = 2, .release_weights = true}), ValueError);
}

TEST_CASE("prepare_inference: what callers keep of an image is theirs", "[models][prepare]") {
  auto model = trained("deeplab_v3_resnet18");
  model->prepare_inference({.sizes = 2});
  const Tensor a = noise({1, 65, 65, 3}, 1), b = noise({1, 33, 49, 3}, 2), c = noise({1, 65, 65, 3}, 3);
  const Tensor first = logits(*model, a), copy = first.clone();
  const Tensor second = logits(*model, b), third = logits(*model, c);
  logits(*model, a);
  CHECK(identical(first, copy));
  CHECK(identical(third, logits(*model, c)));
  CHECK(identical(second, logits(*model, b)));
}

}  // namespace atrous::models
