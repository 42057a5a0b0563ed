#include "atrous/models/segment.h"

#include <algorithm>
#include <cmath>

#include "atrous/autograd/graph.h"
#include "atrous/autograd/resize.h"
#include "atrous/autograd/softmax.h"
#include "atrous/autograd/upsample.h"
#include "atrous/core/error.h"
#include "atrous/core/exact.h"
#include "atrous/core/parallel.h"
#include "atrous/models/pad_image.h"
#include "atrous/models/rectangle.h"
#include "atrous/models/tiling.h"

namespace atrous::models {
namespace {

void check_call(const Tensor& image, const SegmentOptions& options) {
  ATROUS_CHECK(ShapeError, image.rank() == 4 && image.dim(3) == 3 && image.dim(1) >= 1 && image.dim(2) >= 1,
               "segment", "wants an image [N, H, W, 3], not ", image.shape());
  ATROUS_CHECK(ValueError, !options.scales.empty(), "segment", "no scale was given");
  for (const double s : options.scales)
    ATROUS_CHECK(ValueError, s > 0 && s <= 16, "segment", "a scale of ", s, " is not in (0, 16]");
  ATROUS_CHECK(ValueError, options.tile >= 0 && options.window >= 0 && !(options.tile && options.window),
               "segment", "a tile of ", options.tile, " and a window of ", options.window,
               " pixels: one of them, and not below 0");
}

// Columns mirrored, [N, H, W, C].
template <class T>
Tensor mirrored(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  const std::int64_t rows = x.dim(0) * x.dim(1), w = x.dim(2), c = x.dim(3);
  const Span<const T> from = x.span<T>();
  const Span<T> to = y.span<T>();
  parallel_for(rows, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t i = 0; i < w; ++i)
        std::copy_n(from.data() + (row * w + w - 1 - i) * c, c, to.data() + (row * w + i) * c);
  });
  return y;
}

// The first h rows and w columns of [N, H, W, C] (or of [N, H, W] with C = 1).
template <class T>
Tensor cropped(const Tensor& x, std::int64_t h, std::int64_t w) {
  if (x.dim(1) == h && x.dim(2) == w) return x;
  const std::int64_t channels = x.rank() == 4 ? x.dim(3) : 1;
  Tensor y = Tensor::empty(x.shape().with(1, h).with(2, w), x.dtype());
  const Span<const T> from = x.span<T>();
  const Span<T> to = y.span<T>();
  parallel_for(x.dim(0) * h, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      std::copy_n(from.data() + (row / h * x.dim(1) + row % h) * x.dim(2) * channels, w * channels,
                  to.data() + row * w * channels);
  });
  return y;
}

// The side of the network's input at a scale, for a side that is a multiple of the output stride plus one.
std::int64_t scaled_side(std::int64_t padded, double scale, std::int64_t output_stride) {
  if (padded == 1) return 1;
  const auto steps = std::llround(double(padded - 1) * scale / double(output_stride));
  return std::max<std::int64_t>(1, steps) * output_stride + 1;
}

// Logits of a preprocessed image, by tiles if asked for.
Variable logits_of(Model& model, const Variable& x, std::int64_t tile) {
  if (!tile) return model.forward(x);
  const ExactScope exact;
  return Variable(tiled_logits(model, x.value().to(kCpu), tile).to(model.device()));
}

// Where windows of `side` pixels start on an axis of `size`: every two thirds of a side, the last at the end.
std::vector<std::int64_t> window_starts(std::int64_t size, std::int64_t side) {
  std::vector<std::int64_t> starts;
  for (std::int64_t at = 0; at + side < size; at += std::max<std::int64_t>(1, side * 2 / 3))
    starts.push_back(at);
  starts.push_back(std::max<std::int64_t>(0, size - side));
  return starts;
}

// Probabilities of every pixel of x, the mean of those of the windows that hold it. On the host.
Tensor window_probabilities(Model& model, const Tensor& x, std::int64_t window) {
  const std::int64_t side = padded_size(window, model.config().output_stride);
  const std::int64_t h = std::min(side, x.dim(1)), w = std::min(side, x.dim(2));
  const std::int64_t classes = model.config().classes;
  Tensor sum = Tensor::zeros({x.dim(0), x.dim(1), x.dim(2), classes});
  Tensor windows = Tensor::zeros({x.dim(1), x.dim(2)});
  const Span<float> total = sum.span<float>(), seen = windows.span<float>();
  for (const std::int64_t top : window_starts(x.dim(1), h)) {
    for (const std::int64_t left : window_starts(x.dim(2), w)) {
      Tensor part = Tensor::empty({x.dim(0), h, w, 3});
      copy_rectangle(x, {top, top + h}, {left, left + w}, part, 0, 0);
      const Tensor p = softmax(model.full_logits(Variable(part.to(model.device())))).value().to(kCpu);
      const Span<const float> found = p.span<float>();
      for (std::int64_t row = 0; row < x.dim(0) * h; ++row) {
        const std::int64_t n = row / h, y = top + row % h;
        const std::int64_t to = ((n * x.dim(1) + y) * x.dim(2) + left) * classes;
        for (std::int64_t i = 0; i < w * classes; ++i) total[to + i] += found[row * w * classes + i];
        for (std::int64_t i = 0; n == 0 && i < w; ++i) seen[y * x.dim(2) + left + i] += 1;
      }
    }
  }
  parallel_for(sum.numel() / classes, 1 << 12, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t c = 0; c < classes; ++c) total[i * classes + c] /= seen[i % seen.size()];
  });
  return sum;
}

// Probabilities [N, H, W, classes] of one view of the image.
Tensor view_probabilities(Model& model, const Tensor& image, double scale, bool flip,
                          const SegmentOptions& options) {
  const Tensor input = prepare(model, flip ? mirrored<std::uint8_t>(image) : image);
  const std::int64_t h = input.dim(1), w = input.dim(2), stride = model.config().output_stride;
  const bool align = model.convention().align_corners;
  Variable x(input.to(model.device()));
  const std::int64_t in_h = scaled_side(h, scale, stride), in_w = scaled_side(w, scale, stride);
  if (in_h != h || in_w != w) x = resize_bilinear(x, {.out_h = in_h, .out_w = in_w, .align_corners = align});
  Tensor full;
  if (options.window) {
    const Variable p(window_probabilities(model, x.value().to(kCpu), options.window));
    full = resize_bilinear(p, {.out_h = h, .out_w = w, .align_corners = align}).value();
  } else {
    const Variable logits =
        resize_bilinear(logits_of(model, x, options.tile), {.out_h = h, .out_w = w, .align_corners = align});
    full = softmax(logits).value().to(kCpu);
  }
  const Tensor p = cropped<float>(full, image.dim(1), image.dim(2));
  return flip ? mirrored<float>(p) : p;
}

// Labels [N, H, W] as the upper left part of h x w pixels, the rest of them ignored.
Tensor padded_labels(const Tensor& labels, std::int64_t h, std::int64_t w, std::int64_t ignore_label) {
  Tensor y = Tensor::full({labels.dim(0), h, w}, double(ignore_label), labels.dtype());
  visit_label(labels.dtype(), [&]<class T>() {
    const Span<const T> from = labels.span<T>();
    const Span<T> to = y.span<T>();
    for (std::int64_t row = 0; row < labels.dim(0) * labels.dim(1); ++row)
      std::copy_n(from.data() + row * labels.dim(2), labels.dim(2),
                  to.data() + (row / labels.dim(1) * h + row % labels.dim(1)) * w);
  });
  return y;
}

}  // namespace

Tensor prepare(const Model& model, const Tensor& image) {
  const Preprocessing& how = model.preprocessing();
  const Tensor x = preprocess(image, how);
  const std::int64_t stride = model.config().output_stride;
  return pad_image(x, padded_size(x.dim(1), stride), padded_size(x.dim(2), stride), how);
}

Tensor segment_probabilities(Model& model, const Tensor& image, const SegmentOptions& options) {
  check_call(image, options);
  const NoGrad no_grad;
  const EvalScope eval(model);
  Tensor sum;
  int views = 0;
  for (const double scale : options.scales) {
    for (int flip = 0; flip <= int(options.flip); ++flip) {
      const Tensor p = view_probabilities(model, image, scale, flip == 1, options);
      ++views;
      if (!sum.defined()) {
        sum = p;
        continue;
      }
      const Span<float> total = sum.span<float>();
      const Span<const float> part = p.span<float>();
      parallel_for(total.size(), 1 << 15, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) total[i] += part[i];
      });
    }
  }
  if (views > 1) {
    const Span<float> total = sum.span<float>();
    for (float& v : total) v /= float(views);
  }
  return sum;
}

Tensor segment(Model& model, const Tensor& image, const SegmentOptions& options) {
  check_call(image, options);
  const std::int64_t h = image.dim(1), w = image.dim(2);
  Tensor labels;
  if (options.scales.size() == 1 && options.scales[0] == 1 && !options.flip && !options.window) {
    const NoGrad no_grad;
    const EvalScope eval(model);
    const Variable x(prepare(model, image).to(model.device()));
    labels = upsample_argmax(
        logits_of(model, x, options.tile).value(),
        {.out_h = x.dim(1), .out_w = x.dim(2), .align_corners = model.convention().align_corners});
  } else {
    labels = argmax_channels(segment_probabilities(model, image, options));
  }
  return cropped<std::uint8_t>(labels.to(kCpu).to(Dtype::u8), h, w);
}

ConfusionMatrix segment_confusion(Model& model, const Tensor& image, const Tensor& labels,
                                  std::int64_t ignore_label) {
  check_call(image, {});
  ATROUS_CHECK(ShapeError, labels.shape() == Shape({image.dim(0), image.dim(1), image.dim(2)}), "segment",
               "labels ", labels.shape(), " of an image ", image.shape());
  const NoGrad no_grad;
  const EvalScope eval(model);
  const Variable x(prepare(model, image).to(model.device()));
  const Tensor truth = padded_labels(labels, x.dim(1), x.dim(2), ignore_label).to(model.device());
  const Tensor counts =
      upsample_confusion(model.forward(x).value(), truth,
                         {.ignore_label = ignore_label, .align_corners = model.convention().align_corners})
          .to(kCpu);
  ConfusionMatrix confusion(model.config().classes, ignore_label);
  std::int64_t counted = 0;
  for (const std::int64_t pixels : counts.span<std::int64_t>()) counted += pixels;
  confusion.add_counts(counts, labels.numel() - counted);
  return confusion;
}

}  // namespace atrous::models
