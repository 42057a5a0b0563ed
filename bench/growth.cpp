#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "atrous/autograd/batch_norm.h"
#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/depthwise_conv2d.h"
#include "atrous/autograd/graph.h"
#include "atrous/autograd/resize.h"
#include "atrous/autograd/separable_conv2d.h"
#include "atrous/autograd/softmax.h"
#include "atrous/autograd/upsample.h"
#include "atrous/core/memory.h"
#include "atrous/core/parallel.h"
#include "atrous/core/random.h"
#include "atrous/models/registry.h"

// atrous_growth: does the cost grow as the work does? Times one operation at sizes from small to large, and
// prints a table in markdown: the time, the time for a unit of work (a pixel, a multiply-add, a class of a
// pixel), how that compares with the size before, and the most memory that tensors took. A step up of more
// than 1.3 is a cliff.
//
//   atrous_growth [--threads=2] [--seconds=0.2] [--only=WORD]     --only: of the tables' titles

namespace atrous::bench {
namespace {

constexpr double kCliff = 1.3;

struct Settings {
  double seconds = 0.2;
  std::string only;
};

using I = std::int64_t;
using Call = std::function<void()>;

// One size: its name, its units of work, and what makes the call (inputs are made when its turn comes).
struct Size {
  std::string name;
  double units;
  std::function<Call()> prepare;
};

Tensor noise(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  const Span<float> values = x.span<float>();
  parallel_for(values.size(), 1 << 14, [&](I begin, I end) {
    for (I i = begin; i < end; ++i)
      values[i] = 2 * uniform_from_bits(random_bits(7, 0, std::uint64_t(i))) - 1;
  });
  return x;
}

Tensor random_labels(const Shape& shape, I classes) {
  Tensor t = Tensor::empty(shape, Dtype::u8);
  Random random(8);
  for (std::uint8_t& v : t.span<std::uint8_t>()) v = std::uint8_t(random.below(classes));
  return t;
}

// The least time of a call, after one that takes fresh memory; the machine has other work.
double least_seconds(const Call& call, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  call();
  double best = 1e9;
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < 3 || since(begin) < seconds; ++i) {
    const Clock::time_point start = Clock::now();
    call();
    best = std::min(best, since(start));
  }
  return best;
}

void table(const Settings& settings, const std::string& title, const std::string& unit,
           const std::vector<Size>& sizes) {
  if (title.find(settings.only) == std::string::npos) return;
  std::printf(
      "\n**%s**\n\n| size | ms | ns a %s | to the one before | peak MB | |\n"
      "| --- | --- | --- | --- | --- | --- |\n",
      title.c_str(), unit.c_str());
  double before = 0;
  for (const Size& size : sizes) {
    trim_memory();
    reset_memory_peak();
    double seconds = 0;
    {
      const Call call = size.prepare();
      seconds = least_seconds(call, settings.seconds);
      for (int again = 0; again < 4 && before > 0 && 1e9 * seconds / size.units > kCliff * before; ++again)
        seconds = std::min(seconds, least_seconds(call, settings.seconds));  // a cliff, or other work?
    }
    const double each = 1e9 * seconds / size.units, step = before > 0 ? each / before : 0;
    std::printf("| %s | %.3g | %.4g | ", size.name.c_str(), 1e3 * seconds, each);
    if (step > 0) std::printf("%.2f", step);
    std::printf(" | %.0f | %s |\n", double(memory_stats().peak) / 1e6, step > kCliff ? "cliff" : "");
    std::fflush(stdout);
    before = each;
  }
}

// ---- the operations, each from the sizes of its input

Call convolution(I h, I w, I channels, I filters, I taps, I rate) {
  const Variable x(noise({1, h, w, channels})), weight(noise({taps, taps, channels, filters}));
  return [=] { conv2d(x, weight, {}, {.padding = rate * (taps - 1) / 2, .rate = rate}); };
}
Call depthwise(I h, I w, I channels, I rate) {
  const Variable x(noise({1, h, w, channels})), weight(noise({3, 3, channels, 1}));
  return [=] { depthwise_conv2d(x, weight, {}, {.padding = rate, .rate = rate}); };
}
Call separable(I h, I w, I channels) {
  const Variable x(noise({1, h, w, channels})), weight(noise({3, 3, channels, 1})),
      pointwise(noise({1, 1, channels, channels}));
  return [=] { separable_conv2d(x, weight, pointwise, {}, {.padding = 1}); };
}
// To four times the sides.
Call bilinear(I h, I w, I channels) {
  const Variable x(noise({1, h, w, channels}));
  return [=] { resize_bilinear(x, {.out_h = 4 * h - 3, .out_w = 4 * w - 3, .align_corners = true}); };
}
Call norm(I h, I w, I channels) {
  const Variable x(noise({1, h, w, channels}), true), gamma(Tensor::full({channels}, 1), true),
      beta(Tensor::full({channels}, 0), true);
  Tensor mean = Tensor::zeros({channels}), var = Tensor::full({channels}, 1);
  const Tensor seed = Tensor::full(x.shape(), 1);
  return [=]() mutable {
    batch_norm(x, gamma, beta, mean, var, {.activation = Activation::relu}).backward(seed);
    for (Variable v : {x, gamma, beta}) v.zero_grad();
  };
}
Call cross_entropy(I h, I w, I classes) {
  const Variable logits(noise({1, h, w, classes}), true);
  const Tensor truth = random_labels({1, h, w}, classes);
  return [=] {
    softmax_cross_entropy(logits, truth).backward();
    Variable(logits).zero_grad();
  };
}
Call fused_cross_entropy(I h, I w, I classes) {
  const Variable logits(noise({1, h, w, classes}), true);
  const Tensor truth = random_labels({1, 4 * h - 3, 4 * w - 3}, classes);
  return [=] {
    upsample_cross_entropy(logits, truth, {.align_corners = true}).backward();
    Variable(logits).zero_grad();
  };
}
Call fused_argmax(I h, I w, I classes) {
  const Tensor logits = noise({1, h, w, classes});
  return [=] { upsample_argmax(logits, {.out_h = 4 * h - 3, .out_w = 4 * w - 3, .align_corners = true}); };
}
Call network(const char* name, I h, I w, I classes) {
  const std::shared_ptr<models::Model> model = models::make(name, {.classes = classes});
  model->prepare_inference({.release_weights = true});
  const Variable x(noise({1, h, w, 3}));
  return [=] {
    const NoGrad no_grad;
    model->forward(x);
  };
}

// ---- the tables

struct Map {
  I h, w;
};
constexpr Map kMaps[] = {{129, 129}, {257, 129},  {257, 257},   {513, 257},
                         {513, 513}, {1025, 513}, {1025, 1025}, {2049, 1025}};
constexpr I kChannels[] = {16, 21, 24, 32, 48, 64, 96, 128, 160, 256, 304, 512, 728, 1024, 1536, 2048};
constexpr I kClasses[] = {2, 3, 4, 6, 8, 11, 16, 19, 21, 32, 60, 64, 100, 150};

void by_pixels(const Settings& s, const std::string& title, const std::function<Call(I, I)>& make) {
  std::vector<Size> sizes;
  for (const Map& m : kMaps)
    sizes.push_back(
        {std::to_string(m.h) + "x" + std::to_string(m.w), double(m.h * m.w), [=] { return make(m.h, m.w); }});
  table(s, "By pixels: " + title, "pixel", sizes);
}

// `power` 2: the work grows with the square of the channels.
void by_channels(const Settings& s, const std::string& title, int power, double pixels,
                 const std::function<Call(I)>& make) {
  std::vector<Size> sizes;
  for (const I c : kChannels)
    sizes.push_back({std::to_string(c), pixels * double(power == 2 ? c * c : c), [=] { return make(c); }});
  table(s, "By channels: " + title, power == 2 ? "pair of channels of a pixel" : "channel of a pixel", sizes);
}

void by_classes(const Settings& s, const std::string& title, double pixels,
                const std::function<Call(I)>& make) {
  std::vector<Size> sizes;
  for (const I c : kClasses)
    sizes.push_back({std::to_string(c), pixels * double(c), [=] { return make(c); }});
  table(s, "By classes: " + title, "class of a pixel", sizes);
}

void all(const Settings& s) {
  for (const I rate : {1, 2, 12})
    by_pixels(s, "3x3, 64 to 64 channels, rate " + std::to_string(rate),
              [=](I h, I w) { return convolution(h, w, 64, 64, 3, rate); });
  by_pixels(s, "1x1, 64 to 64 channels", [](I h, I w) { return convolution(h, w, 64, 64, 1, 1); });
  by_pixels(s, "depthwise 3x3, 64 channels", [](I h, I w) { return depthwise(h, w, 64, 1); });
  by_pixels(s, "separable 3x3, 64 to 64 channels", [](I h, I w) { return separable(h, w, 64); });
  by_pixels(s, "bilinear, 64 channels, from a quarter of the sides",
            [](I h, I w) { return bilinear((h + 3) / 4, (w + 3) / 4, 64); });
  by_pixels(s, "batch norm and relu, training, forward and backward, 32 channels",
            [](I h, I w) { return norm(h, w, 32); });
  by_pixels(s, "cross entropy, forward and backward, 21 classes",
            [](I h, I w) { return cross_entropy(h, w, 21); });
  by_pixels(s, "upsampling and cross entropy, forward and backward, 21 classes",
            [](I h, I w) { return fused_cross_entropy((h + 3) / 4, (w + 3) / 4, 21); });
  by_pixels(s, "deeplab_v3plus_mobilenet_v2, a forward pass",
            [](I h, I w) { return network("deeplab_v3plus_mobilenet_v2", h, w, 21); });

  constexpr double kSmall = 33 * 33;
  for (const I rate : {1, 2, 12})
    by_channels(s, "3x3, C to C, 33x33, rate " + std::to_string(rate), 2, kSmall,
                [=](I c) { return convolution(33, 33, c, c, 3, rate); });
  by_channels(s, "1x1, C to C, 33x33", 2, kSmall, [](I c) { return convolution(33, 33, c, c, 1, 1); });
  by_channels(s, "separable 3x3, C to C, 33x33", 2, kSmall, [](I c) { return separable(33, 33, c); });
  by_channels(s, "depthwise 3x3, 65x65", 1, 65 * 65, [](I c) { return depthwise(65, 65, c, 1); });
  by_channels(s, "depthwise 3x3, rate 12, 65x65", 1, 65 * 65, [](I c) { return depthwise(65, 65, c, 12); });
  by_channels(s, "bilinear, 33x33 to 129x129", 1, 129 * 129, [](I c) { return bilinear(33, 33, c); });
  by_channels(s, "batch norm and relu, training, forward and backward, 65x65", 1, 65 * 65,
              [](I c) { return norm(65, 65, c); });

  constexpr double kLarge = 513 * 513;
  by_classes(s, "1x1 from 256 channels, 129x129", 129 * 129,
             [](I k) { return convolution(129, 129, 256, k, 1, 1); });
  by_classes(s, "bilinear, 129x129 to 513x513", kLarge, [](I k) { return bilinear(129, 129, k); });
  by_classes(s, "cross entropy, forward and backward, 513x513", kLarge,
             [](I k) { return cross_entropy(513, 513, k); });
  by_classes(s, "upsampling and cross entropy, forward and backward, 129x129 to 513x513", kLarge,
             [](I k) { return fused_cross_entropy(129, 129, k); });
  by_classes(s, "upsampling and argmax, 129x129 to 513x513", kLarge,
             [](I k) { return fused_argmax(129, 129, k); });
}

int run(int argc, char** argv) {
  Settings settings;
  int team = 2;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string flag = argument.substr(0, argument.find('=') + 1), value = argument.substr(flag.size());
    if (flag == "--threads=") {
      team = std::atoi(value.c_str());
    } else if (flag == "--seconds=") {
      settings.seconds = std::atof(value.c_str());
    } else if (flag == "--only=") {
      settings.only = value;
    } else {
      std::cerr << "atrous_growth: [--threads=N] [--seconds=S] [--only=WORD], not " << argument << '\n';
      return 2;
    }
  }
  if (team < 1 || settings.seconds < 0) {
    std::cerr << "atrous_growth: --threads is at least 1, --seconds at least 0\n";
    return 2;
  }
  set_threads(team);
  std::printf("%d threads; the least time of several calls.\n", team);
  all(settings);
  return 0;
}

}  // namespace
}  // namespace atrous::bench

int main(int argc, char** argv) {
  try {
    return atrous::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "atrous_growth: " << error.what() << '\n';
    return 1;
  }
}
