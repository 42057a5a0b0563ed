#include "atrous/kernels/reduce/channel_strips.cuh"
#include "atrous/kernels/reduce/reduce.h"

namespace atrous::kernels::cuda {
namespace {

template <class T>
struct OwnValue {
  using A = Accumulator<T>;
  static constexpr int kInputs = 1, kConstants = 0, kSums = 1;
  const T* in[1];
  __device__ void terms(const A (&v)[1], const A*, A (&q)[1]) const { q[0] = v[0]; }
};

template <class T>
struct Rounded {
  Span<T> y;
  __device__ void operator()(std::int64_t c, const double (&total)[1]) const { y[c] = T(total[0]); }
};

}  // namespace

template <class T>
void channel_sums(Stream stream, const RowsDims& dims, Span<const T> x, Span<double> scratch, Span<T> y) {
  strip_sums<T>(stream, dims.rows, dims.channels, in_vectors<T>(kVector<T>, x.data()),
                OwnValue<T>{{x.data()}}, scratch.data(), Rounded<T>{y});
}
ATROUS_INSTANTIATE(channel_sums);

}  // namespace atrous::kernels::cuda
