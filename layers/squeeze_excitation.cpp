#include "atrous/layers/squeeze_excitation.h"

#include "atrous/autograd/elementwise.h"
#include "atrous/autograd/pool2d.h"

namespace atrous::layers {

SqueezeExcitation::SqueezeExcitation(std::int64_t channels, std::int64_t squeezed, const Initialiser& init)
    : fc1_({.in_channels = channels, .out_channels = squeezed, .init = init}),
      fc2_({.in_channels = squeezed, .out_channels = channels, .init = init}) {
  add_child("fc1", fc1_);
  add_child("fc2", fc2_);
}

Variable SqueezeExcitation::forward(const Variable& x) {
  const Variable squeezed = relu(fc1_.forward(global_avg_pool2d(x)));
  return scale_channels(x, hard_sigmoid(fc2_.forward(squeezed)));
}

Shape SqueezeExcitation::trace(const Shape& x, const std::string& name, Summary& summary) const {
  fc2_.trace(fc1_.trace(x.with(1, 1).with(2, 1), join_names(name, "fc1"), summary), join_names(name, "fc2"),
             summary);
  return x;
}

}  // namespace atrous::layers
