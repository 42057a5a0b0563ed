#include "atrous/kernels/pool2d/pool2d.h"

#include <cmath>
#include <vector>

#include "atrous/core/cpu_isa.h"
#include "atrous/core/parallel.h"
#include "atrous/kernels/pool2d/pool2d_simd.h"
#include "tests/support/catch.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
TEST_CASE("global_avg_pool2d: the mean in double on every instruction set, the same bits for any threads",
          "[kernels][pool2d]") {
  struct Case {
    std::int64_t batch, height, width, channels;
  };
  // 2,100 channels: more than are summed at once. 3 images of 40: a thread's part ends within one.
  for (const auto& [batch, height, width, channels] :
       {Case{1, 5, 7, 3}, {3, 6, 5, 40}, {2, 1, 1, 16}, {1, 3, 9, 17}, {2, 2, 6, 2100}}) {
    INFO(batch << " images of " << height << 'x' << width << 'x' << channels);
    const std::int64_t pixels = height * width;
    const auto x = random_values<float>(batch * pixels * channels, 1);
    std::vector<double> truth(std::size_t(batch * channels), 0.0);
    for (std::int64_t i = 0; i < batch * pixels; ++i)
      for (std::int64_t c = 0; c < channels; ++c)
        truth[std::size_t(i / pixels * channels + c)] += double(x[std::size_t(i * channels + c)]);
    const auto check = [&](const std::vector<float>& got) {
      for (std::size_t i = 0; i < got.size(); ++i)
        CHECK(std::abs(double(got[i]) - truth[i] / double(pixels)) < 3e-7);
    };
    for (const CpuIsa isa : {CpuIsa::baseline, CpuIsa::avx2, CpuIsa::avx512}) {
      if (isa > cpu_isa()) continue;
      INFO(cpu_isa_name(isa));
      Guarded<float> y(channels);
      kernels::simd::mean_of_image.on(isa)(x.data(), height, width, channels, channels, y.span().data());
      CHECK(y.intact());
      check(y.values());
    }
    std::vector<float> first;
    for (const int count : {1, 2, 3, 5}) {
      INFO(count << " threads");
      const ThreadsScope scope(count);
      Guarded<float> y(batch * channels);
      kernels::cpu::global_avg_pool2d_forward<float>({}, batch, height, width, channels, x, y.span());
      CHECK(y.intact());
      check(y.values());
      if (first.empty()) first = y.values();
      CHECK(y.values() == first);
    }
  }
}

}  // namespace atrous::tests
