#include "atrous/models/metrics.h"

#include <cmath>
#include <limits>

#include "atrous/core/error.h"

namespace atrous::models {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double mean_of_present(const std::vector<double>& values) {
  double sum = 0;
  std::int64_t present = 0;
  for (const double v : values)
    if (!std::isnan(v)) {
      sum += v;
      ++present;
    }
  return present ? sum / double(present) : kNone;
}

}  // namespace

ConfusionMatrix::ConfusionMatrix(std::int64_t classes, std::optional<std::int64_t> ignore_label)
    : classes_(classes), ignore_label_(ignore_label) {
  ATROUS_CHECK(ValueError, classes >= 1 && classes <= 65536, "confusion_matrix", classes, " classes");
  counts_.assign(std::size_t(classes * classes), 0);
}

void ConfusionMatrix::add(const Tensor& truth, const Tensor& prediction) {
  ATROUS_CHECK(ShapeError, truth.shape() == prediction.shape(), "confusion_matrix", "truth ", truth.shape(),
               " and prediction ", prediction.shape(), " differ");
  std::vector<std::int64_t> counts(counts_.size(), 0);
  std::int64_t ignored = 0;
  visit_label(truth.dtype(), [&]<class T>() {
    visit_label(prediction.dtype(), [&]<class P>() {
      const Span<const T> t = truth.span<T>();
      const Span<const P> p = prediction.span<P>();
      for (std::int64_t i = 0; i < t.size(); ++i) {
        const auto from = std::int64_t(t[i]), to = std::int64_t(p[i]);
        ATROUS_CHECK(ValueError, to >= 0 && to < classes_, "confusion_matrix", "prediction at pixel ", i,
                     " of ", prediction.shape(), " is ", to, "; classes are 0..", classes_ - 1);
        if (ignore_label_ && from == *ignore_label_) {
          ++ignored;
          continue;
        }
        ATROUS_CHECK(ValueError, from >= 0 && from < classes_, "confusion_matrix", "true label at pixel ", i,
                     " of ", truth.shape(), " is ", from, "; classes are 0..", classes_ - 1);
        ++counts[std::size_t(from * classes_ + to)];
      }
    });
  });
  for (std::size_t i = 0; i < counts.size(); ++i) counts_[i] += counts[i];
  ignored_ += ignored;
}

void ConfusionMatrix::add(std::int64_t truth, std::int64_t prediction, std::int64_t pixels) {
  ATROUS_CHECK(ValueError,
               truth >= 0 && truth < classes_ && prediction >= 0 && prediction < classes_ && pixels >= 0,
               "confusion_matrix", pixels, " pixels of class ", truth, " predicted as ", prediction, " of ",
               classes_, " classes");
  counts_[std::size_t(truth * classes_ + prediction)] += pixels;
}

void ConfusionMatrix::add_counts(const Tensor& counts, std::int64_t ignored) {
  ATROUS_CHECK(ShapeError, counts.shape() == Shape({classes_, classes_}), "confusion_matrix", "counts ",
               counts.shape(), " for ", classes_, " classes");
  const Tensor here = counts.to(kCpu);
  const Span<const std::int64_t> added = here.span<std::int64_t>();
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += added[std::int64_t(i)];
  ignored_ += ignored;
}

void ConfusionMatrix::merge(const ConfusionMatrix& other) {
  ATROUS_CHECK(ValueError, classes_ == other.classes_, "confusion_matrix", classes_, " classes merged with ",
               other.classes_);
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  ignored_ += other.ignored_;
}

std::int64_t ConfusionMatrix::count(std::int64_t truth, std::int64_t prediction) const {
  ATROUS_CHECK(ValueError, truth >= 0 && truth < classes_ && prediction >= 0 && prediction < classes_,
               "confusion_matrix", "no cell (", truth, ", ", prediction, ") among ", classes_, " classes");
  return counts_[std::size_t(truth * classes_ + prediction)];
}

std::int64_t ConfusionMatrix::total() const {
  std::int64_t sum = 0;
  for (const std::int64_t c : counts_) sum += c;
  return sum;
}

std::int64_t ConfusionMatrix::row(std::int64_t truth) const {
  std::int64_t sum = 0;
  for (std::int64_t p = 0; p < classes_; ++p) sum += counts_[std::size_t(truth * classes_ + p)];
  return sum;
}

std::int64_t ConfusionMatrix::column(std::int64_t prediction) const {
  std::int64_t sum = 0;
  for (std::int64_t t = 0; t < classes_; ++t) sum += counts_[std::size_t(t * classes_ + prediction)];
  return sum;
}

std::vector<double> ConfusionMatrix::class_iou() const {
  std::vector<double> iou;
  for (std::int64_t c = 0; c < classes_; ++c) {
    const std::int64_t both = count(c, c), either = row(c) + column(c) - both;
    iou.push_back(either ? double(both) / double(either) : kNone);
  }
  return iou;
}

std::vector<double> ConfusionMatrix::class_accuracy() const {
  std::vector<double> accuracy;
  for (std::int64_t c = 0; c < classes_; ++c) {
    const std::int64_t pixels = row(c);
    accuracy.push_back(pixels ? double(count(c, c)) / double(pixels) : kNone);
  }
  return accuracy;
}

double ConfusionMatrix::mean_iou() const { return mean_of_present(class_iou()); }
double ConfusionMatrix::mean_accuracy() const { return mean_of_present(class_accuracy()); }

double ConfusionMatrix::pixel_accuracy() const {
  std::int64_t right = 0;
  for (std::int64_t c = 0; c < classes_; ++c) right += count(c, c);
  const std::int64_t all = total();
  return all ? double(right) / double(all) : kNone;
}

double ConfusionMatrix::frequency_weighted_iou() const {
  const std::int64_t all = total();
  if (!all) return kNone;
  const std::vector<double> iou = class_iou();
  double sum = 0;
  for (std::int64_t c = 0; c < classes_; ++c)
    if (const std::int64_t pixels = row(c)) sum += double(pixels) * iou[std::size_t(c)];
  return sum / double(all);
}

std::string ConfusionMatrix::absent_class_policy() {
  return "classes neither in the truth nor predicted are left out of the mean IoU; classes predicted but not "
         "in the truth count as 0";
}

}  // namespace atrous::models
