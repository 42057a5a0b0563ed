#include <cmath>

#include "atrous/autograd/graph.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/models/registry.h"
#include "tests/support/catch.h"

// A network at output stride 8 is the network at output stride 32 on a denser grid: with the same weights
// every fourth pixel must agree, borders included (padding is symmetric, so taps land on the same grid).
// Multi-grid, which changes the function, is off.

namespace atrous::models {
namespace {

std::unique_ptr<Model> make_narrow(const std::string& name, std::int64_t output_stride,
                                   std::int64_t grid = 1) {
  auto model = make(name, {.classes = 2,
                           .output_stride = output_stride,
                           .width = 0.03,
                           .head_width = 0.02,
                           .multi_grid = {grid},
                           .auxiliary = false});
  // Conventions start their weights at several scales; here activations shall have a sensible one.
  for (layers::Parameter& p : model->named_parameters()) {
    if (p.variable.value().rank() != 4) continue;
    layers::Initialiser init = layers::Initialiser::he_fan_in();
    init.depthwise = p.kind == layers::ParameterKind::depthwise_weight;
    layers::initialise(p.variable.mutable_value(), init, 21, p.name);
  }
  return model;
}

void copy_state(const Model& from, Model& to) {
  const auto a = from.named_buffers();
  const auto b = to.named_buffers();
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].name == b[i].name);
    b[i].tensor->copy_from(*a[i].tensor);
  }
}

// The largest difference at the pixels that both maps have, over the largest value.
double gap_at_shared_pixels(const Tensor& coarse, const Tensor& dense, std::int64_t step) {
  const std::int64_t channels = coarse.dim(3);
  const Span<const float> a = coarse.span<float>(), b = dense.span<float>();
  double worst = 0, scale = 0;
  for (std::int64_t h = 0; h < coarse.dim(1); ++h)
    for (std::int64_t w = 0; w < coarse.dim(2); ++w)
      for (std::int64_t c = 0; c < channels; ++c) {
        const double x = double(a[(h * coarse.dim(2) + w) * channels + c]);
        const double y = double(b[(h * step * dense.dim(2) + w * step) * channels + c]);
        worst = std::max(worst, std::abs(x - y));
        scale = std::max(scale, std::abs(x));
      }
  REQUIRE(scale > 0.01);
  return worst / scale;
}

Variable noise() {
  Tensor pixels = Tensor::empty({1, 65, 97, 3});
  Random random(5);
  for (float& v : pixels.span<float>()) v = float(random.uniform(-1, 1));
  return Variable(pixels);
}

// A network this small is done before a second thread has woken.
struct OneThread {
  OneThread() { set_threads(1); }
  ~OneThread() { set_threads(before); }
  const int before = threads();
};

// The worst gap of a backbone at the output strides 16, 8 and 4 against 32.
double inconsistency(const std::string& name, std::int64_t coarse_grid = 1) {
  const OneThread one;
  const Variable image = noise();
  const auto coarse = make_narrow(name, 32, coarse_grid);
  const NoGrad no_grad;
  // Running statistics from a few passes, so that activations have a sensible size.
  for (int i = 0; i < 8; ++i) coarse->backbone().features(image);
  coarse->eval();
  const Tensor expected = coarse->backbone().features(image).high.value();
  REQUIRE(expected.shape() == Shape{1, 3, 4, coarse->backbone().high_channels()});
  double worst = 0;
  for (const std::int64_t stride : {16, 8, 4}) {
    const auto dense = make_narrow(name, stride);
    copy_state(*coarse, *dense);
    dense->eval();
    const Tensor got = dense->backbone().features(image).high.value();
    const std::int64_t step = 32 / stride;
    REQUIRE(got.shape() == Shape{1, 2 * step + 1, 3 * step + 1, expected.dim(3)});
    worst = std::max(worst, gap_at_shared_pixels(expected, got, step));
  }
  return worst;
}

}  // namespace

TEST_CASE("backbones: one function at every output stride", "[models][atrous]") {
  // Every backbone of v3 but MobileNetV3, whose excitation takes the mean over the grid that there is. VGG is
  // not among them: its poolings are not dilated.
  for (const std::string& name : names()) {
    if (!name.starts_with("deeplab_v3_") || name.ends_with("mobilenet_v3_large")) continue;
    const bool shallow = name.ends_with("resnet50") || name.ends_with("resnet18") || name.ends_with("_v2");
    for (const char* rules : {"atrous", "tf", "caffe"}) {
      if (!shallow && std::string(rules) != "atrous") continue;  // the same code, only longer
      INFO(name << ':' << rules);
      CHECK(inconsistency(name + ":" + rules) < 1e-4);
    }
  }
}

TEST_CASE("backbones: a wrong rate in the last stage shows", "[models][atrous]") {
  CHECK(inconsistency("deeplab_v3_resnet50", 2) > 1e-2);
}

}  // namespace atrous::models
