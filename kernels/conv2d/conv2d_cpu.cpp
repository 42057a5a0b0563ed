#include <algorithm>
#include <type_traits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/conv2d/conv2d_cpu.h"
#include "atrous/kernels/conv2d/direct.h"
#include "atrous/kernels/conv2d/dispatch.h"
#include "atrous/kernels/conv2d/implicit_gemm.h"
#include "atrous/kernels/conv2d/pointwise.h"
#include "atrous/kernels/conv2d/weight_gemm.h"
#include "atrous/kernels/conv2d/weight_gradient.h"
#include "atrous/kernels/conv2d/wgmma_gemm.h"
#include "atrous/kernels/conv2d/winograd.h"
#include "atrous/kernels/conv2d/winograd_weight_gradient.h"
#include "atrous/kernels/for_each.h"

// Which implementation serves which type: float the tuned kernels, double and bf16 the plain bodies.

namespace atrous::kernels {
namespace {

template <class T>
constexpr bool kTuned = std::is_same_v<T, float>;

// The two tuned ways of a gather.
std::int64_t packed_size(Gather direction, const Conv2dDims& dims) {
  if (takes_winograd(direction, dims)) return WinogradBlocking(direction, dims).packed_size();
  return DirectBlocking(direction, dims).packed_size();
}
std::int64_t workspace_size(Gather direction, const Conv2dDims& dims) {
  if (takes_winograd(direction, dims)) return winograd_workspace_size(WinogradBlocking(direction, dims));
  return direct_workspace_size(DirectBlocking(direction, dims), dims);
}
void pack(Gather direction, const Conv2dDims& dims, Span<const float> weight, Span<float> packed) {
  if (takes_winograd(direction, dims))
    winograd_pack(WinogradBlocking(direction, dims), weight, packed);
  else
    direct_pack(DirectBlocking(direction, dims), dims, weight, packed);
}
const char* name_of(const WinogradCut& cut) {
  return cut.most_outs == kLargeWinograd ? "winograd, 6x6" : "winograd, 4x4";
}
void say_way(Gather direction, const Conv2dDims& dims) {
  if (!verbose("dispatch")) return;
  const DirectBlocking direct(direction, dims);
  say_dispatch(name_of(direction), Dtype::f32, dims,
               takes_winograd(direction, dims) ? name_of(WinogradBlocking(direction, dims).cut)
               : direct.in_place               ? "in place"
               : direct.windows                ? "windows"
               : direct.pairs                  ? "direct, bf16"
                                               : "direct");
}
void run(Gather direction, const Conv2dDims& dims, Span<const float> source, Span<const float> packed,
         const Conv2dEpilogue<float>& epilogue, Span<float> workspace, Span<float> destination) {
  say_way(direction, dims);
  if (takes_winograd(direction, dims))
    winograd_run(WinogradBlocking(direction, dims), dims, source, packed, epilogue, workspace, destination);
  else
    direct_run(DirectBlocking(direction, dims), dims, source, packed, epilogue, workspace, destination);
}

// Whether the tiled CUDA kernels serve the type: they keep sums of slices.
template <class T>
bool tiled_on(Device device) {
  return !device.is_cpu() && !std::is_same_v<T, double>;
}
template <class T>
std::int64_t cuda_gather_workspace_size(Gather direction, const Conv2dDims& dims, Device device) {
  if (device.is_cpu()) return 0;
  std::int64_t size = 0;
  if (tiled_on<T>(device) && takes_implicit_gemm(direction, dims)) {
    std::int64_t sums = implicit_gemm_partial_sums(make_tile_schedules({direction}, {dims}, int(sizeof(T))));
    if constexpr (std::is_same_v<T, bf16>) sums = std::max(sums, wgmma_partial_sums({direction}, {dims}));
    size = accumulator_room<T>(sums);
  }
  if (is_pointwise(dims))
    size = std::max(size, gemm_workspace_size<T>(pointwise_product(direction, dims), device));
  return size;
}

// The same from weights as they are.
std::int64_t unpacked_workspace_size(Gather direction, const Conv2dDims& dims) {
  if (takes_winograd(direction, dims))
    return winograd_unpacked_workspace_size(WinogradBlocking(direction, dims));
  return packed_size(direction, dims) + workspace_size(direction, dims);
}

// Winograd's way has weights for the pairs of points that its patches use; the direct ones read all of a
// weight.
bool same_packing(const Conv2dDims& a, const Conv2dDims& b) {
  const bool winograd = takes_winograd(Gather::forward, a);
  if (winograd != takes_winograd(Gather::forward, b)) return false;
  if (winograd)
    return WinogradBlocking(Gather::forward, a).cut.slots == WinogradBlocking(Gather::forward, b).cut.slots;
  const DirectBlocking ours(Gather::forward, a), theirs(Gather::forward, b);
  return ours.in_place == theirs.in_place && ours.windows == theirs.windows && ours.pairs == theirs.pairs;
}

BatchNormDims outputs_of(const Conv2dDims& dims) { return {dims.out_pixels(), dims.out_channels}; }

}  // namespace

template <class T>
std::int64_t conv2d_packed_weight_size(const Conv2dDims& dims, Device device) {
  if constexpr (kTuned<T>)
    if (device.is_cpu()) return packed_size(Gather::forward, dims);
  return dims.taps() * dims.in_channels * dims.out_channels;
}
template <class T>
std::int64_t conv2d_forward_packed_workspace_size(const Conv2dDims& dims, Device device) {
  if constexpr (kTuned<T>)
    if (device.is_cpu()) return workspace_size(Gather::forward, dims);
  return cuda_gather_workspace_size<T>(Gather::forward, dims, device);
}
template <class T>
bool conv2d_same_packing(const Conv2dDims& a, const Conv2dDims& b, Device device) {
  if constexpr (kTuned<T>)
    if (device.is_cpu()) return a == b || same_packing(a, b);
  return true;
}
template <class T>
std::int64_t conv2d_forward_workspace_size(const Conv2dDims& dims, Device device) {
  if constexpr (kTuned<T>)
    if (device.is_cpu()) return unpacked_workspace_size(Gather::forward, dims);
  return cuda_gather_workspace_size<T>(Gather::forward, dims, device);
}
template <class T>
std::int64_t conv2d_forward_statistics_workspace_size(const Conv2dDims& dims, Device device) {
  return conv2d_forward_workspace_size<T>(dims, device);
}
template <class T>
std::int64_t conv2d_forward_statistics_sums_size(const Conv2dDims& dims, Device device) {
  if (tiled_on<T>(device) && statistics_in_tiles(dims) && takes_implicit_gemm(Gather::forward, dims))
    return std::max(implicit_gemm_moments(make_tile_schedules({Gather::forward}, {dims}, int(sizeof(T)))),
                    std::is_same_v<T, bf16> ? batch_norm_sums_size(outputs_of(dims), device) : 0);
  return batch_norm_sums_size(outputs_of(dims), device);
}
template <class T>
std::int64_t conv2d_backward_input_workspace_size(const Conv2dDims& dims, Device device) {
  if constexpr (kTuned<T>)
    if (device.is_cpu()) return unpacked_workspace_size(Gather::backward_input, dims);
  return cuda_gather_workspace_size<T>(Gather::backward_input, dims, device);
}
template <class T>
std::int64_t conv2d_backward_weight_workspace_size(const Conv2dDims& dims, Device device) {
  if constexpr (kTuned<T>)
    if (device.is_cpu()) {
      if (takes_winograd_weight_gradient(dims))
        return winograd_weight_gradient_workspace_size(WinogradWeightGradientBlocking(dims));
      return weight_gradient_workspace_size(WeightGradientBlocking(dims));
    }
  if (!device.is_cpu() && is_pointwise(dims))
    return gemm_workspace_size<T>(pointwise_weight_product(dims), device);
  if (!tiled_on<T>(device) || !takes_weight_gemm(dims)) return 0;
  return accumulator_room<T>(WeightGemmPlan(dims, int(sizeof(T))).partial_sums(dims));
}
template <class T>
std::int64_t conv2d_backward_bias_workspace_size(const Conv2dDims& dims, Device) {
  return accumulator_room<T>(PixelChunks(dims.out_pixels()).count * dims.out_channels);
}
ATROUS_INSTANTIATE(conv2d_packed_weight_size);
ATROUS_INSTANTIATE(conv2d_forward_packed_workspace_size);
ATROUS_INSTANTIATE(conv2d_same_packing);
ATROUS_INSTANTIATE(conv2d_forward_workspace_size);
ATROUS_INSTANTIATE(conv2d_forward_statistics_workspace_size);
ATROUS_INSTANTIATE(conv2d_forward_statistics_sums_size);
ATROUS_INSTANTIATE(conv2d_backward_input_workspace_size);
ATROUS_INSTANTIATE(conv2d_backward_weight_workspace_size);
ATROUS_INSTANTIATE(conv2d_backward_bias_workspace_size);

namespace cpu {

void conv2d_gather(Gather direction, const Conv2dDims& dims, Span<const float> source,
                   Span<const float> weight, const Conv2dEpilogue<float>& epilogue, Span<float> workspace,
                   Span<float> destination) {
  if (takes_winograd(direction, dims)) {
    say_way(direction, dims);
    return winograd_run_unpacked(WinogradBlocking(direction, dims), dims, source, weight, epilogue, workspace,
                                 destination);
  }
  const std::int64_t size = packed_size(direction, dims);
  pack(direction, dims, weight, workspace.part(0, size));
  run(direction, dims, source, workspace.part(0, size), epilogue,
      workspace.part(size, workspace.size() - size), destination);
}

namespace {

// body(row, 0, width) for every row, whose elements are sums of `terms`.
template <class Body>
void for_each_whole_row(std::int64_t rows, std::int64_t width, std::int64_t terms, const Body& body) {
  parallel_for(rows, grain_of(width * terms), [&](std::int64_t begin, std::int64_t end) {
    const Body local = body;  // its spans in registers: no store can be taken to change them
    for (std::int64_t row = begin; row < end; ++row) local(row, 0, width);
  });
}

}  // namespace

template <class T>
void conv2d_pack_weight(Stream, const Conv2dDims& dims, Span<const T> weight, Span<T> packed) {
  if constexpr (kTuned<T>)
    pack(Gather::forward, dims, weight, packed);
  else
    std::copy(weight.begin(), weight.end(), packed.begin());
}
ATROUS_INSTANTIATE(conv2d_pack_weight);

template <class T>
void conv2d_forward_packed(Stream, const Conv2dDims& dims, Span<const T> x, Span<const T> packed,
                           const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y) {
  if constexpr (kTuned<T>)
    run(Gather::forward, dims, x, packed, epilogue, workspace, y);
  else
    for_each_whole_row(dims.out_pixels(), dims.out_channels, dims.taps() * dims.in_channels,
                       Conv2dForward<T>{dims, x, packed, epilogue, y});
}
ATROUS_INSTANTIATE(conv2d_forward_packed);

template <class T>
void conv2d_forward(Stream stream, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
                    const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y) {
  if constexpr (kTuned<T>)
    conv2d_gather(Gather::forward, dims, x, weight, epilogue, workspace, y);
  else
    conv2d_forward_packed<T>(stream, dims, x, weight, epilogue, workspace, y);
}
ATROUS_INSTANTIATE(conv2d_forward);

template <class T>
void conv2d_forward_statistics(Stream stream, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
                               const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<double> sums,
                               Span<T> y, Span<double> mean, Span<double> var) {
  conv2d_forward<T>(stream, dims, x, weight, epilogue, workspace, y);
  if (!y.empty()) batch_norm_statistics<T>(stream, outputs_of(dims), y, sums, mean, var);
}
ATROUS_INSTANTIATE(conv2d_forward_statistics);

template <class T>
void conv2d_backward_input(Stream, const Conv2dDims& dims, Span<const T> dy, Span<const T> weight,
                           Span<T> workspace, Span<T> dx) {
  if constexpr (kTuned<T>)
    conv2d_gather(Gather::backward_input, dims, dy, weight, {}, workspace, dx);
  else
    for_each_whole_row(dims.in_pixels(), dims.in_channels, dims.taps() * dims.out_channels,
                       Conv2dBackwardInput<T>{dims, dy, weight, {}, dx});
}
ATROUS_INSTANTIATE(conv2d_backward_input);

template <class T>
void conv2d_backward_weight(Stream, const Conv2dDims& dims, Span<const T> x, Span<const T> dy,
                            Span<T> workspace, Span<T> dweight) {
  if constexpr (kTuned<T>) {
    const bool winograd = takes_winograd_weight_gradient(dims);
    if (verbose("dispatch"))
      say_dispatch("backward_weight", Dtype::f32, dims,
                   winograd ? name_of(WinogradWeightGradientBlocking(dims).cut) : "direct");
    if (winograd)
      winograd_weight_gradient(WinogradWeightGradientBlocking(dims), dims, x, dy, workspace, dweight);
    else
      weight_gradient(WeightGradientBlocking(dims), dims, x, dy, workspace, dweight);
  } else {
    for_each_whole_row(dims.taps() * dims.in_channels, dims.out_channels, dims.out_pixels(),
                       Conv2dBackwardWeight<T>{dims, x, dy, dweight});
  }
}
ATROUS_INSTANTIATE(conv2d_backward_weight);

template <class T>
void conv2d_backward_bias(Stream, const Conv2dDims& dims, Span<const T> dy, Span<T> workspace,
                          Span<T> dbias) {
  const PixelChunks chunks(dims.out_pixels());
  const Span<Accumulator<T>> partial = as_accumulators(workspace);
  for_each_whole_row(chunks.count, dims.out_channels,
                     dims.out_pixels() / std::max<std::int64_t>(chunks.count, 1),
                     Conv2dBackwardBias<T>{chunks, dims.out_channels, dy, partial});
  for_each(dims.out_channels, Conv2dBiasTotal<T>{chunks.count, dims.out_channels, partial, dbias});
}
ATROUS_INSTANTIATE(conv2d_backward_bias);

}  // namespace cpu
}  // namespace atrous::kernels
