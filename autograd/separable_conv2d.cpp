#include "atrous/autograd/separable_conv2d.h"

#include "atrous/autograd/conv2d.h"
#include "atrous/autograd/depthwise_conv2d.h"

namespace atrous {

Variable separable_conv2d(const Variable& x, const Variable& depthwise_weight,
                          const Variable& pointwise_weight, const Variable& bias,
                          const Conv2dOptions& options) {
  const Shape& w = pointwise_weight.shape();
  ATROUS_CHECK(ShapeError, w.rank() == 4 && w[0] == 1 && w[1] == 1, "separable_conv2d", "pointwise weight ",
               w, " must be [1, 1, C*M, K]");
  return conv2d(depthwise_conv2d(x, depthwise_weight, {}, options), pointwise_weight, bias,
                {.allow_tf32 = options.allow_tf32});
}

}  // namespace atrous
