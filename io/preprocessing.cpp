#include "atrous/io/preprocessing.h"

#include "atrous/core/error.h"
#include "atrous/core/parallel.h"

namespace atrous::io {
namespace {

template <class T>
void normalise(Span<const T> values, const Preprocessing& how, Span<float> out) {
  parallel_for(values.size() / 3, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t c = 0; c < 3; ++c)
        out[3 * i + (how.bgr ? 2 - c : c)] =
            float((double(values[3 * i + c]) - how.mean[std::size_t(c)]) / how.deviation[std::size_t(c)]);
  });
}

}  // namespace

Tensor preprocess(const Tensor& image, const Preprocessing& how) {
  ATROUS_CHECK(ShapeError, image.rank() == 4 && image.dim(3) == 3, "preprocess",
               "images are [N, H, W, 3], not ", image.shape());
  Tensor y = Tensor::empty(image.shape());
  if (image.dtype() == Dtype::u8)
    normalise<std::uint8_t>(image.span<std::uint8_t>(), how, y.span<float>());
  else
    normalise<float>(image.span<float>(), how, y.span<float>());
  return y;
}

}  // namespace atrous::io
