#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/layout.h"
#include "atrous/autograd/reduce.h"
#include "atrous/core/error.h"
#include "atrous/core/random.h"
#include "atrous/layers/aspp.h"
#include "atrous/layers/observer.h"
#include "atrous/layers/pool2d.h"
#include "tests/support/catch.h"

namespace atrous::layers {
namespace {

constexpr BatchNormConstants kConstants{.epsilon = 1e-3};

Tensor normal(const Shape& shape, std::uint64_t seed) {
  Tensor t = Tensor::empty(shape);
  Random random(seed);
  for (float& v : t.span<float>()) v = float(random.normal());
  return t;
}

void draw_statistics(Module& m) {
  std::uint64_t seed = 100;
  for (const Buffer& b : m.named_buffers()) {
    if (b.kind != BufferKind::statistic) continue;
    Random random(++seed);
    for (float& v : b.tensor->span<float>()) v = float(random.uniform(0.5, 2));
  }
  for (Parameter& p : m.named_parameters()) {
    if (p.kind != ParameterKind::batch_norm) continue;
    Random random(++seed);
    for (float& v : p.variable.mutable_value().span<float>()) v = float(random.uniform(0.5, 2));
  }
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double worst = 0, scale = 1e-30;
  const Span<const float> x = a.span<float>(), y = b.span<float>();
  for (std::int64_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, std::abs(double(x[i]) - y[i]));
    scale = std::max(scale, std::abs(double(y[i])));
  }
  return worst / scale;
}

}  // namespace

TEST_CASE("conv_bn: folded for inference it is the same function", "[layers][conv_bn]") {
  const bool depthwise = GENERATE(false, true);
  const std::int64_t stride = GENERATE(1, 2), taps = GENERATE(1, 3), out = GENERATE(8, 16);
  const Activation activation =
      GENERATE(Activation::none, Activation::relu, Activation::relu6, Activation::hard_swish);
  ConvBn layer({.in_channels = 8,
                .out_channels = out,
                .taps = taps,
                .stride = stride,
                .rate = 2,
                .depthwise = depthwise},
               activation, kConstants);
  layer.initialise(5);
  draw_statistics(layer);
  layer.eval();
  const Variable x(normal({2, 9, 7, 8}, 3));
  const Tensor unfolded = layer.forward(x).value();
  const NoGrad no_grad;
  const Tensor folded = layer.forward(x).value();
  Summary summary;
  CHECK(folded.shape() == layer.trace(x.shape(), "", summary));
  CHECK(largest_difference(folded, unfolded) < 1e-5);
  const Variable residual(normal(folded.shape(), 4));
  const Tensor added = layer.forward(x, residual).value();
  layer.prepare_inference();
  CHECK(identical(layer.forward(x).value(), folded));
  CHECK(identical(layer.forward(x, residual).value(), added));
  CHECK_THROWS_AS(layer.forward(x, Variable(Tensor::zeros({2, 9, 7, 9}))), ShapeError);
  layer.train();
  layer.eval();
  CHECK(identical(layer.forward(x, residual).value(), added));
  {
    const ForwardObserver observer([](const Module&, const Variable&) {});
    CHECK(identical(layer.forward(x, residual).value(), added));  // step by step, for who wants to see them
  }
  layer.to(Dtype::f64);
  const Variable x64(x.value().to(Dtype::f64)), residual64(residual.value().to(Dtype::f64));
  CHECK(largest_difference(layer.forward(x64).value().to(Dtype::f32), unfolded) < 1e-5);
  CHECK(largest_difference(layer.forward(x64, residual64).value().to(Dtype::f32), added) < 1e-5);
}

TEST_CASE("conv_bn: folded or not, it refuses another number of channels", "[layers][conv_bn]") {
  ConvBn layer({.in_channels = 8, .out_channels = 16}, Activation::relu, kConstants);
  const Variable x(Tensor::zeros({1, 4, 4, 7}));
  CHECK_THROWS_AS(layer.forward(x), ShapeError);
  layer.eval();
  const NoGrad no_grad;
  CHECK_THROWS_AS(layer.forward(x), ShapeError);
  CHECK_THROWS_AS(layer.forward(Variable(Tensor::zeros({1, 4, 4, 8}, Dtype::f64))), DtypeError);
}

TEST_CASE("conv_bn: statistics follow the batch in training mode only", "[layers][conv_bn]") {
  ConvBn layer({.in_channels = 3, .out_channels = 4}, Activation::none, kConstants);
  layer.initialise(5);
  const Variable x(normal({2, 5, 5, 3}, 4));
  const Tensor start = layer.bn().running_mean().clone();
  layer.eval();
  layer.forward(x);
  CHECK(identical(layer.bn().running_mean(), start));
  layer.train();
  layer.freeze_batch_norm();
  layer.forward(x);
  CHECK(identical(layer.bn().running_mean(), start));
  layer.freeze_batch_norm(false);
  const Variable y = layer.forward(x);
  CHECK_FALSE(identical(layer.bn().running_mean(), start));
  // Normalised by the batch: mean 0 and variance near 1 in each channel.
  const Span<const float> v = y.value().span<float>();
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < v.size(); i += 4) {
    sum += v[i];
    squares += double(v[i]) * v[i];
  }
  CHECK(std::abs(sum / 50) < 1e-5);
  CHECK(squares / 50 == Approx(1).epsilon(0.05));
}

TEST_CASE("layers: trace() names the shape that forward() makes", "[layers][summary]") {
  const std::int64_t h = GENERATE(1, 6, 33), taps = GENERATE(1, 3), stride = GENERATE(1, 2),
                     rate = GENERATE(1, 3);
  const Shape in{1, h, h + 3, 4};
  const Variable x(Tensor::full(in, 1));
  Summary summary;
  ConvBn dense({.in_channels = 4, .out_channels = 6, .taps = taps, .stride = stride, .rate = rate},
               Activation::relu, kConstants);
  CHECK(dense.trace(in, "x", summary) == dense.forward(x).shape());
  SeparableConvBn separable(
      {.in_channels = 4, .out_channels = 6, .taps = taps, .stride = stride, .rate = rate}, Activation::relu,
      kConstants);
  CHECK(separable.trace(in, "x", summary) == separable.forward(x).shape());
  for (const bool ceil : {false, true}) {
    MaxPool2d pool({.window = 3, .stride = stride, .padding = 1, .ceil_mode = ceil});
    CHECK(pool.trace(in, "x", summary) == pool.forward(x).shape());
    AvgPool2d average({.window = 3, .stride = stride, .padding = 1, .ceil_mode = ceil});
    CHECK(average.trace(in, "x", summary) == average.forward(x).shape());
  }
  CHECK(GlobalAvgPool2d().trace(in, "x", summary) == GlobalAvgPool2d().forward(x).shape());
}

TEST_CASE("layers: trace() refuses what forward() refuses", "[layers][summary]") {
  Summary summary;
  Conv2d conv({.in_channels = 4, .out_channels = 6, .taps = 5, .padding = 0});
  CHECK_THROWS_AS(conv.trace({1, 9, 9, 3}, "x", summary), ShapeError);
  CHECK_THROWS_AS(conv.trace({1, 4, 9, 4}, "x", summary), ShapeError);
  CHECK_THROWS_AS(Conv2d({.in_channels = 4, .out_channels = 6, .depthwise = true}), ValueError);
}

TEST_CASE("dropout: masks are a function of seed and call", "[layers][dropout]") {
  const Variable x(Tensor::full({1, 8, 8, 16}, 1));
  Dropout layer(0.25);
  layer.initialise(9);
  const Tensor first = layer.forward(x).value(), second = layer.forward(x).value();
  CHECK_FALSE(identical(first, second));

  Dropout again(0.25);
  again.initialise(9);
  CHECK(identical(again.forward(x).value(), first));

  // What a resumed run does: the buffer alone carries on.
  Dropout resumed(0.25);
  resumed.named_buffers()[0].tensor->copy_from(*again.named_buffers()[0].tensor);
  CHECK(resumed.named_buffers()[0].kind == BufferKind::counter);
  CHECK(identical(resumed.forward(x).value(), second));

  layer.eval();
  CHECK(identical(layer.forward(x).value(), x.value()));
  double sum = 0;
  for (const float v : first.span<float>()) sum += v;
  CHECK(sum / 1024 == Approx(1).margin(0.06));
  CHECK_THROWS_AS(Dropout(1.0), ValueError);
}

TEST_CASE("conv_bn: side by side the layers do what each does by itself", "[layers][conv_bn]") {
  const bool batch = GENERATE(true, false);
  // The same layers twice: names and seeds decide on their numbers.
  const auto make = [&](std::int64_t out, std::int64_t taps, std::int64_t rate, std::uint64_t seed) {
    auto layer = std::make_unique<ConvBn>(
        Conv2dSettings{.in_channels = 6, .out_channels = out, .taps = taps, .rate = rate}, Activation::relu,
        kConstants);
    layer->initialise(seed);
    draw_statistics(*layer);
    layer->train(batch);
    return layer;
  };
  const std::unique_ptr<ConvBn> alone[] = {make(4, 1, 1, 1), make(8, 3, 2, 2), make(4, 3, 3, 3)},
                                together[] = {make(4, 1, 1, 1), make(8, 3, 2, 2), make(4, 3, 3, 3)};
  const std::vector<ConvBn*> layers = {together[0].get(), together[1].get(), together[2].get()};
  REQUIRE(ConvBn::side_by_side(layers));
  const Tensor image = normal({2, 5, 4, 6}, 8);

  const auto run = [&](bool at_once) {
    const Variable x(image, true);
    const Variable y =
        at_once ? ConvBn::forward_side_by_side(layers, x)
                : concat_channels({alone[0]->forward(x), alone[1]->forward(x), alone[2]->forward(x)});
    y.backward(normal(y.shape(), 9));
    return std::pair{y.value(), x.grad()};
  };
  const auto [y, dx] = run(true);
  const auto [y_alone, dx_alone] = run(false);
  CHECK(largest_difference(y, y_alone) < 1e-6);
  CHECK(largest_difference(dx, dx_alone) < 1e-5);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto parameters = layers[i]->named_parameters(), truth = alone[i]->named_parameters();
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      INFO("layer " << i << ", " << parameters[k].name);
      CHECK(largest_difference(parameters[k].variable.grad(), truth[k].variable.grad()) < 1e-5);
    }
    const auto buffers = layers[i]->named_buffers(), true_buffers = alone[i]->named_buffers();
    for (std::size_t k = 0; k < buffers.size(); ++k) {
      INFO("layer " << i << ", " << buffers[k].name);
      CHECK(largest_difference(*buffers[k].tensor, *true_buffers[k].tensor) < 1e-6);
    }
  }

  // Folded, into channels of a wider tensor, from 2 on.
  const NoGrad no_grad;
  Tensor wide = Tensor::full({2, 5, 4, 19}, 3);
  for (ConvBn* layer : layers) layer->eval();
  ConvBn::evaluate_side_by_side(layers, image, 2, wide);
  std::vector<Variable> parts = {Variable(Tensor::full({2, 5, 4, 2}, 3))};
  for (ConvBn* layer : layers) parts.push_back(layer->forward(Variable(image)));
  parts.emplace_back(Tensor::full({2, 5, 4, 1}, 3));
  CHECK(identical(wide, concat_channels(parts).value()));
}

TEST_CASE("aspp: rates follow the output stride", "[layers][aspp]") {
  using Rates = std::vector<std::int64_t>;
  CHECK(aspp_rates(16) == Rates{6, 12, 18});
  CHECK(aspp_rates(8) == Rates{12, 24, 36});
  CHECK(aspp_rates(32) == Rates{3, 6, 9});
  CHECK_THROWS_AS(aspp_rates(12), ValueError);
}

TEST_CASE("aspp: the heads of the papers have the published sizes", "[layers][aspp]") {
  CHECK(Aspp({.in_channels = 2048, .rates = {6, 12, 18}}).parameter_count() == 15'535'104);
  CHECK(Aspp({.in_channels = 2048, .rates = {6, 12, 18}, .separable = true}).parameter_count() == 3'019'776);
  CHECK(Aspp({.in_channels = 320}).parameter_count() == 301'845 - 256 * 21 - 21);
}

TEST_CASE("aspp: branches that write their own channels have the bits of a concatenation", "[layers][aspp]") {
  const bool separable = GENERATE(false, true), pooling_first = GENERATE(false, true);
  Aspp aspp({.in_channels = 9,
             .channels = 20,
             .rates = {2, 4},
             .separable = separable,
             .pooling_first = pooling_first});
  aspp.initialise(3);
  aspp.eval();
  const NoGrad no_grad;
  const Variable x(normal({2, 11, 7, 9}, 4));
  const Tensor in_place = aspp.forward(x).value();
  const ForwardObserver observer([](const Module&, const Variable&) {});  // whoever looks sees every branch
  CHECK(identical(aspp.forward(x).value(), in_place));
}

TEST_CASE("aspp: one image trains, the pooled branch included", "[layers][aspp]") {
  Aspp aspp({.in_channels = 6, .channels = 8, .rates = {6, 12}});
  aspp.initialise(2);
  const Variable x(normal({1, 5, 4, 6}, 8), true);
  const Variable y = aspp.forward(x);
  CHECK(y.shape() == Shape{1, 5, 4, 8});
  Summary summary;
  CHECK(aspp.trace(x.shape(), "aspp", summary) == y.shape());
  CHECK(summary.parameters() == aspp.parameter_count());
  sum(y).backward();
  for (const Parameter& p : aspp.named_parameters()) {
    INFO(p.name);
    REQUIRE(p.variable.grad().defined());
    for (const float v : p.variable.grad().span<float>()) REQUIRE(std::isfinite(v));
  }
}

TEST_CASE("conv_bn: in bf16 it keeps f32 statistics and computes what f32 does", "[layers]") {
  ConvBn layer({.in_channels = 8, .out_channels = 16, .taps = 3}, Activation::relu, kConstants);
  layer.initialise(4);
  Random random(9);
  Tensor image = Tensor::empty({2, 5, 6, 8});
  for (float& v : image.span<float>()) v = float(random.uniform(-1, 1));
  const auto outputs = [&](Dtype dtype) {
    layer.train();
    const Variable y = layer.forward(Variable(image.to(dtype)));
    sum(y).backward();
    for (const Parameter& p : layer.named_parameters()) CHECK(p.variable.grad().dtype() == dtype);
    layer.eval();
    const NoGrad no_grad;
    return std::pair{y.value().to(Dtype::f32),
                     layer.forward(Variable(image.to(dtype))).value().to(Dtype::f32)};
  };
  const auto wide = outputs(Dtype::f32);
  layer.to(Dtype::bf16);
  for (const Buffer& b : layer.named_buffers()) CHECK(b.tensor->dtype() == Dtype::f32);
  const auto narrow = outputs(Dtype::bf16);
  // Rounded to 8 bits several times over; values reach 3. The second pass moves the statistics a little
  // further.
  for (std::int64_t i = 0; i < image.dim(0) * 5 * 6 * 16; ++i) {
    CHECK(std::abs(narrow.first.span<float>()[i] - wide.first.span<float>()[i]) < 0.05f);
    CHECK(std::abs(narrow.second.span<float>()[i] - wide.second.span<float>()[i]) < 0.15f);
  }
}

TEST_CASE("aspp: the pooled branch is the same value everywhere", "[layers][aspp]") {
  Aspp aspp({.in_channels = 3, .channels = 4});
  aspp.initialise(2);
  aspp.eval();
  // With a constant image every pixel sees the same: so must the output.
  const Tensor y = aspp.forward(Variable(Tensor::full({1, 4, 6, 3}, 0.7))).value();
  const Span<const float> v = y.span<float>();
  for (std::int64_t i = 4; i < v.size(); ++i) CHECK(v[i] == v[i % 4]);
}

}  // namespace atrous::layers
