#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/elementwise/dropout.h"
#include "atrous/kernels/elementwise/elementwise.h"
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

}  // namespace atrous::tests
#endif
