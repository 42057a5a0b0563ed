#include "atrous/models/backbone.h"

#include "atrous/core/error.h"

namespace atrous::models {

StrideWalk::StrideWalk(std::int64_t output_stride, std::int64_t so_far)
    : output_stride_(output_stride), current_(so_far) {
  ATROUS_CHECK(ValueError,
               output_stride == 4 || output_stride == 8 || output_stride == 16 || output_stride == 32,
               "models", "output stride ", output_stride, " is not 4, 8, 16 or 32");
}

StrideWalk::Unit StrideWalk::next(std::int64_t stride) {
  const std::int64_t before = rate_;
  if (current_ < output_stride_) {
    current_ *= stride;
    return {stride, before, before};
  }
  rate_ *= stride;
  return {1, before, rate_};
}

}  // namespace atrous::models
