#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/elementwise/dropout.h"
#include "atrous/kernels/elementwise/elementwise.h"
#include "atrous/kernels/gaussian_filter/gaussian_filter.h"
#include "atrous/kernels/permutohedral/permutohedral.h"
#include "atrous/kernels/reduce/reduce.h"
#include "atrous/kernels/softmax/cross_entropy.h"
#include "atrous/kernels/softmax/softmax.h"
#include "tests/support/catch.h"
#include "tests/support/cuda.h"
#include "tests/support/guarded.h"

// Kernels that run at the speed of memory ask for whole sectors, and for shared memory without conflicts of
// banks: at most 5 % more than the bytes need. Counted by the emulator's checked build.

#ifdef ATROUS_CUDA_EMULATED
namespace atrous::tests {
namespace {

template <class Run>
void check_traffic(const char* what, const Run& run, double most_wavefronts = 1.05,
                   double most_sectors = 1.05) {
  if (!emu::checked_build()) return;
  const emu::AccessStats s = emu::stats_of(run);
  INFO(what << ": " << s.device_requests << " requests, " << s.shared_requests << " to shared memory\n"
            << emu::take_access_sites());
  CHECK(s.device_requests > 0);
  CHECK(s.sector_ratio() <= most_sectors);
  CHECK(s.wavefront_ratio() <= most_wavefronts);
}

}  // namespace

TEMPLATE_TEST_CASE("memory traffic: elementwise kernels", "[cuda][elementwise]", float, bf16) {
  using T = TestType;
  const std::int64_t n = 64 * 1024;
  const OnDevice<T> a(random_values<T>(n, 1)), b(random_values<T>(n, 2));
  OnDevice<T> y(n);
  OnDevice<double> scratch(kernels::reduce_workspace_size(n)), result(1);
  namespace k = kernels::cuda;
  check_traffic("relu", [&] { k::relu_forward<T>(kCudaStream, a.span(), y.span()); });
  check_traffic("relu backward", [&] { k::relu_backward<T>(kCudaStream, a.span(), b.span(), y.span()); });
  check_traffic("add", [&] { k::add_forward<T>(kCudaStream, a.span(), b.span(), y.span()); });
  check_traffic("dropout", [&] { k::dropout_forward<T>(kCudaStream, {0.5, 1, 2}, a.span(), y.span()); });
  check_traffic("sum", [&] { k::sum_forward<T>(kCudaStream, a.span(), scratch.span(), result.span()); });
}

TEMPLATE_TEST_CASE("memory traffic: batch norm", "[cuda][batch_norm]", float, bf16) {
  using T = TestType;
  using A = Accumulator<T>;
  for (const kernels::BatchNormDims d : {kernels::BatchNormDims{512, 128}, {64, 2048}, {2048, 24}}) {
    INFO(d.channels << " channels");
    const OnDevice<T> x(random_values<T>(d.pixels * d.channels, 1)), dy(random_values<T>(x.size(), 2)),
        gamma(random_values<T>(d.channels, 3)), beta(random_values<T>(d.channels, 4));
    OnDevice<double> sums(kernels::batch_norm_sums_size(d, kCudaStream.device)), mean(d.channels),
        var(d.channels);
    OnDevice<A> coefficients(kernels::batch_norm_coefficients_size(d));
    OnDevice<T> y(x.size()), dgamma(d.channels), dbeta(d.channels);
    const auto read = [](OnDevice<double>& v) { return Span<const double>(v.span()); };
    // A thread of 8 channels keeps 32 bytes of each coefficient, which it reads in two halves: once a strip,
    // from the caches.
    const double most = sizeof(T) == 2 ? 1.3 : 1.05;
    namespace k = kernels::cuda;
    check_traffic("statistics", [&] {
      k::batch_norm_statistics<T>(kCudaStream, d, x.span(), sums.span(), mean.span(), var.span());
    });
    check_traffic(
        "forward",
        [&] {
          k::batch_norm_forward<T>(kCudaStream, d, x.span(), read(mean), read(var), 1e-5, gamma.span(),
                                   beta.span(), coefficients.span(), y.span());
        },
        1.05, most);
    const int multiprocessors = emu::config().multiprocessors;
    for (const int have : {0, multiprocessors}) {  // in several launches, and on the chip
      INFO(have << " multiprocessors");
      emu::config().multiprocessors = have;
      check_traffic(
          "backward",
          [&] {
            k::batch_norm_backward_training<T>(kCudaStream, d, x.span(), dy.span(), read(mean), read(var),
                                               1e-5, gamma.span(), sums.span(), coefficients.span(), y.span(),
                                               dgamma.span(), dbeta.span());
          },
          1.05, most);
    }
    emu::config().multiprocessors = multiprocessors;
  }
}

TEMPLATE_TEST_CASE("memory traffic: softmax and cross entropy", "[cuda][softmax]", float, bf16) {
  using T = TestType;
  using A = Accumulator<T>;
  for (const kernels::SoftmaxDims d : {kernels::SoftmaxDims{1024, 21}, {1024, 19}, {256, 150}}) {
    INFO(d.classes << " classes");
    // Groups of four lanes: a pitch that suits them breaks the copies at the end of a row.
    const double most = d.classes == 150 ? 1.2 : 1.05;
    const OnDevice<T> x(random_values<T>(d.pixels * d.classes, 1)), dy(random_values<T>(x.size(), 2));
    const OnDevice<A> scales(std::vector<A>(static_cast<std::size_t>(d.pixels), A(0.5)));
    const OnDevice<std::int32_t> targets(std::vector<std::int32_t>(static_cast<std::size_t>(d.pixels), 3));
    OnDevice<T> y(x.size()), loss(1);
    OnDevice<std::uint8_t> labels(d.pixels);
    OnDevice<double> sums(kernels::cross_entropy_sums_size(d, kCudaStream.device));
    namespace k = kernels::cuda;
    check_traffic(
        "softmax", [&] { k::softmax_forward<T>(kCudaStream, d, x.span(), y.span()); }, most);
    check_traffic(
        "softmax backward", [&] { k::softmax_backward<T>(kCudaStream, d, x.span(), dy.span(), y.span()); },
        most);
    check_traffic(
        "argmax", [&] { k::argmax_channels<T>(kCudaStream, d, x.span(), labels.span(), {}); }, most);
    check_traffic(
        "cross entropy",
        [&] {
          k::cross_entropy<T>(kCudaStream, d, x.span(), targets.span(), scales.span(), sums.span(),
                              loss.span(), y.span());
        },
        most);
  }
}

TEMPLATE_TEST_CASE("memory traffic: filters of the dense CRF", "[cuda][permutohedral]", float, double) {
  using T = TestType;
  // A made-up lattice: splat s is of vertex s % 512. Rows of whole sectors.
  const kernels::LatticeDims d{512, 2};
  const std::int64_t vertices = 512, classes = 24;
  std::vector<std::int32_t> vertex, begin, splats, neighbours;
  for (std::int32_t s = 0; s < d.splats(); ++s) vertex.push_back(s % 512);
  for (std::int32_t u = 0; u < vertices; ++u)
    for (std::int32_t k = 0; k < 3; ++k) splats.push_back(u + 512 * k);
  for (std::int32_t u = 0; u <= vertices; ++u) begin.push_back(3 * u);
  for (std::int32_t k = 0; k < 6; ++k)
    for (std::int32_t u = 0; u < vertices; ++u) neighbours.push_back((u * (2 * k + 7) + 13) % 513);
  const OnDevice<std::int32_t> cvertex(vertex), cbegin(begin), csplats(splats), cneighbours(neighbours);
  const OnDevice<T> values(random_values<T>(d.points * classes, 1)), weight(random_values<T>(d.splats(), 2)),
      scale(random_values<T>(d.points, 3)), features(random_values<T>(d.points * 5, 4));
  OnDevice<T> table((vertices + 1) * classes), other(table.size()), out(values.size());
  namespace k = kernels::cuda;
  // A vertex's splats lie anywhere: a warp that meets two vertices reads two places of lists and weights.
  check_traffic(
      "splat",
      [&] {
        k::lattice_splat<T>(kCudaStream, d, vertices, classes, weight.span(), cvertex.span(), cbegin.span(),
                            csplats.span(), scale.span(), values.span(), table.span());
      },
      1, 1.1);
  check_traffic("blur", [&] {
    k::lattice_blur<T>(kCudaStream, d, vertices, classes, false, cneighbours.span(), table.span(),
                       other.span());
  });
  check_traffic(
      "slice",
      [&] {
        k::lattice_slice<T>(kCudaStream, d, classes, 1, weight.span(), cvertex.span(), scale.span(),
                            std::as_const(table).span(), out.span());
      },
      1, 1.15);
  // Of so few points the results, which threads write a row each, are a part.
  check_traffic(
      "exact",
      [&] {
        k::gaussian_filter_forward<T>(kCudaStream, {256, 5, classes}, features.span().part(0, 256 * 5),
                                      scale.span().part(0, 256), {}, values.span().part(0, 256 * classes),
                                      out.span().part(0, 256 * classes));
      },
      1.05, 1.7);
}

}  // namespace atrous::tests
#endif
