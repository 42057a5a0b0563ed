#include "atrous/kernels/gemm/gemm.h"

#include "tests/cuda/against_double.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

namespace atrous::tests {
namespace {

using kernels::GemmDims;

template <class T>
std::vector<T> product(const GemmDims& d, const std::vector<T>& a, const std::vector<T>& b) {
  const OnDevice<T> ca(a), cb(b);
  OnDevice<T> workspace(kernels::gemm_workspace_size<T>(d, kCudaStream.device)), c(d.rows * d.columns);
  kernels::cuda::gemm<T>(kCudaStream, d, ca.span(), cb.span(), workspace.span(), c.span());
  CHECK((c.intact() && workspace.intact()));
  return c.values();
}

}  // namespace

TEMPLATE_TEST_CASE("gemm: cuBLAS agrees with double on the CPU, transposed or not", "[cuda][gemm]", float,
                   bf16, double) {
  using T = TestType;
  for (const auto& [rows, columns, depth] :
       {std::tuple{1, 1, 1}, {1, 40, 30}, {37, 1, 19}, {13, 31, 33}, {30, 21, 64}, {2, 3, 0}, {0, 3, 2}})
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true}) {
        const GemmDims d{rows, columns, depth, transpose_a, transpose_b};
        INFO(rows << 'x' << depth << " times " << depth << 'x' << columns << ", transposed " << transpose_a
                  << transpose_b);
        const auto a = random_values<T>(d.rows * d.depth, 1), b = random_values<T>(d.depth * d.columns, 2);
        std::vector<double> truth(static_cast<std::size_t>(d.rows * d.columns));
        kernels::cpu::gemm<double>({}, d, in_double(a), in_double(b), {}, truth);
        CHECK(gap(product(d, a, b), truth) <= tolerance<T>());
      }
}

TEST_CASE("gemm: tf32 is used where it is allowed, and nowhere else", "[cuda][gemm]") {
  const GemmDims exact{8, 8, 64}, cut{.rows = 8, .columns = 8, .depth = 64, .allow_tf32 = true};
  const auto a = random_values<float>(8 * 64, 1), b = random_values<float>(64 * 8, 2);
  std::vector<double> truth(64);
  kernels::cpu::gemm<double>({}, exact, in_double(a), in_double(b), {}, truth);
  CHECK(gap(product(exact, a, b), truth) <= 1e-6);
  const double with_tf32 = gap(product(cut, a, b), truth);
  CHECK(with_tf32 <= 2e-3);
#ifdef ATROUS_CUDA_EMULATED
  CHECK(with_tf32 > 1e-6);  // a device may decide otherwise for such a small product
#endif
}

TEST_CASE("gemm: without a workspace cuBLAS does without", "[cuda][gemm]") {
  const GemmDims d{5, 6, 7};
  const auto a = random_values<float>(35, 1), b = random_values<float>(42, 2);
  std::vector<double> truth(30);
  kernels::cpu::gemm<double>({}, d, in_double(a), in_double(b), {}, truth);
  const OnDevice<float> ca(a), cb(b);
  OnDevice<float> c(30);
  kernels::cuda::gemm<float>(kCudaStream, d, ca.span(), cb.span(), {}, c.span());
  CHECK(gap(c.values(), truth) <= 1e-6);
}

}  // namespace atrous::tests
