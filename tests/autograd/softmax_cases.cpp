#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "atrous/autograd/softmax.h"
#include "tests/support/op_case.h"

namespace atrous::tests {
namespace {

double log_sum_exp(const Reference& x, std::int64_t p) {
  const std::int64_t classes = x.shape[x.shape.rank() - 1];
  const double* logits = x.values.data() + p * classes;
  const double largest = *std::max_element(logits, logits + classes);
  double sum = 0;
  for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(logits[c] - largest);
  return std::log(sum) + largest;
}

OpCase softmax_row(const char* name, const Shape& x, bool logarithm) {
  return {.op = logarithm ? Op::log_softmax : Op::softmax,
          .name = name,
          .inputs = {{"x", x}},
          .call = [logarithm](const auto& in) { return logarithm ? log_softmax(in[0]) : softmax(in[0]); },
          .reference =
              [logarithm](const auto& in) {
                Reference y = in[0];
                const std::int64_t classes = y.shape[y.shape.rank() - 1];
                for (std::int64_t i = 0; i < y.shape.numel(); ++i) {
                  double& v = y.values[std::size_t(i)];
                  v -= log_sum_exp(in[0], i / classes);
                  if (!logarithm) v = std::exp(v);
                }
                return y;
              }};
}

// Every 5th pixel is ignored, the others run through the classes. By the pixel's number, so that any batch
// has its labels; the pixel in the middle is never an ignored one (the ladder puts a NaN there).
std::int64_t label_of(std::int64_t p, std::int64_t classes, std::optional<std::int64_t> ignored) {
  return ignored && p % 5 == 3 ? *ignored : p * 7 % classes;
}

struct Loss {
  Dtype labels = Dtype::u8;
  std::vector<double> class_weights = {};
  double hard_fraction = 1;
  std::optional<std::int64_t> ignore_label = 255;  // none: pixels have labels of classes alone
};

Tensor labels_for(const Variable& logits, const Loss& how) {
  std::vector<std::int32_t> v;
  const Shape pixels{logits.dim(0), logits.dim(1), logits.dim(2)};
  for (std::int64_t p = 0; p < pixels.numel(); ++p)
    v.push_back(std::int32_t(label_of(p, logits.dim(3), how.ignore_label)));
  return Tensor::from(pixels, v).to(how.labels);
}

Reference mean_loss(const Reference& logits, const Loss& how) {
  const std::int64_t classes = logits.shape[3], pixels = logits.shape.numel() / classes;
  std::vector<std::pair<double, double>> valid;  // weighted loss, weight
  for (std::int64_t p = 0; p < pixels; ++p) {
    const std::int64_t label = label_of(p, classes, how.ignore_label);
    if (label == how.ignore_label) continue;
    const double w = how.class_weights.empty() ? 1 : how.class_weights[std::size_t(label)];
    valid.push_back({w * (log_sum_exp(logits, p) - logits.values[std::size_t(p * classes + label)]), w});
  }
  std::stable_sort(valid.begin(), valid.end(), [](auto a, auto b) { return a.first > b.first; });
  valid.resize(std::size_t(std::ceil(how.hard_fraction * double(valid.size()))));
  double sum = 0, total = 0;
  for (const auto& [loss, weight] : valid) sum += loss, total += weight;
  Reference y{Shape()};
  y.values[0] = sum / total;
  return y;
}

OpCase loss_row(const char* name, const Shape& logits, const Loss& how) {
  return {.op = Op::softmax_cross_entropy,
          .name = name,
          .inputs = {{"logits", logits}},
          .call =
              [how](const auto& in) {
                CrossEntropyOptions options{.ignore_label = how.ignore_label,
                                            .hard_fraction = how.hard_fraction};
                if (!how.class_weights.empty())
                  options.class_weights =
                      Tensor::from({std::int64_t(how.class_weights.size())}, how.class_weights);
                return softmax_cross_entropy(in[0], labels_for(in[0], how).to(in[0].device()), options);
              },
          .reference = [how](const auto& in) { return mean_loss(in[0], how); }};
}

std::vector<double> weights(std::int64_t classes) {
  std::vector<double> v;
  for (std::int64_t c = 0; c < classes; ++c) v.push_back(0.25 * double((c + 1) % 7));
  return v;
}

const OpCases cases({
    softmax_row("21 classes", {2, 3, 5, 21}, false),
    softmax_row("one class", {2, 3, 1}, false),
    softmax_row("700 classes, rank 2", {5, 700}, false),
    softmax_row("6 classes", {2, 3, 5, 6}, true),
    softmax_row("65 classes", {1, 4, 5, 65}, true),
    loss_row("21 classes", {2, 5, 7, 21}, {}),
    loss_row("11 classes, i32 labels", {2, 9, 11, 11}, {.labels = Dtype::i32}),
    loss_row("6 classes, more than one chunk of pixels", {2, 25, 29, 6}, {}),
    loss_row("one class", {1, 3, 4, 1}, {}),
    loss_row("600 classes", {1, 3, 4, 600}, {.labels = Dtype::i32}),
    loss_row("class weights, some of them 0", {2, 5, 6, 9}, {.class_weights = weights(9)}),
    loss_row("the hardest third of the pixels", {2, 5, 7, 4}, {.hard_fraction = 1.0 / 3}),
    loss_row("class weights and the hardest half", {2, 5, 7, 17},
             {.class_weights = weights(17), .hard_fraction = 0.5}),
    loss_row("another label to ignore", {2, 5, 7, 6}, {.ignore_label = 200}),
    loss_row("a class to ignore", {2, 5, 7, 6}, {.ignore_label = 2}),
    loss_row("no label to ignore", {2, 5, 7, 6}, {.ignore_label = std::nullopt}),
});

}  // namespace
}  // namespace atrous::tests
