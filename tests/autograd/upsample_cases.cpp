#include <algorithm>
#include <cmath>
#include <optional>

#include "atrous/autograd/upsample.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

struct Way {
  std::int64_t out_h, out_w;
  bool align_corners = true;
  Dtype labels = Dtype::u8;
  std::vector<double> class_weights = {};
  double hard_fraction = 1;
  std::optional<std::int64_t> ignore_label = 255;  // none: pixels have labels of classes alone
};

// Every 5th pixel is ignored, the others run through the classes: by the pixel's number, whatever the batch.
std::int64_t label_of(std::int64_t p, std::int64_t classes, std::optional<std::int64_t> ignored) {
  return ignored && p % 5 == 3 ? *ignored : p * 7 % classes;
}

// The place on the input's axis that output o maps to.
double place_of(std::int64_t o, std::int64_t in, std::int64_t out, bool align_corners) {
  const double s = align_corners ? (out > 1 ? double(o) * double(in - 1) / double(out - 1) : 0.0)
                                 : (double(o) + 0.5) * double(in) / double(out) - 0.5;
  return std::min(std::max(s, 0.0), double(in - 1));
}

// The resized logits of one pixel: hats of width 1 around its place.
std::vector<double> logits_at(const Reference& x, const Way& way, std::int64_t n, std::int64_t oh,
                              std::int64_t ow) {
  const double sh = place_of(oh, x.shape[1], way.out_h, way.align_corners),
               sw = place_of(ow, x.shape[2], way.out_w, way.align_corners);
  std::vector<double> z(std::size_t(x.shape[3]), 0.0);
  for (std::int64_t h = 0; h < x.shape[1]; ++h)
    for (std::int64_t w = 0; w < x.shape[2]; ++w) {
      const double weight =
          std::max(0.0, 1 - std::abs(sh - double(h))) * std::max(0.0, 1 - std::abs(sw - double(w)));
      for (std::int64_t c = 0; c < x.shape[3]; ++c) z[std::size_t(c)] += weight * x.at(n, h, w, c);
    }
  return z;
}

Reference mean_loss(const Reference& x, const Way& way) {
  std::vector<std::pair<double, double>> valid;  // weighted loss, weight
  for (std::int64_t p = 0; p < x.shape[0] * way.out_h * way.out_w; ++p) {
    const std::int64_t label = label_of(p, x.shape[3], way.ignore_label);
    if (label == way.ignore_label) continue;
    const auto z = logits_at(x, way, p / (way.out_h * way.out_w), p / way.out_w % way.out_h, p % way.out_w);
    const double largest = *std::max_element(z.begin(), z.end());
    double sum = 0;
    for (const double v : z) sum += std::exp(v - largest);
    const double w = way.class_weights.empty() ? 1 : way.class_weights[std::size_t(label)];
    valid.push_back({w * (std::log(sum) + largest - z[std::size_t(label)]), w});
  }
  std::stable_sort(valid.begin(), valid.end(), [](auto a, auto b) { return a.first > b.first; });
  valid.resize(std::size_t(std::ceil(way.hard_fraction * double(valid.size()))));
  double sum = 0, total = 0;
  for (const auto& [loss, weight] : valid) sum += loss, total += weight;
  Reference y{Shape()};
  y.values[0] = sum / total;
  return y;
}

OpCase row(const char* name, const Shape& logits, const Way& way) {
  return {.op = Op::upsample_cross_entropy,
          .name = name,
          .inputs = {{"logits", logits}},
          .call =
              [way](const auto& in) {
                std::vector<std::int32_t> labels;
                const Shape pixels{in[0].dim(0), way.out_h, way.out_w};
                for (std::int64_t p = 0; p < pixels.numel(); ++p)
                  labels.push_back(std::int32_t(label_of(p, in[0].dim(3), way.ignore_label)));
                UpsampleLossOptions options{
                    .loss = {.ignore_label = way.ignore_label, .hard_fraction = way.hard_fraction},
                    .align_corners = way.align_corners};
                if (!way.class_weights.empty())
                  options.loss.class_weights =
                      Tensor::from({std::int64_t(way.class_weights.size())}, way.class_weights);
                return upsample_cross_entropy(
                    in[0], Tensor::from(pixels, labels).to(way.labels).to(in[0].device()), options);
              },
          .reference = [way](const auto& in) { return mean_loss(in[0], way); }};
}

OpCase skipping(OpCase made) {  // shrinks: a NaN may lie between the pixels read
  made.nan_passes = false;
  return made;
}

const OpCases cases({
    row("4 times larger", {2, 5, 4, 3}, {17, 13}),
    row("21 classes, sizes without a common factor", {1, 5, 4, 21}, {13, 11}),
    row("half-pixel centres, i32 labels", {2, 4, 5, 7},
        {.out_h = 9, .out_w = 20, .align_corners = false, .labels = Dtype::i32}),
    row("the same size", {1, 4, 6, 5}, {4, 6}),
    row("more coarse rows than chunks", {1, 19, 3, 4}, {37, 5}),
    row("from a single pixel", {2, 1, 1, 6}, {5, 7}),
    row("wider than a block of columns", {1, 2, 5, 2}, {3, 300}),
    row("600 classes", {1, 2, 3, 600}, {.out_h = 3, .out_w = 5, .labels = Dtype::i32}),
    skipping(row("rows shrink", {1, 9, 3, 4}, {4, 7})),
    row("class weights, some of them 0", {1, 4, 5, 5},
        {.out_h = 7, .out_w = 9, .class_weights = {0, 0.5, 1, 2, 0.25}}),
    row("the hardest third of the pixels", {2, 3, 4, 4}, {.out_h = 5, .out_w = 7, .hard_fraction = 1.0 / 3}),
    row("class weights and the hardest half", {1, 4, 3, 6},
        {.out_h = 13, .out_w = 9, .class_weights = {1, 2, 0.5, 0.25, 1, 3}, .hard_fraction = 0.5}),
    row("a class to ignore", {1, 4, 5, 5}, {.out_h = 7, .out_w = 9, .ignore_label = 2}),
    row("no label to ignore", {1, 4, 5, 5}, {.out_h = 7, .out_w = 9, .ignore_label = std::nullopt}),
});

}  // namespace
}  // namespace atrous::tests
