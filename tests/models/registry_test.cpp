#include "atrous/models/registry.h"

#include <algorithm>

#include "atrous/core/error.h"
#include "tests/support/catch.h"

namespace atrous::models {

TEST_CASE("registry: every name can be made", "[models][registry]") {
  const auto all = names();
  for (const char* name :
       {"deeplab_v3_mobilenet_v2", "deeplab_v3_resnet18", "deeplab_v3_resnet50",
        "deeplab_v3plus_mobilenet_v2", "deeplab_v3plus_resnet18", "deeplab_v3plus_resnet50"})
    CHECK(std::count(all.begin(), all.end(), name) == 1);
  const auto model = make("deeplab_v3plus_mobilenet_v2", {.classes = 5, .width = 0.25});
  CHECK(model->config().name == "deeplab_v3plus_mobilenet_v2");
  CHECK(model->config().convention == "atrous");
  CHECK(model->config().output_stride == 16);
  CHECK(model->config().classes == 5);
  CHECK(model->training());
}

TEST_CASE("registry: an unknown name lists the near ones", "[models][registry]") {
  try {
    make("deeplab_v3plus_mobilenetv2");
    FAIL("no error");
  } catch (const ValueError& e) {
    CHECK(std::string(e.what()).find("deeplab_v3plus_mobilenet_v2") != std::string::npos);
  }
  CHECK_THROWS_AS(make(""), ValueError);
}

TEST_CASE("registry: a suffix picks the convention", "[models][registry]") {
  CHECK(make("deeplab_v3_mobilenet_v2:atrous", {.width = 0.25})->convention().name == "atrous");
  CHECK_THROWS_AS(make("deeplab_v3_mobilenet_v2:nobody"), ValueError);
}

TEST_CASE("registry: options out of range are refused", "[models][registry]") {
  CHECK_THROWS_AS(make("deeplab_v3_mobilenet_v2", {.classes = 0}), ValueError);
  CHECK_THROWS_AS(make("deeplab_v3_mobilenet_v2", {.classes = 257}), ValueError);
  CHECK_THROWS_AS(make("deeplab_v3_mobilenet_v2", {.output_stride = 12}), ValueError);
  CHECK_THROWS_AS(make("deeplab_v3_mobilenet_v2", {.width = 0}), ValueError);
  CHECK_THROWS_AS(make("deeplab_v3_resnet18", {.width = 17}), ValueError);
  CHECK_THROWS_AS(make("deeplab_v3_resnet18", {.multi_grid = {1, 0}}), ValueError);
  CHECK_THROWS_AS(make("deeplab_v3plus_resnet18", {.auxiliary = true}), ValueError);    // has no place for it
  CHECK_THROWS_AS(make("deeplab_v2_aspp_s_vgg16", {.output_stride = 32}), ValueError);  // rate 2 / 4
  CHECK_THROWS_AS(make("deeplab_v3_resnet50", {.output_stride = 64}), ValueError);
  CHECK_NOTHROW(make("deeplab_v3_cascade_resnet50", {.output_stride = 64, .width = 0.02}));
}

TEST_CASE("registry: the seed decides the initial weights", "[models][registry]") {
  const auto first_weight = [](std::uint64_t seed) {
    return make("deeplab_v3_mobilenet_v2", {.width = 0.25, .seed = seed})
        ->named_parameters()
        .front()
        .variable.value();
  };
  CHECK(identical(first_weight(1), first_weight(1)));
  CHECK_FALSE(identical(first_weight(1), first_weight(2)));
}

TEST_CASE("model: names of parameters are paths", "[models][registry]") {
  const auto model = make("deeplab_v3plus_mobilenet_v2", {.width = 0.25});
  std::vector<std::string> names;
  for (const auto& p : model->named_parameters()) names.push_back(p.name);
  for (const char* name :
       {"backbone.stem.weight", "backbone.block3.expand.weight", "backbone.block3.depthwise.bn.gamma",
        "head.aspp.rate2.weight", "head.aspp.image_pool.bn.beta", "head.low.weight", "head.decoder1.weight",
        "head.logits.weight", "head.logits.bias"}) {
    INFO(name);
    CHECK(std::count(names.begin(), names.end(), name) == 1);
  }
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}

}  // namespace atrous::models
