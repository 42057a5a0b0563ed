#include "atrous/kernels/conv2d/wgmma_trial.h"

#include <cmath>
#include <sstream>

namespace atrous::kernels {

std::vector<std::vector<Conv2dDims>> wgmma_trials(Gather direction, int outputs, int multiprocessors) {
  // The second leaves the last 64 outputs of a tile empty.
  const std::int64_t tail = outputs - 56, more_tail = outputs == 256 ? 168 : 56;
  const auto with = [&](Conv2dDims d, std::int64_t channels, std::int64_t destination_channels) {
    d.in_channels = direction == Gather::forward ? channels : destination_channels;
    d.out_channels = direction == Gather::forward ? destination_channels : channels;
    return with_output_size(d);
  };
  const Conv2dDims rate{
      .batch = 2, .in_h = 9, .in_w = 7, .window_h = 3, .window_w = 3, .padding = 2, .rate = 2};
  const Conv2dDims wide_rate{
      .batch = 4, .in_h = 15, .in_w = 12, .window_h = 3, .window_w = 3, .padding = 4, .rate = 4};
  const Conv2dDims stride{.batch = 1,
                          .in_h = 13,
                          .in_w = 11,
                          .window_h = 3,
                          .window_w = 2,
                          .stride = PerAxis(2, 3),
                          .padding = {1, 2, 0, 3},
                          .rate = PerAxis(2, 1)};
  const Conv2dDims padding_only{
      .batch = 100, .in_h = 7, .in_w = 7, .window_h = 1, .window_w = 1, .stride = 3, .padding = 4};
  // Three steps a tile; some blocks compute one, some two.
  const Conv2dDims many_tiles{.batch = 1,
                              .in_h = multiprocessors + multiprocessors / 2 + 1,
                              .in_w = kTilePixels,
                              .window_h = 1,
                              .window_w = 3,
                              .padding = {0, 0, 1, 1}};
  return {{with(rate, 72, tail), with(stride, 64, more_tail)},
          {with(wide_rate, 128, outputs)},
          {with(padding_only, 64, outputs)},
          {with(many_tiles, 64, outputs)}};
}

std::string first_difference(Span<const bf16> got, Span<const bf16> expected) {
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    const float a = float(got[i]), b = float(expected[i]);
    if (std::abs(a - b) <= std::abs(b) / 128) continue;
    std::ostringstream text;
    text << "element " << i << " of " << expected.size() << " is " << a << ", not " << b;
    return text.str();
  }
  return {};
}

}  // namespace atrous::kernels
