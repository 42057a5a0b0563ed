#include "atrous/models/pad_image.h"

#include <algorithm>

#include "atrous/core/error.h"
#include "atrous/core/parallel.h"

namespace atrous::models {
namespace {

void check_image(const Tensor& image, const char* op) {
  ATROUS_CHECK(ShapeError, image.rank() == 4 && image.dim(3) == 3, op, "images are [N, H, W, 3], not ",
               image.shape());
}

}  // namespace

std::int64_t padded_size(std::int64_t size, std::int64_t output_stride) {
  ATROUS_CHECK(ShapeError, size >= 1, "pad_image", "an image side of ", size, " pixels");
  return (size - 1 + output_stride - 1) / output_stride * output_stride + 1;
}

Tensor pad_image(const Tensor& image, std::int64_t h, std::int64_t w, const Preprocessing& how) {
  check_image(image, "pad_image");
  const std::int64_t batch = image.dim(0), in_h = image.dim(1), in_w = image.dim(2);
  ATROUS_CHECK(ShapeError, h >= in_h && w >= in_w, "pad_image", image.shape(), " does not fit into ", h, 'x',
               w);
  if (h == in_h && w == in_w) return image;
  float colour[3];
  for (std::size_t c = 0; c < 3; ++c)
    colour[how.bgr ? 2 - c : c] = float((how.pad_color[c] - how.mean[c]) / how.deviation[c]);
  Tensor y = Tensor::empty({batch, h, w, 3});
  const Span<const float> from = image.span<float>();
  const Span<float> to = y.span<float>();
  parallel_for(batch * h, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t n = row / h, r = row % h;
      const std::int64_t kept = r < in_h ? in_w : 0;
      float* out = to.data() + row * w * 3;
      if (kept) std::copy_n(from.data() + (n * in_h + r) * in_w * 3, kept * 3, out);
      for (std::int64_t i = kept; i < w; ++i) std::copy_n(colour, 3, out + i * 3);
    }
  });
  return y;
}

}  // namespace atrous::models
