#include "atrous/kernels/layout/layout.h"

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::ChannelRunDims;
using kernels::PadDims;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

TEMPLATE_TEST_CASE("layout: CUDA moves runs of channels as the CPU does", "[cuda][layout]", float, bf16,
                   double) {
  using T = TestType;
  // rows, channels and first channel of x, channels and first channel of y, count
  for (const ChannelRunDims& d : {ChannelRunDims{7, 5, 1, 9, 3, 4},
                                  {13, 16, 8, 40, 24, 8},
                                  {13, 16, 8, 40, 20, 8},
                                  {3, 48, 0, 48, 0, 48},
                                  {0, 8, 0, 8, 0, 8},
                                  {37, 1, 0, 3, 2, 1},
                                  {1, 8, 0, 16, 8, 8}}) {
    INFO(d.rows << " rows, " << d.count << " of " << d.x_channels << " channels to " << d.y_channels);
    const auto x = random_values<T>(d.rows * d.x_channels, 1),
               old = random_values<T>(d.rows * d.y_channels, 2);
    std::vector<T> copied = old, embedded = old;
    kernels::cpu::copy_channels<T>({}, d, x, copied);
    kernels::cpu::embed_channels<T>({}, d, x, embedded);
    on_every_schedule([&] {
      const OnDevice<T> cx(x);
      OnDevice<T> copy(old), embed(d.rows * d.y_channels);
      kernels::cuda::copy_channels<T>(kCudaStream, d, cx.span(), copy.span());
      kernels::cuda::embed_channels<T>(kCudaStream, d, cx.span(), embed.span());
      CHECK(same_bits(copy.values(), copied));
      CHECK(same_bits(embed.values(), embedded));
      CHECK((copy.intact() && embed.intact()));
    });
  }
}

TEMPLATE_TEST_CASE("layout: CUDA pads and crops as the CPU does", "[cuda][layout]", float, bf16, double) {
  using T = TestType;
  // batch, height, width, channels, top, left, new height and width
  for (const PadDims& d : {PadDims{2, 3, 4, 5, 1, 2, 6, 7},
                           {2, 3, 4, 8, 1, 2, 6, 7},
                           {1, 5, 6, 16, -1, -2, 3, 9},
                           {1, 2, 2, 3, 5, 5, 4, 4},
                           {0, 2, 2, 8, 1, 1, 4, 4},
                           {2, 4, 4, 8, -1, -1, 2, 2}}) {
    INFO(d.in_h << 'x' << d.in_w << 'x' << d.channels << " to " << d.out_h << 'x' << d.out_w);
    const auto x = random_values<T>(d.batch * d.in_h * d.in_w * d.channels, 1);
    std::vector<T> expected(size(d.batch * d.out_h * d.out_w * d.channels), T(0));
    kernels::cpu::pad_forward<T>({}, d, 0.7, x, expected);
    on_every_schedule([&] {
      const OnDevice<T> cx(x);
      OnDevice<T> y(std::int64_t(expected.size()));
      kernels::cuda::pad_forward<T>(kCudaStream, d, 0.7, cx.span(), y.span());
      CHECK(same_bits(y.values(), expected));
      CHECK(y.intact());
    });
  }
}

}  // namespace atrous::tests
