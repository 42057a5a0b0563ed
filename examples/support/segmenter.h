#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "atrous/io/colormap.h"
#include "atrous/io/dataset.h"
#include "atrous/models/segment.h"
#include "examples/support/crf_flags.h"
#include "examples/support/program.h"

namespace atrous::examples {

/// What `segment` and `evaluate` do with an image, and the flags that say how.
struct SegmentFlags {
  std::string weights;
  std::string model;               // empty: what the weights say
  std::int64_t output_stride = 0;  // 0: what the weights say
  std::string scales = "1";
  bool flip = false;
  std::string resize;  // "HxW" or empty
  std::int64_t tile = 0, window = 0;
  bool exact = false;
  bool bf16 = false;
  CrfFlags crf;

  /// Without the flags of the CRF: a program may have its own.
  void add_network_to(CLI::App& app);
  void add_to(CLI::App& app) {
    add_network_to(app);
    crf.add_optional_to(app);
  }
};

/// A trained model with its class names and colours, as a checkpoint holds them.
class Segmenter {
 public:
  Segmenter(const SegmentFlags& flags, Device device);

  /// The class of every pixel: u8 [1, H, W] for an image u8 [1, H, W, 3]. With --resize the network and the
  /// CRF see the image at that size (antialiased bilinear) and the labels come back to the image's (nearest).
  Tensor labels(const Tensor& image);
  /// The steps of that: the image as network and CRF see it, the unary energies [1, h, w, classes] of what is
  /// seen (of the probabilities, on the host), and labels of what is seen at the image's size.
  Tensor seen(const Tensor& image) const;
  Tensor unary(const Tensor& seen);
  Tensor restored(const Tensor& labels, const Tensor& image) const;
  /// The counts of a sample's true labels against labels() of its image.
  models::ConfusionMatrix confusion(const io::Sample& sample);
  /// Logits before the final resize, f32 [N, OH, OW, C], for network input f32 [N, H, W, 3] that is taken as
  /// it is.
  Tensor logits(const Tensor& input);
  /// The network's input for an image: resized if asked for, preprocessed, padded.
  Tensor input(const Tensor& image) const;

  models::Model& model() { return *model_; }
  const io::Colormap& colormap() const { return colormap_; }

 private:
  // With --bf16: prints, once, what rounding does to the probabilities and labels of an image.
  void say_cost_of_bf16(const Tensor& seen);

  std::unique_ptr<models::Model> model_;
  io::Colormap colormap_;
  models::SegmentOptions options_;
  std::optional<std::pair<std::int64_t, std::int64_t>> size_;
  std::optional<Crf> crf_;
  bool cost_of_bf16_unsaid_;
};

}  // namespace atrous::examples
