#include "atrous/kernels/conv2d/weight_gemm.h"

#include <algorithm>

#include "atrous/kernels/conv2d/tap_plan.h"

namespace atrous::kernels {
namespace {

// Blocks that are worth cutting the sum for: two for each place of an H200, whose taps differ in length.
constexpr std::int64_t kBlocks = 2 * 264;
constexpr std::int64_t kLeastPixels = 512;  // of a slice

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::int64_t WeightGemmPlan::pixels(const Conv2dDims& d, std::int64_t r, std::int64_t s) {
  return d.batch * live_outputs(d.out_h, d.in_h, d.padding.top, r, d.rate.h, d.stride.h).count *
         live_outputs(d.out_w, d.in_w, d.padding.left, s, d.rate.w, d.stride.w).count;
}

WeightGemmPlan::WeightGemmPlan(const Conv2dDims& d, int element_bytes, std::int64_t beside) {
  by_tap = d.in_channels >= 64;
  const std::int64_t rows = by_tap ? d.in_channels : d.taps() * d.in_channels;
  const bool tensor_cores = element_bytes == 2 || d.allow_tf32;
  tile = tensor_cores && rows > 64 && d.out_channels > 64 ? 128 : 64;
  row_tiles = divide_up(rows, tile);
  column_tiles = divide_up(d.out_channels, tile);
  std::int64_t most = d.out_pixels();
  if (by_tap) {
    most = 0;
    for (std::int64_t r = 0; r < d.window_h; ++r)
      for (std::int64_t s = 0; s < d.window_w; ++s) most = std::max(most, pixels(d, r, s));
  }
  const std::int64_t all = tiles(d) + beside;
  const std::int64_t wanted = std::clamp<std::int64_t>(kBlocks / std::max<std::int64_t>(all, 1), 1,
                                                       std::max<std::int64_t>(1, most / kLeastPixels));
  slice = std::max<std::int64_t>(32, divide_up(divide_up(most, wanted), 32) * 32);
  slices = divide_up(most, slice);
}

std::int64_t WeightGemmPlan::partial_sums(const Conv2dDims& d) const {
  return slices * d.taps() * d.in_channels * d.out_channels;
}

bool takes_weight_gemm(const Conv2dDims& d) {
  return fits_tiles(d) && d.taps() < (1 << 16) && d.in_channels < (1 << 15) && d.out_channels < (1 << 20) &&
         d.taps() * d.in_channels * d.in_channels < (std::int64_t(1) << 32);
}

std::vector<WeightGemmPlan> weight_gemm_plans(const std::vector<Conv2dDims>& dims, int element_bytes) {
  std::int64_t all = 0;
  for (const Conv2dDims& d : dims) all += WeightGemmPlan(d, element_bytes).tiles(d);
  std::vector<WeightGemmPlan> plans;
  for (const Conv2dDims& d : dims)
    plans.emplace_back(d, element_bytes, all - WeightGemmPlan(d, element_bytes).tiles(d));
  return plans;
}

bool take_one_weight_gemm(const std::vector<Conv2dDims>& dims, int element_bytes) {
  if (dims.size() > std::size_t(kWeightProblems)) return false;
  const WeightGemmPlan first(dims[0], element_bytes);
  return std::all_of(dims.begin(), dims.end(), [&](const Conv2dDims& d) {
    const WeightGemmPlan plan(d, element_bytes);
    return takes_weight_gemm(d) && plan.tile == first.tile && plan.by_tap == first.by_tap;
  });
}

}  // namespace atrous::kernels
