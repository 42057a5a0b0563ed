#include <algorithm>
#include <type_traits>

#include "atrous/core/parallel.h"
#include "atrous/kernels/conv2d/conv2d.h"
#include "atrous/kernels/conv2d/conv2d_body.h"
#include "atrous/kernels/conv2d/direct.h"
#include "atrous/kernels/conv2d/weight_gradient.h"
#include "atrous/kernels/conv2d/winograd.h"
#include "atrous/kernels/conv2d/winograd_weight_gradient.h"

// Which implementation serves which type: float the tuned kernels, everything else the plain bodies.

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
  return direct_workspace_size(DirectBlocking(direction, dims));
}
void pack(Gather direction, const Conv2dDims& dims, Span<const float> weight, Span<float> packed) {
  if (takes_winograd(direction, dims))
    winograd_pack(WinogradBlocking(direction, dims), weight, packed);
  else
    direct_pack(DirectBlocking(direction, dims), dims, weight, packed);
}
void run(Gather direction, const Conv2dDims& dims, Span<const float> source, Span<const float> packed,
         const Conv2dEpilogue<float>& epilogue, Span<float> workspace, Span<float> destination) {
  if (takes_winograd(direction, dims))
    winograd_run(WinogradBlocking(direction, dims), dims, source, packed, epilogue, workspace, destination);
  else
    direct_run(DirectBlocking(direction, dims), dims, source, packed, epilogue, workspace, destination);
}

}  // namespace

template <class T>
std::int64_t conv2d_packed_weight_size(const Conv2dDims& dims) {
  if constexpr (kTuned<T>) return packed_size(Gather::forward, dims);
  return dims.taps() * dims.in_channels * dims.out_channels;
}
template <class T>
std::int64_t conv2d_forward_packed_workspace_size(const Conv2dDims& dims) {
  if constexpr (kTuned<T>) return workspace_size(Gather::forward, dims);
  return 0;
}
template <class T>
std::int64_t conv2d_forward_workspace_size(const Conv2dDims& dims) {
  if constexpr (kTuned<T>) return packed_size(Gather::forward, dims) + workspace_size(Gather::forward, dims);
  return 0;
}
template <class T>
std::int64_t conv2d_backward_input_workspace_size(const Conv2dDims& dims) {
  if constexpr (kTuned<T>)
    return packed_size(Gather::backward_input, dims) + workspace_size(Gather::backward_input, dims);
  return 0;
}
template <class T>
std::int64_t conv2d_backward_weight_workspace_size(const Conv2dDims& dims) {
  if constexpr (kTuned<T>) {
    if (takes_winograd_weight_gradient(dims))
      return winograd_weight_gradient_workspace_size(WinogradWeightGradientBlocking(dims));
    return weight_gradient_workspace_size(WeightGradientBlocking(dims));
  }
  return 0;
}
template <class T>
std::int64_t conv2d_backward_bias_workspace_size(const Conv2dDims& dims) {
  return PixelChunks(dims.out_pixels()).count * dims.out_channels;
}
ATROUS_INSTANTIATE_F32_F64(conv2d_packed_weight_size);
ATROUS_INSTANTIATE_F32_F64(conv2d_forward_packed_workspace_size);
ATROUS_INSTANTIATE_F32_F64(conv2d_forward_workspace_size);
ATROUS_INSTANTIATE_F32_F64(conv2d_backward_input_workspace_size);
ATROUS_INSTANTIATE_F32_F64(conv2d_backward_weight_workspace_size);
ATROUS_INSTANTIATE_F32_F64(conv2d_backward_bias_workspace_size);

namespace cpu {
namespace {

// body(row, 0, width) for every row.
template <class Body>
void for_each_row(std::int64_t rows, std::int64_t width, const Body& body) {
  parallel_for(rows, [&](std::int64_t begin, std::int64_t end) {
    const Body local = body;  // its spans in registers: no store can be taken to change them
    for (std::int64_t row = begin; row < end; ++row) local(row, 0, width);
  });
}

template <class T>
Span<T> after(Span<T> s, std::int64_t begin) {
  return s.part(begin, s.size() - begin);
}

}  // namespace

template <class T>
void conv2d_pack_weight(Stream, const Conv2dDims& dims, Span<const T> weight, Span<T> packed) {
  if constexpr (kTuned<T>)
    pack(Gather::forward, dims, weight, packed);
  else
    std::copy(weight.begin(), weight.end(), packed.begin());
}
ATROUS_INSTANTIATE_F32_F64(conv2d_pack_weight);

template <class T>
void conv2d_forward_packed(Stream, const Conv2dDims& dims, Span<const T> x, Span<const T> packed,
                           const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y) {
  if constexpr (kTuned<T>)
    run(Gather::forward, dims, x, packed, epilogue, workspace, y);
  else
    for_each_row(dims.out_pixels(), dims.out_channels, Conv2dForward<T>{dims, x, packed, epilogue, y});
}
ATROUS_INSTANTIATE_F32_F64(conv2d_forward_packed);

template <class T>
void conv2d_forward(Stream stream, const Conv2dDims& dims, Span<const T> x, Span<const T> weight,
                    const Conv2dEpilogue<T>& epilogue, Span<T> workspace, Span<T> y) {
  if constexpr (kTuned<T>) {
    const std::int64_t size = conv2d_packed_weight_size<T>(dims);
    conv2d_pack_weight<T>(stream, dims, weight, workspace.part(0, size));
    conv2d_forward_packed<T>(stream, dims, x, workspace.part(0, size), epilogue, after(workspace, size), y);
  } else {
    conv2d_forward_packed<T>(stream, dims, x, weight, epilogue, workspace, y);
  }
}
ATROUS_INSTANTIATE_F32_F64(conv2d_forward);

template <class T>
void conv2d_backward_input(Stream, const Conv2dDims& dims, Span<const T> dy, Span<const T> weight,
                           Span<T> workspace, Span<T> dx) {
  if constexpr (kTuned<T>) {
    const std::int64_t size = packed_size(Gather::backward_input, dims);
    pack(Gather::backward_input, dims, weight, workspace.part(0, size));
    run(Gather::backward_input, dims, dy, workspace.part(0, size), {}, after(workspace, size), dx);
  } else {
    for_each_row(dims.in_pixels(), dims.in_channels, Conv2dBackwardInput<T>{dims, dy, weight, dx});
  }
}
ATROUS_INSTANTIATE_F32_F64(conv2d_backward_input);

template <class T>
void conv2d_backward_weight(Stream, const Conv2dDims& dims, Span<const T> x, Span<const T> dy,
                            Span<T> workspace, Span<T> dweight) {
  if constexpr (kTuned<T>) {
    if (takes_winograd_weight_gradient(dims))
      winograd_weight_gradient(WinogradWeightGradientBlocking(dims), dims, x, dy, workspace, dweight);
    else
      weight_gradient(WeightGradientBlocking(dims), dims, x, dy, workspace, dweight);
  } else {
    for_each_row(dims.taps() * dims.in_channels, dims.out_channels,
                 Conv2dBackwardWeight<T>{dims, x, dy, dweight});
  }
}
ATROUS_INSTANTIATE_F32_F64(conv2d_backward_weight);

template <class T>
void conv2d_backward_bias(Stream, const Conv2dDims& dims, Span<const T> dy, Span<T> workspace,
                          Span<T> dbias) {
  const PixelChunks chunks(dims.out_pixels());
  for_each_row(chunks.count, dims.out_channels,
               Conv2dBackwardBias<T>{chunks, dims.out_channels, dy, workspace});
  for (T& sum : dbias) sum = T(0);
  for (std::int64_t chunk = 0; chunk < chunks.count; ++chunk)
    for (std::int64_t k = 0; k < dims.out_channels; ++k) dbias[k] += workspace[chunk * dims.out_channels + k];
}
ATROUS_INSTANTIATE_F32_F64(conv2d_backward_bias);

}  // namespace cpu
}  // namespace atrous::kernels
