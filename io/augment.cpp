#include "atrous/io/augment.h"

#include <algorithm>

#include "atrous/core/error.h"
#include "atrous/kernels/resize/resize.h"

namespace atrous::io {
namespace {

// int((n - 1) s + 1): the side at scale s when the corners stay on the corners.
std::int64_t scaled(std::int64_t n, double s) {
  return std::max<std::int64_t>(1, std::int64_t(double(n - 1) * s + 1));
}

// A window of an image [h, w, channels] into one of [crop_h, crop_w, channels]; what lies beyond the image is
// left alone.
template <class T>
void copy_window(Span<const T> from, std::int64_t h, std::int64_t w, std::int64_t channels, std::int64_t top,
                 std::int64_t left, std::int64_t crop_h, std::int64_t crop_w, Span<T> to) {
  const std::int64_t rows = std::min(crop_h, h - top), columns = std::min(crop_w, w - left);
  for (std::int64_t y = 0; y < rows; ++y)
    std::copy_n(from.data() + ((top + y) * w + left) * channels, columns * channels,
                to.data() + y * crop_w * channels);
}

template <class T>
void mirror(std::int64_t h, std::int64_t w, std::int64_t channels, Span<T> image) {
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t left = 0, right = w - 1; left < right; ++left, --right)
      std::swap_ranges(image.data() + (y * w + left) * channels, image.data() + (y * w + left + 1) * channels,
                       image.data() + (y * w + right) * channels);
}

double draw_scale(const AugmentOptions& o, Random& random) {
  if (o.scale_step <= 0) return random.uniform(o.scale_min, o.scale_max);
  // Half a step of room: 0.5 + 6 * 0.25 counts as 2 whatever the rounding.
  const auto steps = std::int64_t((o.scale_max - o.scale_min) / o.scale_step + 0.5);
  return o.scale_min + double(random.below(steps + 1)) * o.scale_step;
}

}  // namespace

void augment(const Sample& sample, const AugmentOptions& o, Random random, Span<float> image,
             Span<std::uint8_t> labels) {
  ATROUS_CHECK(ValueError, o.crop_h >= 1 && o.crop_w >= 1, "augment", "a crop of ", o.crop_h, 'x', o.crop_w,
               " pixels");
  ATROUS_CHECK(ValueError, o.scale_min > 0 && o.scale_min <= o.scale_max, "augment", "scales from ",
               o.scale_min, " to ", o.scale_max);
  const std::int64_t in_h = sample.image.dim(1), in_w = sample.image.dim(2);
  const double scale = draw_scale(o, random);
  const std::int64_t h = scaled(in_h, scale), w = scaled(in_w, scale);
  const std::int64_t top = random.below(std::max<std::int64_t>(1, h - o.crop_h + 1));
  const std::int64_t left = random.below(std::max<std::int64_t>(1, w - o.crop_w + 1));
  const bool flipped = o.flip && random.uniform() < 0.5f;

  const kernels::ResizeDims dims{1, in_h, in_w, h, w, 3, true};
  const Tensor source = sample.image.to(Dtype::f32);
  Tensor resized = Tensor::empty({h, w, 3});
  kernels::cpu::resize_bilinear_forward<float>(source.stream(), dims, source.span<float>(),
                                               resized.span<float>());
  Tensor resized_labels = Tensor::empty({h, w}, Dtype::u8);
  const kernels::ResizeDims label_dims{1, in_h, in_w, h, w, 1, true};
  kernels::resize_nearest<std::uint8_t>(source.stream(), label_dims, sample.labels.span<std::uint8_t>(),
                                        resized_labels.span<std::uint8_t>());

  for (std::int64_t i = 0; i < image.size(); ++i) image[i] = float(o.pad_color[std::size_t(i % 3)]);
  std::fill(labels.begin(), labels.end(), kIgnore);
  copy_window<float>(std::as_const(resized).span<float>(), h, w, 3, top, left, o.crop_h, o.crop_w, image);
  copy_window<std::uint8_t>(std::as_const(resized_labels).span<std::uint8_t>(), h, w, 1, top, left, o.crop_h,
                            o.crop_w, labels);
  if (flipped) {
    mirror<float>(o.crop_h, o.crop_w, 3, image);
    mirror<std::uint8_t>(o.crop_h, o.crop_w, 1, labels);
  }
}

}  // namespace atrous::io
