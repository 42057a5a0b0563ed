#include "bench/support/operation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "atrous/autograd/batch_norm.h"
#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/conv2d_branches.h"
#include "atrous/autograd/conv_transpose2d.h"
#include "atrous/autograd/depthwise_conv2d.h"
#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/gradcheck.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/pool2d.h"
#include "atrous/autograd/resize.h"
#include "atrous/autograd/separable_conv2d.h"
#include "atrous/autograd/softmax.h"
#include "atrous/autograd/upsample.h"
#include "atrous/core/error.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"

namespace atrous::bench {

using I = std::int64_t;

// On all threads: some of these hold half a thousand million numbers.
Tensor random_tensor(const Shape& shape, std::uint64_t stream) {
  Tensor t = Tensor::empty(shape);
  const Span<float> v = t.span<float>();
  parallel_for((v.size() + 3) / 4, 1 << 14, [&](I begin, I end) {
    for (I block = begin; block < end; ++block) {
      const auto words = philox(2026, stream, std::uint64_t(block));
      for (I i = 4 * block; i < std::min(4 * block + 4, v.size()); ++i)
        v[i] = 2 * uniform_from_bits(words[std::size_t(i % 4)]) - 1;
    }
  });
  return t;
}

namespace {

Variable random_leaf(const Shape& shape, std::uint64_t stream) {
  return Variable(random_tensor(shape, stream), true);
}

Tensor random_labels(const Shape& shape, I classes) {
  Random random(2026, 99);
  Tensor t = Tensor::empty(shape, Dtype::u8);
  for (std::uint8_t& v : t.span<std::uint8_t>())
    v = random.below(50) == 0 ? 255 : std::uint8_t(random.below(classes));
  return t;
}

const float* values(const Variable& v) { return std::as_const(v).value().span<float>().data(); }
double bytes_of(const Variable& v) { return double(v.value().bytes()); }

// x[n, h, w, c], zero outside of the image
struct Image {
  const float* data;
  I height, width, channels;
  double at(I n, I h, I w, I c) const {
    if (h < 0 || h >= height || w < 0 || w >= width) return 0;
    return data[((n * height + h) * width + w) * channels + c];
  }
};

struct Index {
  I n, h, w, c;
};
Index split(I i, I height, I width, I channels) {
  return {i / (height * width * channels), i / (width * channels) % height, i / channels % width,
          i % channels};
}

Operation convolution(const Layer& l, I batch) {
  const I pad = l.rate * (l.taps - 1) / 2;
  const Conv2dOptions options{.stride = l.stride, .padding = pad, .rate = l.rate};
  Conv2dOptions options_tf32 = options;
  options_tf32.allow_tf32 = true;
  const I out_h = (l.h + 2 * pad - l.rate * (l.taps - 1) - 1) / l.stride + 1;
  const I out_w = (l.w + 2 * pad - l.rate * (l.taps - 1) - 1) / l.stride + 1;
  const double pixels = double(batch * out_h * out_w);
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1)};
  const Image x{values(op.inputs[0]), l.h, l.w, l.channels};

  // The sum over the window for one output pixel and one input channel.
  const auto window = [=](const float* w, I n, I oh, I ow, I c, I stride_c, I k) {
    double sum = 0;
    for (I r = 0; r < l.taps; ++r)
      for (I s = 0; s < l.taps; ++s)
        sum += x.at(n, oh * l.stride + r * l.rate - pad, ow * l.stride + s * l.rate - pad, c) *
               w[((r * l.taps + s) * l.channels + c) * stride_c + k];
    return sum;
  };

  if (l.kind == Kind::conv) {
    op.inputs.push_back(random_leaf({l.taps, l.taps, l.channels, l.filters}, 2));
    op.call = [=](const auto& in) { return conv2d(in[0], in[1], {}, options); };
    op.call_tf32 = [=](const auto& in) { return conv2d(in[0], in[1], {}, options_tf32); };
    op.flops = 2 * pixels * double(l.taps * l.taps * l.channels * l.filters);
    op.reference = [=, w = values(op.inputs[1])](I i) {
      const auto [n, oh, ow, k] = split(i, out_h, out_w, l.filters);
      double sum = 0;
      for (I c = 0; c < l.channels; ++c) sum += window(w, n, oh, ow, c, l.filters, k);
      return sum;
    };
  } else {
    op.inputs.push_back(random_leaf({l.taps, l.taps, l.channels, 1}, 2));
    op.flops = 2 * pixels * double(l.taps * l.taps * l.channels);
    if (l.kind == Kind::depthwise) {
      op.call = [=](const auto& in) { return depthwise_conv2d(in[0], in[1], {}, options); };
      op.reference = [=, w = values(op.inputs[1])](I i) {
        const auto [n, oh, ow, c] = split(i, out_h, out_w, l.channels);
        return window(w, n, oh, ow, c, 1, 0);
      };
    } else {
      op.inputs.push_back(random_leaf({1, 1, l.channels, l.filters}, 3));
      op.call = [=](const auto& in) { return separable_conv2d(in[0], in[1], in[2], {}, options); };
      op.call_tf32 = [=](const auto& in) { return separable_conv2d(in[0], in[1], in[2], {}, options_tf32); };
      op.flops += 2 * pixels * double(l.channels * l.filters);
      op.reference = [=, w = values(op.inputs[1]), p = values(op.inputs[2])](I i) {
        const auto [n, oh, ow, k] = split(i, out_h, out_w, l.filters);
        double sum = 0;
        for (I c = 0; c < l.channels; ++c) sum += window(w, n, oh, ow, c, 1, 0) * p[c * l.filters + k];
        return sum;
      };
    }
  }
  const I out_channels = l.kind == Kind::depthwise ? l.channels : l.filters;
  op.bytes = 4 * pixels * double(out_channels);
  return op;
}

// A 1x1 window and three at rate, 2 rate and 3 rate, side by side.
Operation aspp(const Layer& l, I batch) {
  Operation op;
  op.sums_up = true;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1), random_leaf({1, 1, l.channels, l.filters}, 2)};
  for (const std::uint64_t k : {3, 4, 5})
    op.inputs.push_back(random_leaf({l.taps, l.taps, l.channels, l.filters}, k));
  const auto call = [=](bool tf32) {
    std::vector<Conv2dOptions> options{{.allow_tf32 = tf32}};
    for (const I rate : {l.rate, 2 * l.rate, 3 * l.rate})
      options.push_back({.padding = rate * (l.taps - 1) / 2, .rate = rate, .allow_tf32 = tf32});
    return [options](const auto& in) { return conv2d_branches(in[0], {in.begin() + 1, in.end()}, options); };
  };
  op.call = call(false);
  op.call_tf32 = call(true);
  const double pixels = double(batch * l.h * l.w);
  op.flops = 2 * pixels * double((1 + 3 * l.taps * l.taps) * l.channels * l.filters);
  op.bytes = 4 * pixels * double(4 * l.filters);
  const Image x{values(op.inputs[0]), l.h, l.w, l.channels};
  std::vector<const float*> weights;
  for (std::size_t b = 1; b < op.inputs.size(); ++b) weights.push_back(values(op.inputs[b]));
  op.reference = [=](I i) {
    const auto [n, oh, ow, side] = split(i, l.h, l.w, 4 * l.filters);
    const I branch = side / l.filters, k = side % l.filters, taps = branch == 0 ? 1 : l.taps,
            rate = std::max<I>(branch, 1) * l.rate, pad = rate * (taps - 1) / 2;
    double sum = 0;
    for (I r = 0; r < taps; ++r)
      for (I s = 0; s < taps; ++s)
        for (I c = 0; c < l.channels; ++c)
          sum += x.at(n, oh + r * rate - pad, ow + s * rate - pad, c) *
                 weights[std::size_t(branch)][((r * taps + s) * l.channels + c) * l.filters + k];
    return sum;
  };
  return op;
}

Operation transposed(const Layer& l, I batch) {
  const I pad = (l.taps - l.stride) / 2;
  const I out_h = (l.h - 1) * l.stride - 2 * pad + l.taps, out_w = (l.w - 1) * l.stride - 2 * pad + l.taps;
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1),
               random_leaf({l.taps, l.taps, l.filters, l.channels}, 2)};
  const auto call = [=](bool tf32) {
    return [=](const auto& in) {
      return conv_transpose2d(in[0], in[1], {}, {.stride = l.stride, .padding = pad, .allow_tf32 = tf32});
    };
  };
  op.call = call(false);
  op.call_tf32 = call(true);
  op.flops = 2 * double(batch * l.h * l.w) * double(l.taps * l.taps * l.channels * l.filters);
  op.bytes = 4 * double(batch * out_h * out_w * l.filters);
  const Image x{values(op.inputs[0]), l.h, l.w, l.channels};
  op.reference = [=, w = values(op.inputs[1])](I i) {
    const auto [n, oh, ow, k] = split(i, out_h, out_w, l.filters);
    double sum = 0;
    for (I r = 0; r < l.taps; ++r)
      for (I s = 0; s < l.taps; ++s) {
        const I ih = oh + pad - r, iw = ow + pad - s;
        if (ih % l.stride || iw % l.stride) continue;
        for (I c = 0; c < l.channels; ++c)
          sum += x.at(n, ih / l.stride, iw / l.stride, c) *
                 w[((r * l.taps + s) * l.filters + k) * l.channels + c];
      }
    return sum;
  };
  return op;
}

// Element (n, oh, ow, c) of x resized to side x side pixels, corners upon corners.
double interpolate(const Image& x, I side, const Index& at) {
  const double y = double(at.h) * double(x.height - 1) / double(side - 1),
               z = double(at.w) * double(x.width - 1) / double(side - 1);
  const I top = std::min(I(y), x.height - 2), left = std::min(I(z), x.width - 2);
  const double down = y - double(top), right = z - double(left);
  const auto row = [&](I h) {
    return (1 - right) * x.at(at.n, h, left, at.c) + right * x.at(at.n, h, left + 1, at.c);
  };
  return (1 - down) * row(top) + down * row(top + 1);
}

Operation bilinear(const Layer& l, I batch) {
  const I side = l.stride;
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1)};
  op.call = [=](const auto& in) {
    return resize_bilinear(in[0], {.out_h = side, .out_w = side, .align_corners = true});
  };
  op.flops = 6 * double(batch * side * side * l.channels);
  op.bytes = 4 * double(batch * side * side * l.channels);
  const Image x{values(op.inputs[0]), l.h, l.w, l.channels};
  op.reference = [=](I i) { return interpolate(x, side, split(i, side, side, l.channels)); };
  return op;
}

// With the addition of a residual behind it, of the same size, for batch_norm_add.
Operation normalisation(const Layer& l, I batch) {
  const bool adds = l.kind == Kind::batch_norm_add;
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1), random_leaf({l.channels}, 2),
               random_leaf({l.channels}, 3)};
  if (adds) op.inputs.push_back(random_leaf({batch, l.h, l.w, l.channels}, 4));
  // The running averages of each device and type stay from call to call, as a layer's do.
  const auto running = std::make_shared<std::map<std::pair<bool, Dtype>, std::pair<Tensor, Tensor>>>();
  op.call = [=](const auto& in) {
    const Dtype dtype = accumulator_dtype(in[0].dtype());
    auto& [mean, var] = (*running)[{in[0].device().is_cpu(), dtype}];
    if (!mean.defined()) {
      mean = Tensor::zeros({l.channels}, dtype, in[0].device());
      var = Tensor::full({l.channels}, 1, dtype, in[0].device());
    }
    return batch_norm(in[0], in[1], in[2], mean, var,
                      {.mode = BatchNormMode::training, .epsilon = 1e-5, .decay = 0.9},
                      adds ? in[3] : Variable());
  };
  const I pixels = batch * l.h * l.w;
  op.flops = (adds ? 9 : 8) * double(pixels * l.channels);
  op.bytes = 4 * double(pixels * l.channels);
  op.reference = [=, x = values(op.inputs[0]), gamma = values(op.inputs[1]), beta = values(op.inputs[2]),
                  residual = adds ? values(op.inputs[3]) : values(op.inputs[2])](I i) {
    const I c = i % l.channels;
    double mean = 0, var = 0;
    for (I p = 0; p < pixels; ++p) mean += x[p * l.channels + c];
    mean /= double(pixels);
    for (I p = 0; p < pixels; ++p) var += std::pow(x[p * l.channels + c] - mean, 2);
    var /= double(pixels);
    return gamma[c] * (x[i] - mean) / std::sqrt(var + 1e-5) + beta[c] + (adds ? residual[i] : 0);
  };
  return op;
}

// The largest value or the mean of each window; what lies in the padding is 0 to the mean, which it counts.
Operation pooling(const Layer& l, I batch) {
  const bool largest = l.kind == Kind::max_pool;
  const I pad = (l.taps - 1) / 2;
  const I out_h = (l.h + 2 * pad - l.taps) / l.stride + 1, out_w = (l.w + 2 * pad - l.taps) / l.stride + 1;
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1)};
  op.call = [=](const auto& in) {
    return largest ? max_pool2d(in[0], {.window = l.taps, .stride = l.stride, .padding = pad})
                   : avg_pool2d(in[0], {.window = l.taps, .stride = l.stride, .padding = pad});
  };
  op.linear = !largest;
  op.flops = double(batch * out_h * out_w * l.channels) * double(l.taps * l.taps);
  op.bytes = 4 * double(batch * out_h * out_w * l.channels);
  const Image x{values(op.inputs[0]), l.h, l.w, l.channels};
  op.reference = [=](I i) {
    const auto [n, oh, ow, c] = split(i, out_h, out_w, l.channels);
    double sum = 0, most = -INFINITY;
    for (I h = oh * l.stride - pad; h < oh * l.stride - pad + l.taps; ++h)
      for (I w = ow * l.stride - pad; w < ow * l.stride - pad + l.taps; ++w) {
        sum += x.at(n, h, w, c);
        if (h >= 0 && h < l.h && w >= 0 && w < l.w) most = std::max(most, x.at(n, h, w, c));
      }
    return largest ? most : sum / double(l.taps * l.taps);
  };
  return op;
}

Operation global_pooling(const Layer& l, I batch) {
  const I pixels = l.h * l.w;
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1)};
  op.call = [](const auto& in) { return global_avg_pool2d(in[0]); };
  op.flops = double(batch * pixels * l.channels);
  op.bytes = 4 * double(batch * l.channels);
  op.reference = [=, x = values(op.inputs[0])](I i) {
    double sum = 0;
    for (I p = 0; p < pixels; ++p) sum += x[(i / l.channels * pixels + p) * l.channels + i % l.channels];
    return sum / double(pixels);
  };
  return op;
}

Operation channel_scaling(const Layer& l, I batch) {
  const I image = l.h * l.w * l.channels;
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1), random_leaf({batch, 1, 1, l.channels}, 2)};
  op.call = [](const auto& in) { return scale_channels(in[0], in[1]); };
  op.flops = double(batch * image);
  op.bytes = 4 * double(batch * image);
  op.reference = [=, x = values(op.inputs[0]), factors = values(op.inputs[1])](I i) {
    return double(x[i]) * factors[i / image * l.channels + i % l.channels];
  };
  return op;
}

Operation hard_swishing(const Layer& l, I batch) {
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1)};
  op.call = [](const auto& in) { return hard_swish(in[0]); };
  op.linear = false;
  op.flops = 4 * double(batch * l.h * l.w * l.channels);
  op.bytes = 4 * double(batch * l.h * l.w * l.channels);
  op.reference = [=, x = values(op.inputs[0])](I i) {
    return x[i] * std::min(std::max(double(x[i]) + 3, 0.0), 6.0) / 6;
  };
  return op;
}

// The labels in the place of the logits, copied there once.
std::function<const Tensor&(const Variable&)> labels_beside(const Tensor& labels) {
  const auto on_device = std::make_shared<Tensor>();
  return [=](const Variable& logits) -> const Tensor& {
    if (logits.device().is_cpu()) return labels;
    if (!on_device->defined()) *on_device = labels.to(logits.device());
    return *on_device;
  };
}

// The mean over the labelled pixels of log(sum of exp) less the logit of the label.
double mean_loss(const Tensor& labels, I classes, const std::function<double(I pixel, I c)>& logit) {
  const Span<const std::uint8_t> label = labels.span<std::uint8_t>();
  double sum = 0;
  I valid = 0;
  for (I p = 0; p < label.size(); ++p) {
    if (label[p] == 255) continue;
    double total = 0;
    for (I c = 0; c < classes; ++c) total += std::exp(logit(p, c));
    sum += std::log(total) - logit(p, label[p]);
    ++valid;
  }
  return sum / double(valid);
}

Operation cross_entropy(const Layer& l, I batch) {
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1)};
  const Tensor labels = random_labels({batch, l.h, l.w}, l.channels);
  op.call = [beside = labels_beside(labels)](const auto& in) {
    return softmax_cross_entropy(in[0], beside(in[0]), {.ignore_label = 255});
  };
  const I pixels = batch * l.h * l.w;
  op.flops = 10 * double(pixels * l.channels);
  op.bytes = double(pixels);  // the labels; the logits are added below, and the loss is one number
  op.reference = [=, x = values(op.inputs[0])](I) {
    return mean_loss(labels, l.channels, [&](I p, I c) { return double(x[p * l.channels + c]); });
  };
  return op;
}

Operation upsample_loss(const Layer& l, I batch) {
  const I side = l.stride, pixels = batch * side * side;
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1)};
  const Tensor labels = random_labels({batch, side, side}, l.channels);
  op.call = [beside = labels_beside(labels)](const auto& in) {
    return upsample_cross_entropy(in[0], beside(in[0]), {.loss = {.ignore_label = 255}});
  };
  op.flops = 16 * double(pixels * l.channels);
  op.bytes = double(pixels);
  const Image x{values(op.inputs[0]), l.h, l.w, l.channels};
  op.reference = [=](I) {
    return mean_loss(labels, l.channels, [&](I p, I c) {
      return interpolate(x, side, {p / (side * side), p / side % side, p % side, c});
    });
  };
  return op;
}

Operation upsample_labels(const Layer& l, I batch) {
  const I side = l.stride;
  Operation op;
  op.inputs = {random_leaf({batch, l.h, l.w, l.channels}, 1)};
  op.call = [=](const auto& in) {
    return Variable(upsample_argmax(in[0].value(), {.out_h = side, .out_w = side, .align_corners = true}));
  };
  op.flops = 7 * double(batch * side * side * l.channels);
  op.bytes = double(batch * side * side);
  const Image x{values(op.inputs[0]), l.h, l.w, l.channels};
  op.reference = [=](I i) {
    const auto logit = [&](I c) {
      return interpolate(x, side, {i / (side * side), i / side % side, i % side, c});
    };
    I best = 0;
    for (I c = 1; c < l.channels; ++c)
      if (logit(c) > logit(best)) best = c;
    return double(best);
  };
  return op;
}

double largest(const Tensor& t) {
  double m = 0;
  for (const float v : t.span<float>()) m = std::max(m, double(std::abs(v)));
  return m;
}

std::vector<Tensor> gradients(const Operation& op, Dtype dtype) {
  std::vector<Variable> inputs;
  for (const Variable& v : op.inputs) inputs.emplace_back(v.value().to(dtype), true);
  const Variable y = op.call(inputs);
  Random random(3);
  Tensor seed = Tensor::empty(y.shape());
  for (float& v : seed.span<float>()) v = float(random.uniform(-1, 1));
  y.backward(seed.to(dtype));
  std::vector<Tensor> result;
  for (const Variable& v : inputs) result.push_back(v.grad().to(Dtype::f32));
  return result;
}

}  // namespace

Operation make_operation(const Layer& layer, std::int64_t batch) {
  Operation op = [&] {
    switch (layer.kind) {
      case Kind::conv:
      case Kind::depthwise:
      case Kind::separable:
        return convolution(layer, batch);
      case Kind::aspp:
        return aspp(layer, batch);
      case Kind::transposed:
        return transposed(layer, batch);
      case Kind::bilinear:
        return bilinear(layer, batch);
      case Kind::batch_norm:
      case Kind::batch_norm_add:
        return normalisation(layer, batch);
      case Kind::max_pool:
      case Kind::avg_pool:
        return pooling(layer, batch);
      case Kind::global_pool:
        return global_pooling(layer, batch);
      case Kind::scale_channels:
        return channel_scaling(layer, batch);
      case Kind::hard_swish:
        return hard_swishing(layer, batch);
      case Kind::cross_entropy:
        return cross_entropy(layer, batch);
      case Kind::upsample_loss:
        return upsample_loss(layer, batch);
      case Kind::upsample_argmax:
        return upsample_labels(layer, batch);
    }
    fail<ValueError>("bench", "unknown kind of layer");
  }();
  op.linear = op.linear && layer.kind != Kind::batch_norm && layer.kind != Kind::batch_norm_add &&
              layer.kind != Kind::cross_entropy && layer.kind != Kind::upsample_loss &&
              layer.kind != Kind::upsample_argmax;
  op.differentiable = layer.kind != Kind::upsample_argmax;
  for (const Variable& v : op.inputs) op.bytes += bytes_of(v);
  return op;
}

void check_operation(const std::string& name, const Operation& op) {
  Tensor y;
  {
    const NoGrad no_grad;
    y = op.call(op.inputs).value().to(Dtype::f32);  // labels are of 8 bits
  }
  const Span<const float> got = std::as_const(y).span<float>();
  const double scale = std::max(largest(y), 1e-6);
  const I samples = std::min<I>(y.numel(), 200);
  for (I k = 0; k < samples; ++k) {
    const I i = k * (y.numel() - 1) / std::max<I>(samples - 1, 1);
    const double want = op.reference(i);
    ATROUS_CHECK(Error, std::abs(got[i] - want) <= 2e-5 * scale, name, "element ", i, " of the result is ",
                 got[i], ", the formula says ", want);
  }
  if (!op.differentiable) return;
  if (op.linear) {
    for (std::size_t k = 0; k < (op.sums_up ? 1 : op.inputs.size()); ++k) {
      const CheckResult result = adjoint_check(op.call, op.inputs, int(k));
      ATROUS_CHECK(Error, result.passed, name, "gradient of input ", k, ": ", result.message);
    }
    return;
  }
  const auto floats = gradients(op, Dtype::f32), doubles = gradients(op, Dtype::f64);
  for (std::size_t k = 0; k < floats.size(); ++k) {
    const double bound = 2e-5 * std::max(largest(doubles[k]), 1e-12);
    const Span<const float> f = std::as_const(floats[k]).span<float>(),
                            d = std::as_const(doubles[k]).span<float>();
    for (I i = 0; i < f.size(); ++i)
      ATROUS_CHECK(Error, std::abs(f[i] - d[i]) <= bound, name, "gradient of input ", k, ", entry ", i, ": ",
                   f[i], " in float, ", d[i], " in double");
  }
}

}  // namespace atrous::bench
