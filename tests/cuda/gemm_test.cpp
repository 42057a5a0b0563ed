#include "atrous/kernels/gemm/gemm.h"

#include <tuple>

#include "tests/support/against_double.h"
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

// The same with an epilogue; `misplaced`: no matrix lies at a multiple of 16 bytes.
template <class T>
std::vector<T> product_with_epilogue(const GemmDims& d, const std::vector<T>& a, const std::vector<T>& b,
                                     const std::vector<T>& bias, bool relu, bool misplaced = false) {
  const std::int64_t before = misplaced ? 1 : 0;
  const auto place = [&](std::vector<T> v) {
    v.insert(v.begin(), std::size_t(before), T(0.0f));
    return v;
  };
  const OnDevice<T> ca(place(a)), cb(place(b)), cbias(place(bias));
  OnDevice<T> workspace(kernels::gemm_workspace_size<T>(d, kCudaStream.device)),
      c(before + d.rows * d.columns);
  const auto behind = [&](auto span) { return span.part(before, span.size() - before); };
  kernels::cuda::gemm_with_epilogue<T>(kCudaStream, d, behind(ca.span()), behind(cb.span()),
                                       {bias.empty() ? Span<const T>() : behind(cbias.span()), relu},
                                       workspace.span(), behind(c.span()));
  CHECK((c.intact() && workspace.intact()));
  const std::vector<T> all = c.values();
  return {all.begin() + before, all.end()};
}

}  // namespace

TEMPLATE_TEST_CASE("gemm: bias and relu before c is written, wherever the matrices lie", "[cuda][gemm]",
                   float, bf16, double) {
  using T = TestType;
  for (const auto& [rows, columns, depth] : {std::tuple{1, 1, 1}, {37, 21, 19}, {8, 40, 64}, {3, 5, 0}})
    for (const bool transpose_b : {false, true})
      for (const bool with_bias : {false, true})
        for (const bool relu : {false, true}) {
          const GemmDims d{.rows = rows, .columns = columns, .depth = depth, .transpose_b = transpose_b};
          INFO(rows << 'x' << depth << " times " << depth << 'x' << columns << ", bias " << with_bias
                    << ", relu " << relu);
          const auto a = random_values<T>(d.rows * d.depth, 1), b = random_values<T>(d.depth * d.columns, 2),
                     bias = with_bias ? random_values<T>(d.columns, 3) : std::vector<T>();
          std::vector<double> truth(static_cast<std::size_t>(d.rows * d.columns));
          kernels::cpu::gemm<double>({}, d, in_double(a), in_double(b), {}, truth);
          for (std::size_t i = 0; i < truth.size(); ++i) {
            if (with_bias) truth[i] += in_double(bias)[i % bias.size()];
            if (relu) truth[i] = std::max(truth[i], 0.0);
          }
          const std::vector<T> c = product_with_epilogue(d, a, b, bias, relu);
          CHECK(gap(c, truth) <= tolerance<T>());
          // Another algorithm perhaps, and the same again from the plans kept.
          CHECK(gap(product_with_epilogue(d, a, b, bias, relu, true), truth) <= tolerance<T>());
          CHECK(same_bits(product_with_epilogue(d, a, b, bias, relu), c));
          std::vector<T> host(truth.size()),
              scratch(static_cast<std::size_t>(kernels::gemm_workspace_size<T>(d)));
          kernels::cpu::gemm_with_epilogue<T>({}, d, a, b, {bias, relu}, scratch, host);
          CHECK(gap(host, truth) <= tolerance<T>());
        }
}

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
