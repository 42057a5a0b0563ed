#include "atrous/kernels/for_each_cuda.cuh"
#include "atrous/kernels/optimizer/optimizer.h"
#include "atrous/kernels/optimizer/optimizer_body.h"

// A thread an element: neighbours in a warp are neighbours in each of the three to seven streams of memory,
// which keep enough bytes in flight without wider accesses.

namespace atrous::kernels::cuda {

template <class T>
void sgd_step(Stream stream, const SgdRule& rule, Span<const T> gradient, Span<Accumulator<T>> velocity,
              Span<Accumulator<T>> master, Span<T> weight) {
  for_each(stream, weight.size(), SgdStep<T>(rule, gradient, velocity, master, weight));
}
ATROUS_INSTANTIATE(sgd_step);

template <class T>
void adamw_step(Stream stream, const AdamwRule& rule, Span<const T> gradient, Span<Accumulator<T>> mean,
                Span<Accumulator<T>> square, Span<Accumulator<T>> master, Span<T> weight) {
  for_each(stream, weight.size(),
           AdamwStep<T>{AdamwFactors<Accumulator<T>>(rule), gradient, mean, square, {master, weight}});
}
ATROUS_INSTANTIATE(adamw_step);

}  // namespace atrous::kernels::cuda
