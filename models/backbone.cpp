#include "atrous/models/backbone.h"

#include "atrous/core/error.h"

namespace atrous::models {

StrideWalk::StrideWalk(std::int64_t output_stride, std::int64_t so_far, std::int64_t whole)
    : output_stride_(output_stride), current_(so_far) {
  const bool power_of_two = output_stride > 0 && (output_stride & (output_stride - 1)) == 0;
  ATROUS_CHECK(ValueError, power_of_two && output_stride >= 4 && output_stride <= whole, "models",
               "output stride ", output_stride, " is not one of 4, 8, 16, ... up to ", whole);
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
