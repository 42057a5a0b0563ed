#include "atrous/kernels/elementwise/elementwise.h"

#include <cstdint>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

TEMPLATE_TEST_CASE("elementwise: relu on CUDA gives the CPU's numbers", "[cuda][elementwise]", float,
                   double) {
  using T = TestType;
  for (const std::int64_t n : {0, 1, 31, 257, 1000}) {
    const std::vector<T> x = random_values<T>(n, 1);
    Guarded<T> expected(n);
    kernels::cpu::relu_forward<T>({}, x, expected.span());
    on_every_schedule([&] {
      const OnDevice<T> device_x(x);
      OnDevice<T> y(n);
      kernels::cuda::relu_forward<T>(kCudaStream, device_x.span(), y.span());
      CHECK(y.values() == expected.values());
      CHECK(y.intact());
    });
  }
}

}  // namespace
}  // namespace atrous::tests
