#include <algorithm>

#include "atrous/autograd/graph.h"
#include "atrous/models/deeplab_v3.h"
#include "atrous/models/mobilenet_v2.h"
#include "atrous/models/mobilenet_v3.h"
#include "atrous/models/registry.h"
#include "atrous/models/resnet.h"
#include "atrous/models/vgg16.h"
#include "atrous/models/xception.h"
#include "tests/support/catch.h"

// Sizes and costs, from published tables and from a computation by hand that agrees with them.

namespace atrous::models {
namespace {

// In units of 10^9.
double giga(std::int64_t macs) { return double(macs) * 1e-9; }

// A model at 21 classes and square images: its trainable parameters, and multiply-adds of its convolutions to
// the digits stated.
struct Golden {
  const char* name;
  std::int64_t output_stride;
  std::int64_t parameters;
  double giga_macs, margin = 0.0006;
  std::int64_t side = 513;
  std::int64_t logits_side = 0;  // 0: not stated
  bool auxiliary = false;
  double width = 1;
  std::int64_t classes = 21;
};

constexpr Golden kGolden[] = {
    // v1 (ICLR 2015, table 2: 65.1 M, 65.1 M, 134.3 M, 20.5 M).
    {"deeplab_v1_vgg16:caffe", 8, 20'505'429, 128.585, 0.0006, 513, 65},
    {"deeplab_v1_vgg16:caffe", 8, 20'505'429, 50.93, 0.006, 321, 41},
    {"deeplab_v1_plain_vgg16:caffe", 8, 65'140'565, 317.142, 0.0006, 513, 65},
    {"deeplab_v1_4x4_vgg16:caffe", 8, 65'140'565, 125.95, 0.006, 321, 41},
    {"deeplab_v1_7x7_vgg16:caffe", 8, 134'346'581, 609.538, 0.0006, 513, 65},
    {"deeplab_v1_vgg16_msc:caffe", 8, 20'505'429 + 1'206'016, 128.585 + 5.09, 0.006, 513, 65},
    {"deeplab_v1_plain_vgg16_msc:caffe", 8, 65'140'565 + 1'206'016, 125.95 + 2.03, 0.012, 321, 41},
    // v2.
    {"deeplab_v2_largefov_vgg16:caffe", 8, 20'505'429, 128.585, 0.0006, 513, 65},
    {"deeplab_v2_vgg16:caffe", 8, 37'877'652, 201.956, 0.0006, 513, 65},
    {"deeplab_v2_aspp_s_vgg16:caffe", 8, 37'877'652, 80.12, 0.006, 321, 41},
    {"deeplab_v2_largefov_resnet101:caffe", 8, 42'887'253, 183.98, 0.006, 513, 65},
    {"deeplab_v2_resnet101:caffe", 8, 44'048'532, 188.886, 0.0006, 513, 65},
    {"deeplab_v2_resnet101:caffe", 8, 44'048'532, 75.14, 0.006, 321, 41},
    {"deeplab_v2_resnet101_msc:caffe", 8, 44'048'532, 344.88, 0.006, 513, 65},
    {"deeplab_v2_resnet101_msc:caffe", 8, 44'048'532, 137.78, 0.006, 321, 41},
    {"deeplab_v2_resnet50:caffe", 8, 25'056'404, 108.87, 0.006, 513, 65},
    // v3, in TensorFlow's form.
    {"deeplab_v3_resnet50_beta:tf", 16, 39'172'309, 55.427, 0.0006, 513, 33},
    {"deeplab_v3_resnet50_beta:tf", 8, 39'172'309, 172.231, 0.0006, 513, 65},
    {"deeplab_v3_resnet101_beta:tf", 16, 58'164'437, 76.052, 0.0006, 513, 33},
    {"deeplab_v3_resnet101_beta:tf", 8, 58'164'437, 252.252, 0.0006, 513, 65},
    {"deeplab_v3_resnet101_beta:tf", 32, 58'164'437, 51.41, 0.006, 513, 17},
    {"deeplab_v3_resnet50:tf", 16, 39'048'533, 48.289, 0.0006, 513, 33},
    {"deeplab_v3_resnet101:tf", 16, 58'040'661, 68.914, 0.0006, 513, 33},
    {"deeplab_v3_xception65:tf", 16, 53'407'813, 64.92, 0.006, 513, 33},
    {"deeplab_v3_xception65:tf", 8, 53'407'813, 227.04, 0.006, 513, 65},
    // v3+.
    {"deeplab_v3plus_xception41:tf", 16, 28'108'661, 40.012, 0.0006, 513, 129},
    {"deeplab_v3plus_xception41:tf", 8, 28'108'661, 122.45, 0.006, 513, 129},
    {"deeplab_v3plus_xception65:tf", 16, 41'055'413, 54.035, 0.0006, 513, 129},
    {"deeplab_v3plus_xception65:tf", 8, 41'055'413, 176.85, 0.006, 513, 129},
    {"deeplab_v3plus_xception71:tf", 16, 43'477'837, 66.068, 0.0006, 513, 129},
    {"deeplab_v3plus_xception71:tf", 8, 43'477'837, 189.96, 0.006, 513, 129},
    {"deeplab_v3plus_plain_xception65:tf", 16, 54'711'461, 86.68, 0.006, 513, 129},
    {"deeplab_v3plus_resnet101_beta:tf", 32, 59'468'085, 73.17, 0.006, 513, 129},
    {"deeplab_v3plus_resnet101_beta:tf", 16, 59'468'085, 97.81, 0.006, 513, 129},
    {"deeplab_v3plus_resnet101_beta:tf", 8, 59'468'085, 273.99, 0.006, 513, 129},
    {"deeplab_v3plus_separable_resnet101_beta:tf", 16, 45'812'037, 65.17, 0.006, 513, 129},
    {"deeplab_v3plus_separable_resnet50_beta:tf", 16, 26'819'909, 44.54, 0.006, 513, 129},
    {"deeplab_v3plus_resnet50_beta:tf", 16, 40'475'957, 77.19, 0.006, 513, 129},
    {"deeplab_v3plus_resnet101:tf", 16, 59'344'309, 90.673, 0.0006, 513, 129},
    {"deeplab_v3plus_resnet101", 16, 59'344'309, 92.820, 0.0006, 513, 129},  // strides in the first units
    {"deeplab_v3plus_resnet50:vainf", 16, 39'761'845, 62.38, 0.006, 513, 129},
    {"deeplab_v3plus_resnet101:vainf", 16, 58'753'973, 83.01, 0.006, 513, 129},
    // Mobile.
    {"deeplab_v3_mobilenet_v2:tf", 16, 2'113'557, 2.741, 0.0006, 513, 33},
    {"deeplab_v3_mobilenet_v2:tf", 8, 2'113'557, 8.826, 0.0006, 513, 65},
    {"deeplab_v3_mobilenet_v2:tf", 16, 697'013, 0.867, 0.0006, 513, 33, false, 0.5},
    {"deeplab_v3_mobilenet_v2:tf", 8, 697'013, 2.819, 0.0006, 513, 65, false, 0.5},
    {"deeplab_v3plus_mobilenet_v2", 16, 5'816'053, 26.94, 0.006, 513, 129},
    // torchvision: 178.722 and 258.743 of its own table, with the auxiliary classifier.
    {"deeplab_v3_resnet50:torchvision", 8, 42'004'074, 178.722, 0.0006, 520, 65, true},
    {"deeplab_v3_resnet101:torchvision", 8, 60'996'202, 258.743, 0.0006, 520, 65, true},
    {"deeplab_v3_resnet50:torchvision", 8, 39'638'869, 168.653, 0.0006, 513, 65},
    {"deeplab_v3_resnet101:torchvision", 8, 58'630'997, 248.674, 0.0006, 513, 65},
    {"deeplab_v3_resnet50:vainf", 16, 39'638'869, 51.08, 0.006, 513, 33},
    {"deeplab_v3_resnet101:vainf", 16, 58'630'997, 71.70, 0.006, 513, 33},
    {"deeplabv3_mobilenet_v3_large:torchvision", 16, 11'029'328, 10.452, 0.0006, 520, 33, true},
    {"lraspp_mobilenet_v3_large:torchvision", 16, 3'221'538, 2.086, 0.0006, 520, 65},
    {"lraspp_mobilenet_v3_large:torchvision", 16, 3'221'538, 2.081, 0.0006, 513, 65},
};

}  // namespace

TEST_CASE("golden: every model has the published parameters and multiply-adds", "[models][golden]") {
  std::unique_ptr<Model> model;
  for (const Golden& row : kGolden) {
    INFO(row.name << " at output stride " << row.output_stride << ", " << row.side << " pixels");
    const std::string name = row.name;
    const auto colon = std::min(name.find(':'), name.size());
    model.reset();  // they are large: never two
    model = build({.name = name.substr(0, colon),
                   .convention = colon < name.size() ? name.substr(colon + 1) : "",
                   .classes = row.classes,
                   .output_stride = row.output_stride,
                   .width = row.width,
                   .auxiliary = row.auxiliary});
    layers::Summary summary;
    const Shape logits = model->trace({1, row.side, row.side, 3}, "", summary);
    CHECK(summary.parameters() == row.parameters);
    CHECK(giga(summary.macs()) == Approx(row.giga_macs).margin(row.margin));
    CHECK(logits == Shape{1, row.logits_side, row.logits_side, row.classes});
  }
}

TEST_CASE("golden: Cityscapes at 1025 x 2049", "[models][golden]") {
  const auto cost = [](const char* name) {
    return summarise(*build({.name = name, .convention = "tf", .classes = 19}), {1, 1025, 2049, 3});
  };
  const auto xception = cost("deeplab_v3plus_xception65");
  CHECK(xception.parameters() == 41'054'899);
  CHECK(giga(xception.macs()) == Approx(418.38).margin(0.006));
  const auto mobile = cost("deeplab_v3_mobilenet_v2");
  CHECK(mobile.parameters() == 2'113'043);
  CHECK(giga(mobile.macs()) == Approx(21.23).margin(0.006));
}

TEST_CASE("golden: backbones have the published sizes", "[models][golden]") {
  const BackboneOptions ours{.convention = &convention("")};
  const BackboneOptions tf{.convention = &convention("tf")};
  CHECK(MobileNetV2(ours).parameter_count() == 1'811'712);
  CHECK(MobileNetV3(ours).parameter_count() == 2'971'952);
  CHECK(ResNet(50, false, ours).parameter_count() == 23'508'032);
  CHECK(ResNet(101, false, ours).parameter_count() == 42'500'160);
  CHECK(ResNet(50, true, tf).parameter_count() == 23'631'808);
  CHECK(ResNet(101, true, tf).parameter_count() == 42'623'936);
  // ResNet-18 of 1000 classes has 11,689,512; its classifier 513,000.
  CHECK(ResNet(18, false, ours).parameter_count() == 11'176'512);
  CHECK(Xception(41, ours).parameter_count() == 24'920'560);
  CHECK(Xception(65, ours).parameter_count() == 37'867'312);
  CHECK(Xception(71, ours).parameter_count() == 40'289'736);
  CHECK(Vgg16(ours).parameter_count() == 14'714'688);  // of 138,357,544 with its three last layers
  CHECK(MobileNetV2({.width = 0.5, .convention = &convention("tf")}).parameter_count() == 477'088);
}

TEST_CASE("golden: a block of the cascade has 13.4 M parameters", "[models][golden]") {
  const auto cascade = build({.name = "deeplab_v3_cascade_resnet50"});
  CHECK(cascade->parameter_count() == 23'508'032 + 3 * 13'387'776 + (2048 + 1) * 21);
}

TEST_CASE("golden: MobileNet widths go to multiples of 8", "[models][golden]") {
  CHECK(scaled_channels(24, 0.5, {8, 8}) == 16);  // 8 would lose a third
  CHECK(scaled_channels(24, 0.5, {1, 1}) == 12);
  CHECK(scaled_channels(16, 0.25, {8, 8}) == 8);
  CHECK(scaled_channels(320, 1, {8, 8}) == 320);
  CHECK(scaled_channels(32, 1.4, {8, 8}) == 48);
}

TEST_CASE("golden: with atrous branches it is 4.52 M", "[models][golden]") {
  const Convention& rules = convention("");
  auto backbone = std::make_unique<MobileNetV2>(BackboneOptions{.convention = &rules});
  auto head = std::make_unique<DeepLabV3>(*backbone, HeadOptions{.convention = &rules}, true);
  const Model model({.name = "mobile", .convention = "atrous"}, std::move(backbone), std::move(head));
  const auto summary = summarise(model, {1, 513, 513, 3});
  CHECK(summary.parameters() == 4'523'541);
  CHECK(giga(summary.macs()) == Approx(5.364).margin(0.0005));
}

TEST_CASE("golden: the summary counts what the model has", "[models][golden]") {
  for (const std::string& name : names()) {
    for (const Convention& rules : conventions()) {
      INFO(name << ':' << rules.name);
      const auto model = build(
          {.name = name, .convention = rules.name, .output_stride = 8, .width = 0.02, .head_width = 0.02});
      CHECK(summarise(*model, {1, 65, 65, 3}).parameters() == model->parameter_count());
    }
  }
}

TEST_CASE("golden: trace() names the shape that forward() makes", "[models][golden]") {
  const NoGrad no_grad;
  for (const std::string& name : names()) {
    const bool deep = name.find("101") != name.npos || name.ends_with("_65") || name.ends_with("_71");
    for (const Convention& rules : conventions()) {
      if (deep && rules.name != "atrous") continue;
      const auto model = make(name + ":" + rules.name, {.classes = 3, .width = 0.02, .head_width = 0.02});
      model->eval();
      const Shape image = &rules == &conventions().front() ? Shape{2, 1, 20, 3} : Shape{1, 30, 17, 3};
      INFO(name << ':' << rules.name << ", image " << image);
      layers::Summary summary;
      const Shape traced = model->trace(image, "", summary);
      CHECK(model->forward(Variable(Tensor::zeros(image))).shape() == traced);
    }
  }
}

}  // namespace atrous::models
