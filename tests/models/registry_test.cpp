#include "atrous/models/registry.h"

#include <algorithm>

#include "atrous/core/error.h"
#include "tests/support/catch.h"

namespace atrous::models {

TEST_CASE("registry: every name can be made", "[models][registry]") {
  const auto model = make("deeplab_v3plus_mobilenet_v2", {.classes = 5, .width = 0.25});
  CHECK(model->config().name == "deeplab_v3plus_mobilenet_v2");
  CHECK(model->config().convention == "atrous");
  CHECK(model->config().output_stride == 16);
  CHECK(model->config().classes == 5);
  CHECK(model->training());
}

TEST_CASE("registry: the names that are promised stand for themselves", "[models][registry]") {
  const auto all = names();
  for (const std::string name :
       {"deeplab_v1_vgg16", "deeplab_v1_vgg16_msc", "deeplab_v2_vgg16", "deeplab_v2_resnet101",
        "deeplab_v3_resnet18", "deeplab_v3_resnet50", "deeplab_v3_resnet101", "deeplab_v3_mobilenet_v2",
        "deeplab_v3plus_resnet18", "deeplab_v3plus_resnet50", "deeplab_v3plus_resnet101",
        "deeplab_v3plus_xception41", "deeplab_v3plus_xception65", "deeplab_v3plus_xception71",
        "deeplab_v3plus_mobilenet_v2", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"}) {
    INFO(name);
    CHECK(std::count(all.begin(), all.end(), name) == 1);
    CHECK(resolve(name).name == name);
  }
  for (const char* name :
       {"deeplab_v3_resnet50:torchvision", "deeplab_v3_resnet50:tf", "deeplab_v3_resnet50:caffe"})
    CHECK(resolve(name).name + ":" + resolve(name).convention == name);
  CHECK(std::adjacent_find(all.begin(), all.end()) == all.end());
}

TEST_CASE("registry: other spellings stand for the same models", "[models][registry]") {
  const std::vector<std::pair<const char*, const char*>> spellings = {
      {"deeplab_v1_largefov_vgg16", "deeplab_v1_vgg16"},
      {"deeplab_v1_msc_largefov_vgg16", "deeplab_v1_vgg16_msc"},
      {"deeplab_v1_msc_vgg16", "deeplab_v1_vgg16_msc"},
      {"deeplab_v2_aspp_l_vgg16", "deeplab_v2_vgg16"},
      {"deeplab_v2_aspp_l_resnet101", "deeplab_v2_resnet101"},
      {"deeplab_v2_msc_aspp_l_resnet50", "deeplab_v2_resnet50_msc"},
      {"deeplab_v2_msc_aspp_l_resnet101", "deeplab_v2_resnet101_msc"},
      {"deeplab_v2_msc_largefov_resnet50", "deeplab_v2_largefov_resnet50_msc"},
      {"deeplab_v2_msc_largefov_resnet101", "deeplab_v2_largefov_resnet101_msc"},
      {"deeplab_v3_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"},
      {"deeplab_v3plus_xception_65", "deeplab_v3plus_xception65"},
      {"deeplab_v3_xception_41", "deeplab_v3_xception41"},
      {"deeplab_v3plus_plain_xception_71", "deeplab_v3plus_plain_xception71"}};
  for (const auto& [other, ours] : spellings) {
    CHECK(resolve(other).name == ours);
    CHECK(resolve(std::string(other) + ":tf").convention == "tf");
  }
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
