#pragma once

#include <vector>

#include "atrous/models/metrics.h"
#include "atrous/models/model.h"

// Whole images to labels: everything between a picture and its segmentation.

namespace atrous::models {

/// Averaging at test time: the network sees the image at each scale, and mirrored if `flip`; the softmax
/// probabilities of all are averaged. More than one view costs a full-size map of probabilities.
struct SegmentOptions {
  std::vector<double> scales = {1.0};
  bool flip = false;
  /// Above 0: logits are made tile by tile, of so many image pixels a side, in exact mode (models/tiling.h).
  /// The same bits as without in exact mode, in less memory.
  std::int64_t tile = 0;
  /// Above 0: the network sees windows of so many pixels a side (rounded up to k * output_stride + 1), each
  /// two thirds of that from the last; where they overlap, probabilities are averaged. What crops were
  /// trained for: Chen et al., "DeepLab", TPAMI 2018, section 4.4. Not together with `tile`.
  std::int64_t window = 0;
};

/// The class of every pixel. The image is preprocessed by the model's convention, padded at the bottom and
/// right with the pad colour to k * output_stride + 1 pixels a side, run in evaluation mode without record,
/// and the logits' greatest is taken at full size and cropped. Any size works, 1x1 included.
///
/// At a scale s the padded image is resized to the size of the form k * output_stride + 1 nearest to s times
/// its own, corner on corner.
///
///   image    [N, H, W, 3], u8
///   returns  [N, H, W], u8
///
/// Throws ShapeError for another shape, ValueError for scales that are not in (0, 16], for a tile and a
/// window at once, and for models that cannot be tiled.
Tensor segment(Model& model, const Tensor& image, const SegmentOptions& options = {});

/// The counts of the image's true labels against what segment() finds by a single view, which is never made
/// into labels.
///
///   image   [N, H, W, 3], u8
///   labels  [N, H, W], u8 or i32: a class or ignore_label
///
/// Throws ShapeError for other shapes, ValueError for a label that is neither.
ConfusionMatrix segment_confusion(Model& model, const Tensor& image, const Tensor& labels,
                                  std::int64_t ignore_label = 255);

/// The averaged probabilities themselves: [N, H, W, classes], f32.
Tensor segment_probabilities(Model& model, const Tensor& image, const SegmentOptions& options = {});

/// The network's input for an image: preprocessed and padded, [N, h, w, 3] f32.
Tensor prepare(const Model& model, const Tensor& image);

/// While one lives the model is in evaluation mode; afterwards it is in the mode of before.
class EvalScope {
 public:
  explicit EvalScope(layers::Module& module) : module_(module), before_(module.training()) { module.eval(); }
  ~EvalScope() { module_.train(before_); }
  EvalScope(const EvalScope&) = delete;
  EvalScope& operator=(const EvalScope&) = delete;

 private:
  layers::Module& module_;
  bool before_;
};

}  // namespace atrous::models
