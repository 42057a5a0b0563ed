#include "atrous/autograd/batch_norm.h"
#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/conv2d_branches.h"
#include "atrous/autograd/conv_transpose2d.h"
#include "atrous/autograd/depthwise_conv2d.h"
#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/gaussian_filter.h"
#include "atrous/autograd/layout.h"
#include "atrous/autograd/pool2d.h"
#include "atrous/autograd/reduce.h"
#include "atrous/autograd/resize.h"
#include "atrous/autograd/separable_conv2d.h"
#include "atrous/autograd/softmax.h"
#include "atrous/autograd/upsample.h"
#include "atrous/core/random.h"
#include "atrous/layers/adamw.h"
#include "atrous/layers/sgd.h"
#include "examples/support/self_check.h"

namespace atrous::examples {
namespace {

using Inputs = std::vector<Variable>;
using Call = std::function<Variable(const Inputs&)>;

SelfCase small(std::string operation, std::vector<SelfInput> inputs, Call call) {
  return {
      .operation = std::move(operation), .inputs = std::move(inputs), .call = std::move(call), .small = true};
}
SelfCase large(std::string operation, std::vector<SelfInput> inputs, Call call) {
  return {.operation = std::move(operation), .inputs = std::move(inputs), .call = std::move(call)};
}
SelfCase linear(SelfCase row) {
  row.linear = true;
  return row;
}
SelfCase labels(SelfCase row) {
  row.labels = true;
  row.small = false;
  for (SelfInput& input : row.inputs) input.differentiable = false;
  return row;
}

// A small map for finite differences, and one that fills vectors, blocks and tiles and leaves ragged ends.
const Shape kSmall = {2, 5, 7, 3}, kLarge = {3, 17, 31, 24}, kRagged = {2, 19, 23, 21};

void add_elementwise(std::vector<SelfCase>& rows) {
  const auto both = [&](const std::string& name, Values values, bool is_linear, const Call& call) {
    for (const Shape& shape : {kSmall, kLarge, kRagged}) {
      SelfCase row =
          shape == kSmall ? small(name, {{shape, values}}, call) : large(name, {{shape, values}}, call);
      row.linear = is_linear;
      rows.push_back(std::move(row));
    }
  };
  both("relu", Values::away_from_0, false, [](const Inputs& in) { return relu(in[0]); });
  both("relu6", Values::away_from_0_and_6, false, [](const Inputs& in) { return relu6(in[0]); });
  both("hard_swish", Values::normal, false, [](const Inputs& in) { return hard_swish(in[0]); });
  both("hard_sigmoid", Values::normal, false, [](const Inputs& in) { return hard_sigmoid(in[0]); });
  both("sigmoid", Values::normal, false, [](const Inputs& in) { return sigmoid(in[0]); });
  both("exp", Values::normal, false, [](const Inputs& in) { return exp(in[0]); });
  both("scale", Values::normal, true, [](const Inputs& in) { return scale(in[0], -1.7); });
  both("dropout", Values::normal, true,
       [](const Inputs& in) { return dropout(in[0], {.probability = 0.3, .seed = 5, .call = 2}); });
  both("dropout", Values::normal, true,
       [](const Inputs& in) { return dropout(in[0], {.probability = 0.3, .seed = 5, .channelwise = true}); });
  both("sum", Values::normal, true, [](const Inputs& in) { return sum(in[0]); });
  both("mean", Values::normal, true, [](const Inputs& in) { return mean(in[0]); });
  both("slice_channels", Values::normal, true, [](const Inputs& in) { return slice_channels(in[0], 1, 2); });
  both("pad", Values::normal, true, [](const Inputs& in) { return pad(in[0], {1, 2, 0, 3}); });
  both("pad", Values::normal, true, [](const Inputs& in) { return pad(in[0], {-1, 2, -2, 1}); });
  for (const Shape& shape : {kSmall, kLarge, kRagged}) {
    const auto make = shape == kSmall ? small : large;
    rows.push_back(make("add", {{shape}, {shape}}, [](const Inputs& in) { return add(in[0], in[1]); }));
    rows.push_back(
        linear(make("mul", {{shape}, {shape}}, [](const Inputs& in) { return mul(in[0], in[1]); })));
    rows.push_back(
        make("maximum", {{shape}, {shape}}, [](const Inputs& in) { return maximum(in[0], in[1]); }));
    rows.push_back(linear(make("scale_channels", {{shape}, {{shape[0], 1, 1, shape[3]}}},
                               [](const Inputs& in) { return scale_channels(in[0], in[1]); })));
    rows.push_back(make("concat_channels", {{shape}, {shape.with(3, 5)}, {shape.with(3, 8)}},
                        [](const Inputs& in) { return concat_channels(in); }));
  }
}

void add_convolutions(std::vector<SelfCase>& rows) {
  const auto conv = [](const Conv2dOptions& o) {
    return [o](const Inputs& in) { return conv2d(in[0], in[1], in.size() > 2 ? in[2] : Variable(), o); };
  };
  rows.push_back(small("conv2d", {{{2, 5, 7, 3}}, {{3, 3, 3, 4}}, {{4}}}, conv({.padding = 2, .rate = 2})));
  rows.push_back(linear(
      small("conv2d", {{{1, 6, 8, 3}}, {{3, 3, 3, 4}}}, conv({.stride = 2, .padding = {0, 1, 0, 1}}))));
  rows.push_back(linear(small("conv2d", {{{2, 3, 4, 5}}, {{1, 1, 5, 3}}}, conv({}))));
  rows.push_back(linear(small("conv2d", {{{1, 4, 5, 3}}, {{3, 3, 3, 4}}}, conv({.padding = 6, .rate = 6}))));
  rows.push_back(
      large("conv2d", {{{2, 17, 19, 64}}, {{3, 3, 64, 48}}, {{48}}}, conv({.padding = 6, .rate = 6})));
  rows.push_back(
      linear(large("conv2d", {{{2, 33, 33, 32}}, {{3, 3, 32, 64}}}, conv({.padding = 12, .rate = 12}))));
  rows.push_back(linear(large("conv2d", {{{1, 15, 13, 24}}, {{3, 3, 24, 21}}}, conv({.padding = 1}))));
  rows.push_back(
      linear(large("conv2d", {{{2, 31, 33, 3}}, {{7, 7, 3, 16}}}, conv({.stride = 2, .padding = 3}))));
  rows.push_back(linear(large("conv2d", {{{2, 9, 11, 96}}, {{1, 1, 96, 40}}}, conv({}))));

  const auto branches = [](const std::vector<Conv2dOptions>& o) {
    return [o](const Inputs& in) { return conv2d_branches(in[0], {in.begin() + 1, in.end()}, o); };
  };
  rows.push_back(small("conv2d_branches", {{{2, 5, 7, 3}}, {{1, 1, 3, 4}}, {{3, 3, 3, 2}}},
                       branches({{}, {.padding = 2, .rate = 2}})));
  rows.push_back(large("conv2d_branches",
                       {{{2, 17, 19, 64}}, {{1, 1, 64, 48}}, {{3, 3, 64, 48}}, {{3, 3, 64, 48}}},
                       branches({{}, {.padding = 3, .rate = 3}, {.padding = 6, .rate = 6}})));

  const auto depthwise = [](const Conv2dOptions& o) {
    return [o](const Inputs& in) {
      return depthwise_conv2d(in[0], in[1], in.size() > 2 ? in[2] : Variable(), o);
    };
  };
  rows.push_back(small("depthwise_conv2d", {{{2, 5, 7, 3}}, {{3, 3, 3, 1}}, {{3}}},
                       depthwise({.padding = 2, .rate = 2})));
  rows.push_back(linear(
      small("depthwise_conv2d", {{{1, 6, 5, 3}}, {{3, 3, 3, 2}}}, depthwise({.stride = 2, .padding = 1}))));
  rows.push_back(
      linear(large("depthwise_conv2d", {{{2, 33, 29, 64}}, {{3, 3, 64, 1}}}, depthwise({.padding = 1}))));
  rows.push_back(large("depthwise_conv2d", {{{2, 33, 29, 48}}, {{3, 3, 48, 1}}, {{48}}},
                       depthwise({.padding = 6, .rate = 6})));
  rows.push_back(linear(large("depthwise_conv2d", {{{1, 21, 23, 21}}, {{3, 3, 21, 1}}},
                              depthwise({.stride = 2, .padding = 1}))));
  rows.push_back(
      linear(large("depthwise_conv2d", {{{1, 13, 15, 16}}, {{5, 5, 16, 2}}}, depthwise({.padding = 2}))));

  const auto separable = [](const Inputs& in) {
    return separable_conv2d(in[0], in[1], in[2], {}, {.padding = 2, .rate = 2});
  };
  rows.push_back(
      linear(small("separable_conv2d", {{{1, 5, 6, 3}}, {{3, 3, 3, 1}}, {{1, 1, 3, 4}}}, separable)));
  rows.push_back(
      linear(large("separable_conv2d", {{{2, 17, 15, 32}}, {{3, 3, 32, 1}}, {{1, 1, 32, 24}}}, separable)));

  const auto transposed = [](const ConvTranspose2dOptions& o) {
    return [o](const Inputs& in) {
      return conv_transpose2d(in[0], in[1], in.size() > 2 ? in[2] : Variable(), o);
    };
  };
  rows.push_back(small("conv_transpose2d", {{{2, 3, 4, 3}}, {{4, 4, 2, 3}}, {{2}}},
                       transposed({.stride = 2, .padding = 1})));
  rows.push_back(linear(small("conv_transpose2d", {{{1, 3, 4, 2}}, {{3, 3, 3, 2}}},
                              transposed({.stride = 2, .padding = 1, .output_padding = 1}))));
  rows.push_back(linear(large("conv_transpose2d", {{{2, 9, 11, 21}}, {{4, 4, 21, 21}}},
                              transposed({.stride = 2, .padding = 1}))));
  rows.push_back(
      linear(large("conv_transpose2d", {{{2, 9, 7, 32}}, {{2, 2, 16, 32}}}, transposed({.stride = 2}))));
  rows.push_back(linear(
      large("conv_transpose2d", {{{1, 9, 7, 16}}, {{3, 3, 24, 16}}}, transposed({.padding = 1, .rate = 2}))));
}

void add_windows(std::vector<SelfCase>& rows) {
  const auto resize = [](std::int64_t h, std::int64_t w, bool corners) {
    return [=](const Inputs& in) {
      return resize_bilinear(in[0], {.out_h = h, .out_w = w, .align_corners = corners});
    };
  };
  rows.push_back(linear(small("resize_bilinear", {{kSmall}}, resize(9, 13, true))));
  rows.push_back(linear(small("resize_bilinear", {{kSmall}}, resize(12, 3, false))));
  rows.push_back(linear(large("resize_bilinear", {{{2, 17, 19, 21}}}, resize(65, 73, true))));
  rows.push_back(linear(large("resize_bilinear", {{{1, 9, 9, 32}}}, resize(33, 35, false))));

  const auto pools = [&](const auto& make, const Shape& shape) {
    rows.push_back(make("max_pool2d", {{shape, Values::distinct}}, [](const Inputs& in) {
      return max_pool2d(in[0], {.window = 3, .stride = 2, .padding = 1});
    }));
    rows.push_back(make("max_pool2d", {{shape, Values::distinct}}, [](const Inputs& in) {
      return max_pool2d(in[0], {.window = 2, .stride = 2, .ceil_mode = true});
    }));
    rows.push_back(linear(make("avg_pool2d", {{shape}}, [](const Inputs& in) {
      return avg_pool2d(in[0], {.window = 3, .stride = 2, .padding = 1, .count_include_pad = false});
    })));
    rows.push_back(linear(
        make("global_avg_pool2d", {{shape}}, [](const Inputs& in) { return global_avg_pool2d(in[0]); })));
  };
  pools(small, kSmall);
  pools(large, kLarge);
  pools(large, kRagged);

  const auto norm = [](BatchNormMode mode) {
    return [mode](const Inputs& in) {
      const Dtype kept = in[0].dtype() == Dtype::bf16 ? Dtype::f32 : in[0].dtype();
      const Device device = in[0].device();
      Tensor mean = Tensor::full(in[1].shape(), 0.25, kept, device),
             var = Tensor::full(in[1].shape(), 2, kept, device);
      return batch_norm(in[0], in[1], in[2], mean, var, {.mode = mode, .epsilon = 1e-3, .decay = 0.9});
    };
  };
  for (const BatchNormMode mode : {BatchNormMode::training, BatchNormMode::frozen}) {
    rows.push_back(small("batch_norm", {{kSmall}, {{3}}, {{3}}}, norm(mode)));
    rows.push_back(large("batch_norm", {{kLarge}, {{24}}, {{24}}}, norm(mode)));
    rows.push_back(large("batch_norm", {{kRagged}, {{21}}, {{21}}}, norm(mode)));
  }
}

// u8 [N, h, w] beside logits [N, .., .., C]; a sixth is not labelled.
Tensor labels_for(const Variable& logits, std::int64_t h, std::int64_t w) {
  Random random(11);
  Tensor t = Tensor::empty({logits.dim(0), h, w}, Dtype::u8);
  for (std::uint8_t& v : t.span<std::uint8_t>())
    v = random.below(6) == 0 ? 255 : std::uint8_t(random.below(logits.dim(3)));
  return t.to(logits.device());
}

void add_classes(std::vector<SelfCase>& rows) {
  const auto loss = [](double hard_fraction, bool weighted) {
    return [=](const Inputs& in) {
      Tensor weights;
      if (weighted) {
        weights = Tensor::empty({in[0].dim(3)});
        for (std::int64_t c = 0; c < weights.numel(); ++c) weights.span<float>()[c] = float(1 + c % 3) / 2;
      }
      return softmax_cross_entropy(
          in[0], labels_for(in[0], in[0].dim(1), in[0].dim(2)),
          {.class_weights = weights.to(in[0].device()), .hard_fraction = hard_fraction});
    };
  };
  for (const Shape& shape : {kSmall, kRagged, Shape{1, 9, 7, 150}}) {
    const auto make = shape == kSmall ? small : large;
    rows.push_back(make("softmax", {{shape}}, [](const Inputs& in) { return softmax(in[0]); }));
    rows.push_back(make("log_softmax", {{shape}}, [](const Inputs& in) { return log_softmax(in[0]); }));
    rows.push_back(make("softmax_cross_entropy", {{shape}}, loss(1, false)));
    rows.push_back(make("softmax_cross_entropy", {{shape}}, loss(1, true)));
    rows.push_back(labels(make("argmax_channels", {{shape}},
                               [](const Inputs& in) { return Variable(argmax_channels(in[0].value())); })));
    rows.push_back(labels(make("upsample_argmax", {{shape}}, [](const Inputs& in) {
      return Variable(upsample_argmax(in[0].value(), {.out_h = 33, .out_w = 29}));
    })));
  }
  rows.push_back(small("softmax_cross_entropy", {{kSmall, Values::distinct}}, loss(0.4, true)));

  const auto upsampled = [](std::int64_t h, std::int64_t w, bool corners) {
    return [=](const Inputs& in) {
      return upsample_cross_entropy(in[0], labels_for(in[0], h, w), {.align_corners = corners});
    };
  };
  rows.push_back(small("upsample_cross_entropy", {{kSmall}}, upsampled(11, 9, true)));
  rows.push_back(small("upsample_cross_entropy", {{kSmall}}, upsampled(10, 21, false)));
  rows.push_back(large("upsample_cross_entropy", {{{2, 17, 13, 21}}}, upsampled(65, 49, true)));
  rows.push_back(large("upsample_cross_entropy", {{{1, 9, 11, 150}}}, upsampled(33, 37, false)));
  rows.push_back(labels(large("upsample_confusion", {{{2, 17, 13, 21}}}, [](const Inputs& in) {
    return Variable(upsample_confusion(in[0].value(), labels_for(in[0], 65, 49)));
  })));
}

void add_filters(std::vector<SelfCase>& rows) {
  const auto filter = [](GaussianFilterOptions options) {
    return [=](const Inputs& in) { return gaussian_filter(in[0], in[1], options); };
  };
  const Shape features = kSmall.with(3, 2);
  for (const FilterMethod method : {FilterMethod::lattice, FilterMethod::exact})
    for (const Normalization n : {Normalization::none, Normalization::symmetric, Normalization::after})
      rows.push_back(
          small("gaussian_filter", {{kSmall}, {features}}, filter({.method = method, .normalization = n})));
  rows.push_back(large("gaussian_filter", {{kRagged}, {kRagged.with(3, 5)}}, filter({})));
  rows.push_back(small("spatial_gaussian", {{kSmall}, {{2}}}, [](const Inputs& in) {
    return spatial_gaussian(in[0], exp(in[1]), Normalization::symmetric);
  }));
  rows.push_back(large("spatial_gaussian", {{kRagged}, {{2}}},
                       [](const Inputs& in) { return spatial_gaussian(in[0], exp(in[1])); }));
  rows.back().tolerance = 1e-4;  // of the deviations' gradient, which is what differences of places leave
  rows.push_back(small("pixel_features", {{kSmall}, {{5}}},
                       [](const Inputs& in) { return pixel_features(in[0], exp(in[1])); }));
  rows.push_back(large("pixel_features", {{kRagged}, {{23}}},
                       [](const Inputs& in) { return pixel_features(in[0], exp(in[1])); }));
}

void add_optimisers(std::vector<SelfCase>& rows) {
  // Two steps on a weight with a gradient that stays; the result is the weight.
  const auto steps = [](const auto& make_optimiser) {
    return [=](const Inputs& in) {
      Variable weight(in[0].value().clone(), true);
      const auto optimiser =
          make_optimiser(layers::Parameter{"w", weight, layers::ParameterKind::conv_weight});
      for (int step = 0; step < 2; ++step) {
        weight.set_grad(in[1].value());
        optimiser->step();
      }
      return Variable(weight.value());
    };
  };
  const auto sgd = steps([](const layers::Parameter& p) {
    return std::make_shared<layers::Sgd>(
        std::vector{p},
        layers::SgdOptions{.lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.01});
  });
  const auto adamw = steps([](const layers::Parameter& p) {
    return std::make_shared<layers::AdamW>(std::vector{p},
                                           layers::AdamWOptions{.lr = 0.1, .weight_decay = 0.01});
  });
  for (const Shape& shape : {Shape{3, 3, 5, 7}, Shape{3, 3, 32, 64}}) {
    const SelfInput input{.shape = shape, .differentiable = false};
    rows.push_back(large("sgd", {input, input}, sgd));
    rows.push_back(large("adamw", {input, input}, adamw));
  }
}

}  // namespace

const std::vector<SelfCase>& self_cases() {
  static const std::vector<SelfCase> all = [] {
    std::vector<SelfCase> rows;
    add_elementwise(rows);
    add_convolutions(rows);
    add_windows(rows);
    add_classes(rows);
    add_filters(rows);
    add_optimisers(rows);
    return rows;
  }();
  return all;
}

}  // namespace atrous::examples
