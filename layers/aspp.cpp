#include "atrous/layers/aspp.h"

#include "atrous/autograd/graph.h"
#include "atrous/autograd/layout.h"
#include "atrous/autograd/pool2d.h"
#include "atrous/autograd/resize.h"
#include "atrous/core/error.h"
#include "atrous/core/recycled.h"
#include "atrous/kernels/layout/layout.h"
#include "atrous/layers/observer.h"

namespace atrous::layers {
namespace {

Conv2dSettings branch(const AsppSettings& s, std::int64_t taps, std::int64_t rate) {
  return {
      .in_channels = s.in_channels, .out_channels = s.channels, .taps = taps, .rate = rate, .init = s.init};
}

Conv2dSettings projection(const AsppSettings& s) {
  return {.in_channels = (std::int64_t(s.rates.size()) + 2) * s.channels,
          .out_channels = s.channels,
          .init = s.init};
}

// The pooled 1x1 map at the size of x.
Variable spread(const Variable& image, const Variable& x) {
  return resize_bilinear(image, {.out_h = x.dim(1), .out_w = x.dim(2), .align_corners = true});
}

}  // namespace

std::vector<std::int64_t> aspp_rates(std::int64_t output_stride) {
  ATROUS_CHECK(ValueError,
               output_stride == 4 || output_stride == 8 || output_stride == 16 || output_stride == 32, "aspp",
               "rates are known for output strides 4, 8, 16 and 32, not ", output_stride);
  return {96 / output_stride, 192 / output_stride, 288 / output_stride};
}

Aspp::Aspp(const AsppSettings& s)
    : conv1x1_(branch(s, 1, 1), Activation::relu, s.batch_norm),
      image_pool_(branch(s, 1, 1), Activation::relu, s.batch_norm),
      project_(projection(s), Activation::relu, s.batch_norm),
      dropout_(s.dropout),
      pooling_first_(s.pooling_first) {
  add_child("conv1x1", conv1x1_);
  for (const std::int64_t rate : s.rates) {
    const Conv2dSettings settings = branch(s, 3, rate);
    if (s.separable) {
      auto separable = std::make_unique<SeparableConvBn>(settings, Activation::relu, s.batch_norm);
      separable_.push_back(separable.get());
      rates_.push_back(std::move(separable));
    } else {
      auto dense = std::make_unique<ConvBn>(settings, Activation::relu, s.batch_norm);
      if (side_by_side_.empty()) side_by_side_.push_back(&conv1x1_);
      side_by_side_.push_back(dense.get());
      rates_.push_back(std::move(dense));
    }
    add_child("rate" + std::to_string(rates_.size() - 1), *rates_.back());
  }
  add_child("image_pool", image_pool_);
  add_child("project", project_);
  add_child("dropout", dropout_);
}

Variable Aspp::forward(const Variable& x, const Variable& image_mean) {
  const Variable image = image_pool_.forward(image_mean.defined() ? image_mean : global_avg_pool2d(x));
  const auto parts = [&] {
    const bool dense = !side_by_side_.empty() && ConvBn::side_by_side(side_by_side_);
    const bool evaluates = !training() && !grad_enabled();
    if (observing() || !(dense || (evaluates && !separable_.empty() && x.device().is_cpu())))
      return one_by_one(x, image);
    return evaluates ? in_place(x, image) : at_once(x, image);
  };
  return observed(*this, dropout_.forward(project_.forward(parts())));
}

Variable Aspp::one_by_one(const Variable& x, const Variable& image) {
  RecycledVector<Variable> parts = {conv1x1_.forward(x)};
  for (const auto& rate : rates_) parts.push_back(rate->forward(x));
  parts.insert(pooling_first_ ? parts.begin() : parts.end(), spread(image, x));
  return concat_channels(parts);
}

Variable Aspp::at_once(const Variable& x, const Variable& image) {
  const Variable branches = ConvBn::forward_side_by_side(side_by_side_, x), spread_image = spread(image, x);
  return concat_channels(pooling_first_ ? std::vector{spread_image, branches}
                                        : std::vector{branches, spread_image});
}

Variable Aspp::in_place(const Variable& x, const Variable& image) {
  const std::int64_t own = image.dim(3), branches = std::int64_t(rates_.size() + 1) * own;
  const std::int64_t all = branches + own, image_at = pooling_first_ ? 0 : branches;
  const std::int64_t pixels = x.dim(1) * x.dim(2);
  Tensor y = Tensor::empty(x.shape().with(3, all), x.dtype(), x.device());
  std::int64_t at = pooling_first_ ? own : 0;
  if (separable_.empty()) {
    ConvBn::evaluate_side_by_side(side_by_side_, x.value(), at, y);
  } else {
    conv1x1_.evaluate_into(x.value(), at, y);
    for (SeparableConvBn* rate : separable_) rate->evaluate_into(x.value(), at += own, y);
  }
  visit_float(x.dtype(), [&]<class T>() {
    for (std::int64_t n = 0; n < x.dim(0); ++n)  // the same at every pixel of an image
      kernels::copy_channels<T>(x.stream(), {pixels, 0, n * own, all, image_at, own}, image.value().span<T>(),
                                y.span<T>().part(n * pixels * all, pixels * all));
  });
  return Variable(y);
}

Shape Aspp::trace(const Shape& x, const std::string& name, Summary& summary) const {
  const Shape y = conv1x1_.trace(x, join_names(name, "conv1x1"), summary);
  for (std::size_t i = 0; i < rates_.size(); ++i)
    rates_[i]->trace(x, join_names(name, "rate" + std::to_string(i)), summary);
  image_pool_.trace({x[0], 1, 1, x[3]}, join_names(name, "image_pool"), summary);
  const std::int64_t branches = std::int64_t(rates_.size()) + 2;
  return project_.trace(y.with(3, branches * y[3]), join_names(name, "project"), summary);
}

}  // namespace atrous::layers
