#include "atrous/layers/pool2d.h"

#include "atrous/core/error.h"

namespace atrous::layers {
namespace {

// Positions of a pooling window; in ceil mode a last window that starts inside the image or its leading
// padding is added.
std::int64_t pool_positions(std::int64_t in, std::int64_t before, std::int64_t after, std::int64_t window,
                            std::int64_t stride, bool ceil_mode) {
  std::int64_t out = window_positions(in, before, after, window, 1, stride);
  if (ceil_mode && out > 0 && (in + before + after - window) % stride != 0 && out * stride < in + before)
    ++out;
  return out;
}

template <class Options>
Shape pooled(const Shape& x, const std::string& name, const Options& o) {
  ATROUS_CHECK(ShapeError, x.rank() == 4, name, "pooling wants [N, H, W, C]; x is ", x);
  const Shape y = {
      x[0], pool_positions(x[1], o.padding.top, o.padding.bottom, o.window.h, o.stride.h, o.ceil_mode),
      pool_positions(x[2], o.padding.left, o.padding.right, o.window.w, o.stride.w, o.ceil_mode), x[3]};
  ATROUS_CHECK(ShapeError, y[1] > 0 && y[2] > 0, name, "pooling window ", o.window,
               " leaves no output pixel of ", x);
  return y;
}

}  // namespace

MaxPool2dOptions MaxPool2d::options_for(const Shape& x) const {
  MaxPool2dOptions options = options_;
  if (rule_ == PaddingRule::same && x.rank() == 4)
    options.padding = padding_of(rule_, x[1], x[2], options.window, 1, options.stride);
  return options;
}

Shape MaxPool2d::trace(const Shape& x, const std::string& name, Summary& summary) const {
  const Shape y = pooled(x, name, options_for(x));
  summary.rows.push_back({name, "max pool", y, 0, 0});
  return y;
}

Shape AvgPool2d::trace(const Shape& x, const std::string& name, Summary& summary) const {
  const Shape y = pooled(x, name, options_);
  summary.rows.push_back({name, "average pool", y, 0, 0});
  return y;
}

Shape GlobalAvgPool2d::trace(const Shape& x, const std::string& name, Summary& summary) const {
  ATROUS_CHECK(ShapeError, x.rank() == 4, name, "pooling wants [N, H, W, C]; x is ", x);
  const Shape y = {x[0], 1, 1, x[3]};
  summary.rows.push_back({name, "global average pool", y, 0, 0});
  return y;
}

}  // namespace atrous::layers
