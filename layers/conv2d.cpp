#include "atrous/layers/conv2d.h"

#include <sstream>

#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/depthwise_conv2d.h"
#include "atrous/autograd/graph.h"
#include "atrous/core/error.h"
#include "atrous/core/exact.h"
#include "atrous/core/factor_rounding.h"
#include "atrous/layers/observer.h"

namespace atrous::layers {

Shape Conv2dSettings::weight_shape() const {
  ATROUS_CHECK(ValueError, in_channels > 0 && out_channels > 0 && taps.h > 0 && taps.w > 0, "conv2d layer",
               in_channels, " channels to ", out_channels, " with ", taps, " taps");
  ATROUS_CHECK(ValueError, !depthwise || out_channels % in_channels == 0, "depthwise_conv2d layer",
               "makes a whole number of channels of each one: ", in_channels, " to ", out_channels);
  return {taps.h, taps.w, in_channels, depthwise ? out_channels / in_channels : out_channels};
}

ParameterKind Conv2dSettings::weight_kind() const {
  return depthwise ? ParameterKind::depthwise_weight : ParameterKind::conv_weight;
}

Padding Conv2dSettings::resolved_padding(const Shape& x) const {
  if (padding) return *padding;
  if (x.rank() != 4) return same_padding(taps, rate);  // what comes next refuses x
  return padding_of(padding_rule, x[1], x[2], taps, rate, stride);
}

Shape Conv2dSettings::output_shape(const Shape& x, const std::string& name) const {
  ATROUS_CHECK(ShapeError, x.rank() == 4 && x[3] == in_channels, name, describe(), " expects ", in_channels,
               " channels; x is ", x);
  const Padding p = resolved_padding(x);
  const std::int64_t h = window_positions(x[1], p.top, p.bottom, taps.h, rate.h, stride.h);
  const std::int64_t w = window_positions(x[2], p.left, p.right, taps.w, rate.w, stride.w);
  ATROUS_CHECK(ShapeError, h > 0 && w > 0, name, describe(), " leaves no output pixel of ", x);
  return {x[0], h, w, out_channels};
}

kernels::Conv2dDims Conv2dSettings::dims(const Shape& x, const Shape& output) const {
  return {.batch = x[0],
          .in_h = x[1],
          .in_w = x[2],
          .in_channels = x[3],
          .out_h = output[1],
          .out_w = output[2],
          .out_channels = output[3],
          .window_h = taps.h,
          .window_w = taps.w,
          .stride = stride,
          .padding = resolved_padding(x),
          .rate = rate,
          .exact = exact_mode(),
          .allow_tf32 = tf32_allowed() && !exact_mode(),
          .allow_bf16 = bf16_factors_allowed() && !exact_mode()};
}

std::int64_t Conv2dSettings::macs(const Shape& output) const {
  return output.numel() * taps.h * taps.w * (depthwise ? 1 : in_channels);
}

std::string Conv2dSettings::describe() const {
  std::ostringstream text;
  text << (depthwise ? "depthwise conv " : "conv ") << taps;
  if (!(stride == PerAxis(1))) text << " /" << stride.h;
  if (!(stride.h == stride.w)) text << ',' << stride.w;
  if (!(rate == PerAxis(1))) text << " rate " << rate.h;
  if (!(rate.h == rate.w)) text << ',' << rate.w;
  return text.str();
}

Variable apply_conv2d(const Variable& x, const Variable& weight, const Variable& bias,
                      const Conv2dSettings& settings) {
  const auto& convolve = settings.depthwise ? depthwise_conv2d : conv2d;
  return convolve(x, weight, bias, settings.options(x.shape()));
}

Conv2d::Conv2d(const Conv2dSettings& settings)
    : settings_(settings),
      weight_(add_parameter("weight", settings.weight_shape(), settings.weight_kind(), settings.init)),
      bias_(settings.bias ? &add_parameter("bias", {settings.out_channels}, ParameterKind::bias,
                                           Initialiser::constant(0))
                          : nullptr),
      folded_(settings_, weight_, bias_, nullptr) {}

Variable Conv2d::forward(const Variable& x) {
  if (folded_.keeps() && !training() && !grad_enabled())
    return observed(*this, Variable(folded_.forward(x.value(), kernels::Activation::none)));
  return observed(*this, apply_conv2d(x, weight_, bias_ ? *bias_ : Variable(), settings_));
}

Shape Conv2d::trace(const Shape& x, const std::string& name, Summary& summary) const {
  const Shape y = settings_.output_shape(x, name);
  summary.rows.push_back({name, settings_.describe() + (bias_ ? ", bias" : ""), y,
                          settings_.weight_shape().numel() + (bias_ ? settings_.out_channels : 0),
                          settings_.macs(y)});
  return y;
}

}  // namespace atrous::layers
