#include <algorithm>

#include "atrous/kernels/for_each.h"
#include "atrous/kernels/reduce/reduce.h"
#include "atrous/kernels/reduce/reduce_body.h"

namespace atrous::kernels {

std::int64_t reduce_workspace_size(std::int64_t n) { return (n + kReduceLeaf - 1) / kReduceLeaf; }

namespace cpu {
namespace {

template <class Rule, class T>
double reduce(Span<const T> x, Span<double> scratch) {
  const std::int64_t leaves = reduce_workspace_size(x.size());
  for_each_row(leaves, kReduceLeaf, ReduceLeaf<T, Rule>{x, scratch});
  return reduce_tree<Rule>(scratch.data(), leaves);
}

}  // namespace

template <class T>
void sum_forward(Stream, Span<const T> x, Span<double> scratch, Span<double> result) {
  result[0] = reduce<SumRule>(x, scratch);
}
ATROUS_INSTANTIATE(sum_forward);

template <class T>
void sum_of_squares(Stream, Span<const T> x, Span<double> scratch, Span<double> result) {
  result[0] = reduce<SumOfSquaresRule>(x, scratch);
}
ATROUS_INSTANTIATE(sum_of_squares);

template <class T>
void max_abs(Stream, Span<const T> x, Span<double> scratch, Span<double> result) {
  result[0] = reduce<MaxAbsRule>(x, scratch);
}
ATROUS_INSTANTIATE(max_abs);

template <class T>
void all_finite(Stream, Span<const T> x, Span<double> scratch, Span<double> result) {
  result[0] = reduce<AllFiniteRule>(x, scratch) == 0 ? 1 : 0;
}
ATROUS_INSTANTIATE(all_finite);

template <class T>
void sum_backward(Stream, double factor, Span<const T> dy, Span<T> dx) {
  const T value = T(factor * double(Accumulator<T>(dy[0])));
  parallel_for(dx.size(), kElementGrain, [&](std::int64_t begin, std::int64_t end) {
    std::fill(dx.begin() + begin, dx.begin() + end, value);
  });
}
ATROUS_INSTANTIATE(sum_backward);

}  // namespace cpu
}  // namespace atrous::kernels
