#include "examples/support/segmenter.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <numeric>
#include <utility>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/softmax.h"
#include "atrous/core/cpu_isa.h"
#include "atrous/core/error.h"
#include "atrous/core/exact.h"
#include "atrous/core/factor_rounding.h"
#include "atrous/kernels/resize/resize.h"
#include "atrous/models/registry.h"
#include "atrous/models/weights.h"

namespace atrous::examples {
namespace {

// Antialiased bilinear on bytes.
Tensor resize_once(const Tensor& image, std::int64_t h, std::int64_t w) {
  const kernels::ResizeDims dims{image.dim(0), image.dim(1), image.dim(2), h, w, 3, false};
  const Tensor from = image.to(Dtype::f32);
  Tensor scratch = Tensor::empty({kernels::resize_antialias_workspace_size(dims)});
  Tensor floats = Tensor::empty({image.dim(0), h, w, 3});
  kernels::resize_antialias_forward<float>(from.stream(), dims, from.span<float>(), scratch.span<float>(),
                                           floats.span<float>());
  Tensor bytes = Tensor::empty(floats.shape(), Dtype::u8);
  const Span<const float> f = std::as_const(floats).span<float>();
  std::transform(f.begin(), f.end(), bytes.span<std::uint8_t>().begin(),
                 [](float v) { return std::uint8_t(std::clamp(std::lround(v), 0L, 255L)); });
  return bytes;
}

// Rounded to bytes after each direction, as Pillow does, whose resize published scores were measured with.
Tensor resize_image(const Tensor& image, std::int64_t h, std::int64_t w) {
  return resize_once(resize_once(image, image.dim(1), w), h, w);
}

Tensor resize_labels(const Tensor& labels, std::int64_t h, std::int64_t w) {
  const kernels::ResizeDims dims{labels.dim(0), labels.dim(1), labels.dim(2), h, w, 1, false};
  Tensor result = Tensor::empty({labels.dim(0), h, w}, Dtype::u8);
  kernels::resize_nearest<std::uint8_t>(labels.stream(), dims, labels.span<std::uint8_t>(),
                                        result.span<std::uint8_t>());
  return result;
}

}  // namespace

void SegmentFlags::add_network_to(CLI::App& app) {
  app.add_option("--weights", weights,
                 "Checkpoint that `train` or `convert` wrote: model, classes and preprocessing come with it")
      ->required();
  app.add_option("--model", model, "Refuse weights of any other model");
  app.add_option("--output-stride", output_stride,
                 "Input pixels per feature pixel: 4, 8, 16 or 32 (default: the weights')")
      ->check(CLI::IsMember({4, 8, 16, 32}));
  app.add_option("--scales", scales,
                 "Test-time averaging: the network sees the image at each of these scales")
      ->capture_default_str();
  app.add_flag("--flip", flip, "and mirrored");
  app.add_option("--resize", resize,
                 "HxW: what the network sees, antialiased; labels come back to the image's size");
  app.add_option(
         "--tile", tile,
         "Run the network over tiles of this many pixels a side: less memory, the same bits as --exact")
      ->check(CLI::Range(4, 65535));
  app.add_option("--window", window,
                 "Show the network windows of this many pixels a side that overlap by a third, and average")
      ->check(CLI::Range(1, 65535));
  app.add_flag("--exact", exact, "No kernel whose rounding changes with position or size");
  app.add_flag("--bf16", bf16,
               "Faster on CPUs with AVX512_BF16: convolutions may round their factors to bf16 (7 bits of "
               "mantissa). What that changes in the first image is printed");
}

Segmenter::Segmenter(const SegmentFlags& flags, Device device) {
  options_.scales = parse_numbers("--scales", flags.scales);
  options_.flip = flags.flip;
  options_.tile = flags.tile;
  options_.window = flags.window;
  if (flags.tile && flags.window) throw UsageError("--tile and --window: give one or the other");
  set_exact_mode(flags.exact || flags.tile > 0);
  if (flags.bf16 && exact_mode()) throw UsageError("--bf16 rounds, which --exact and --tile rule out");
  cost_of_bf16_unsaid_ = flags.bf16 && device.is_cpu() && cpu_multiplies_bf16();
  if (flags.bf16 && !cost_of_bf16_unsaid_)
    std::cout << "--bf16: nothing is rounded, for want of a CPU with AVX512_BF16\n";
  set_bf16_factors_allowed(flags.bf16);
  if (!flags.resize.empty()) size_ = parse_size("--resize", flags.resize);
  crf_ = flags.crf.wanted();
  models::LoadedModel loaded = models::load_model(flags.weights, flags.output_stride);
  for (const std::string& change : loaded.changes) std::cout << change << '\n';
  model_ = std::move(loaded.model);
  model_->to(device);
  // Each scale is a size of its own. Crops of a tiling come in many sizes, whose exact weights are packed
  // alike.
  model_->prepare_inference({.sizes = int(options_.scales.size() * model_->scales().size())});
  // Weights without names: VOC's colours for the usual 21 classes, VOC's rule for others.
  colormap_ = loaded.info.colormap;
  if (colormap_.size() == 0) {
    const std::int64_t classes = model_->config().classes;
    colormap_ = classes == io::voc_colormap().size() ? io::voc_colormap() : io::colormap(classes);
  }
  const std::string& name = model_->config().name;
  const models::ModelConfig wanted = models::resolve(flags.model.empty() ? name : flags.model);
  const bool any_convention = flags.model.find(':') == std::string::npos;
  if (wanted.name != name || (!any_convention && wanted.convention != model_->config().convention))
    throw UsageError("--model: " + flags.weights + " holds a " + model_->config().name + ", not a " +
                     flags.model);
}

Tensor Segmenter::seen(const Tensor& image) const {
  return size_ ? resize_image(image, size_->first, size_->second) : image;
}

Tensor Segmenter::restored(const Tensor& labels, const Tensor& image) const {
  return size_ ? resize_labels(labels, image.dim(1), image.dim(2)) : labels;
}

Tensor Segmenter::unary(const Tensor& seen) {
  return models::unary_from_probabilities(models::segment_probabilities(*model_, seen, options_));
}

void Segmenter::say_cost_of_bf16(const Tensor& seen) {
  if (!std::exchange(cost_of_bf16_unsaid_, false)) return;
  const auto probabilities = [&](bool rounded) {
    const Bf16FactorsScope scope(rounded);
    return models::segment_probabilities(*model_, seen, options_).to(kCpu);
  };
  const Tensor plain = probabilities(false), rounded = probabilities(true);
  const Span<const float> p = plain.span<float>(), q = rounded.span<float>();
  double most = 0, sum = 0;
  for (std::int64_t i = 0; i < p.size(); ++i) {
    const double difference = std::abs(double(p[i]) - double(q[i]));
    most = std::max(most, difference), sum += difference;
  }
  const Tensor ours = argmax_channels(plain).to(Dtype::i32), theirs = argmax_channels(rounded).to(Dtype::i32);
  const Span<const std::int32_t> a = ours.span<std::int32_t>(), b = theirs.span<std::int32_t>();
  const auto same =
      std::inner_product(a.begin(), a.end(), b.begin(), std::int64_t(0), std::plus<>(), std::equal_to<>());
  std::cout << "--bf16: on the first image " << 100 * double(same) / double(a.size())
            << " % of labels are the same as without it; probabilities differ by " << most << " at most, "
            << sum / double(p.size()) << " in the mean\n";
}

Tensor Segmenter::labels(const Tensor& image) {
  const Tensor small = seen(image);
  say_cost_of_bf16(small);
  if (!crf_) return restored(models::segment(*model_, small, options_), image);
  const Tensor q = crf_->marginals(unary(small).to(model_->device()), small);
  return restored(argmax_channels(q).to(kCpu).to(Dtype::u8), image);
}

models::ConfusionMatrix Segmenter::confusion(const io::Sample& sample) {
  const bool one_view = options_.scales.size() == 1 && options_.scales[0] == 1 && !options_.flip && !size_ &&
                        !options_.tile && !options_.window && !crf_;
  if (one_view) {
    say_cost_of_bf16(sample.image);
    return models::segment_confusion(*model_, sample.image, sample.labels, io::kIgnore);
  }
  models::ConfusionMatrix confusion(model_->config().classes, io::kIgnore);
  confusion.add(sample.labels, labels(sample.image));
  return confusion;
}

Tensor Segmenter::logits(const Tensor& input) {
  const NoGrad no_grad;
  return model_->forward(Variable(input.to(model_->device()))).value().to(kCpu);
}

Tensor Segmenter::input(const Tensor& image) const { return models::prepare(*model_, seen(image)); }

}  // namespace atrous::examples
