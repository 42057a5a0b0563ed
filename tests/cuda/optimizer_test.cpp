#include "atrous/kernels/optimizer/optimizer.h"

#include <cmath>

#include "tests/support/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

template <class A>
std::vector<A> squared(std::vector<A> v) {
  for (A& x : v) x *= x;
  return v;
}

// Masters as they are: of the first half; of the rest something has written the weight.
template <class T>
std::vector<Accumulator<T>> mastered(const std::vector<T>& weight) {
  std::vector<Accumulator<T>> master(weight.begin(), weight.end());
  for (std::size_t i = weight.size() / 2; i < weight.size(); ++i) master[i] = 3;
  return master;
}

}  // namespace

TEMPLATE_TEST_CASE("optimizer: CUDA takes the CPU's steps", "[cuda][optimizer]", float, bf16, double) {
  using T = TestType;
  using A = Accumulator<T>;
  for (const std::int64_t n : {0, 1, 257, 1000}) {
    const auto gradient = random_values<T>(n, 1), weight = random_values<T>(n, 2);
    const auto first = random_values<A>(n, 3), second = squared(random_values<A>(n, 4));
    on_every_schedule([&] {
      const OnDevice<T> g(gradient);
      for (const double momentum : {0.0, 0.9})
        for (const bool nesterov : {false, true}) {
          const kernels::SgdRule rule{0.1, momentum, 0.01, nesterov};
          auto w = in_double(weight), v = in_double(first);
          if (momentum == 0) v.clear();
          kernels::cpu::sgd_step<double>({}, rule, in_double(gradient), v, {}, w);
          OnDevice<T> cw(weight);
          OnDevice<A> cv(first), master(mastered(weight));
          kernels::cuda::sgd_step<T>(kCudaStream, rule, g.span(), momentum == 0 ? Span<A>() : cv.span(),
                                     master.span(), cw.span());
          CHECK(gap(cw.values(), w) <= tolerance<T>());
          CHECK(gap(master.values(), w) <= tolerance<A>());
          if (momentum != 0) CHECK(gap(cv.values(), v) <= tolerance<A>());
          CHECK((cw.intact() && cv.intact()));
        }
      const kernels::AdamwRule rule{.learning_rate = 0.1, .weight_decay = 0.1, .step = 3};
      auto w = in_double(weight), m = in_double(first), s = in_double(second);
      kernels::cpu::adamw_step<double>({}, rule, in_double(gradient), m, s, {}, w);
      OnDevice<T> cw(weight);
      OnDevice<A> cm(first), cs(second), master(mastered(weight));
      kernels::cuda::adamw_step<T>(kCudaStream, rule, g.span(), cm.span(), cs.span(), master.span(),
                                   cw.span());
      CHECK(gap(master.values(), w) <= tolerance<A>());
      CHECK(gap(cw.values(), w) <= tolerance<T>());
      CHECK((gap(cm.values(), m) <= tolerance<A>() && gap(cs.values(), s) <= tolerance<A>()));
      CHECK((cw.intact() && cm.intact() && cs.intact()));
    });
  }
}

}  // namespace atrous::tests
