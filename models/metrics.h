#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "atrous/core/tensor.h"

namespace atrous::models {

/// Counts of pixels by true and predicted class: the only state of every metric, so that images can come in
/// any order and in shards that are merged. All counts have 64 bits.
///
/// Classes that are absent: one that is neither in the truth nor predicted anywhere is left out of the mean
/// IoU; one that is predicted but not in the truth counts with IoU 0. Mean accuracy is over the classes in
/// the truth. With no pixel counted every metric is NaN.
class ConfusionMatrix {
 public:
  /// Pixels whose true label is `ignore_label` are not counted. Throws ValueError unless classes is positive.
  explicit ConfusionMatrix(std::int64_t classes, std::optional<std::int64_t> ignore_label = 255);

  /// Adds a batch: two tensors of one shape, u8 or i32 each. Throws ShapeError if shapes differ, ValueError
  /// for a label outside of 0..classes-1 (the true one may be the ignore label), naming pixel and value; the
  /// counts are then unchanged.
  void add(const Tensor& truth, const Tensor& prediction);
  /// Adds counts themselves.
  void add(std::int64_t truth, std::int64_t prediction, std::int64_t pixels);
  /// Adds counts [classes, classes] of i64, true class by predicted (upsample_confusion's), and the pixels
  /// that carried the ignore label. Throws ShapeError for another shape.
  void add_counts(const Tensor& counts, std::int64_t ignored);
  /// Adds the counts of another matrix with as many classes.
  void merge(const ConfusionMatrix& other);

  std::int64_t classes() const { return classes_; }
  std::int64_t count(std::int64_t truth, std::int64_t prediction) const;
  /// Pixels counted.
  std::int64_t total() const;
  /// Pixels that carried the ignore label.
  std::int64_t ignored() const { return ignored_; }

  /// Intersection over union of each class: n_cc / (row c + column c - n_cc); NaN for an absent class.
  std::vector<double> class_iou() const;
  /// Share of each true class's pixels that were found; NaN for a class that is not in the truth.
  std::vector<double> class_accuracy() const;
  /// Mean of class_iou() over the classes that are not absent.
  double mean_iou() const;
  double pixel_accuracy() const;
  double mean_accuracy() const;
  /// Mean of class_iou() weighted by the classes' shares of the true pixels.
  double frequency_weighted_iou() const;

  /// The policy above in a sentence, for reports.
  static std::string absent_class_policy();

 private:
  std::int64_t row(std::int64_t truth) const;
  std::int64_t column(std::int64_t prediction) const;

  std::int64_t classes_;
  std::optional<std::int64_t> ignore_label_;
  std::int64_t ignored_ = 0;
  std::vector<std::int64_t> counts_;  // [truth, prediction]
};

}  // namespace atrous::models
