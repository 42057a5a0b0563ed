#include <vector>

#include "atrous/kernels/conv2d/conv2d.h"
#include "tests/cuda/conv_support.h"

// How the tensor-core kernels touch memory, counted by the checked build of the emulator: no bank conflicts,
// and no byte of a sector unused where channels fill tiles.

#ifdef ATROUS_CUDA_EMULATED

namespace atrous::tests {
namespace {

template <class Kernel>
void check_accesses(const char* what, const Kernel& kernel) {
  const emu::AccessStats stats = emu::stats_of(kernel);
  INFO(what << ": " << stats.wavefronts << " wavefronts for " << stats.ideal_wavefronts << ", "
            << stats.sectors << " sectors for " << stats.ideal_sectors);
  CHECK(stats.ideal_wavefronts > 0);
  CHECK(stats.wavefront_ratio() <= 1.05);
  CHECK(stats.ideal_sectors > 0);
  CHECK(stats.sector_ratio() <= 1.05);
}

template <class T>
void check_kernels(bool tf32) {
  const Device cuda = kCudaStream.device;
  const ConvProblem<T> p({.batch = 1,
                          .in_h = 8,
                          .in_w = 16,
                          .in_channels = 128,
                          .out_channels = 128,
                          .window_w = 2,
                          .padding = {0, 0, 1, 0},
                          .allow_tf32 = tf32});
  const OnDevice<T> x(p.x), weight(p.weight), dy(p.dy);
  OnDevice<T> y(dy.size()), dx(x.size()), dweight(weight.size());
  OnDevice<T> forward(kernels::conv2d_forward_workspace_size<T>(p.d, cuda)),
      backward(kernels::conv2d_backward_input_workspace_size<T>(p.d, cuda)),
      gradient(kernels::conv2d_backward_weight_workspace_size<T>(p.d, cuda));
  check_accesses("forward", [&] {
    kernels::cuda::conv2d_forward<T>(kCudaStream, p.d, x.span(), weight.span(), {}, forward.span(), y.span());
  });
  OnDevice<double> sums(kernels::conv2d_forward_statistics_sums_size<T>(p.d, cuda)), mean(p.d.out_channels),
      var(p.d.out_channels);
  check_accesses("forward_statistics", [&] {
    kernels::cuda::conv2d_forward_statistics<T>(kCudaStream, p.d, x.span(), weight.span(), {}, forward.span(),
                                                sums.span(), y.span(), mean.span(), var.span());
  });
  check_accesses("backward_input", [&] {
    kernels::cuda::conv2d_backward_input<T>(kCudaStream, p.d, dy.span(), weight.span(), backward.span(),
                                            dx.span());
  });
  check_accesses("backward_weight", [&] {
    kernels::cuda::conv2d_backward_weight<T>(kCudaStream, p.d, x.span(), dy.span(), gradient.span(),
                                             dweight.span());
  });
}

}  // namespace

TEST_CASE("conv2d on CUDA: no bank conflicts, and full sectors", "[cuda][conv2d]") {
  if (!emu::checked_build()) return;  // only that build counts
  check_kernels<bf16>(false);
  check_kernels<float>(true);
}

}  // namespace atrous::tests

#endif
