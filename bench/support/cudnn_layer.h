#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "atrous/core/tensor.h"
#include "bench/support/number.h"
#include "bench/support/shapes.h"

// The convolutions of shapes.h by cuDNN, to measure beside our own: NHWC, through its graph interface, with
// the fastest of the engines that its heuristics propose. Only builds with ATROUS_BENCH_CUDNN have it; the
// library never does.

namespace atrous::bench {

inline constexpr bool kHasCudnn = ATROUS_BENCH_CUDNN;

/// Whether the layer is one convolution of some kind.
inline bool in_cudnn(const Layer& layer) {
  return layer.kind == Kind::conv || layer.kind == Kind::depthwise || layer.kind == Kind::transposed;
}

enum class CudnnPass { forward, backward_input, backward_weight };

/// One pass of a layer.
class CudnnLayer {
 public:
  CudnnLayer(const Layer& layer, std::int64_t batch, CudnnPass pass, Number number, Device device);
  ~CudnnLayer();
  CudnnLayer(const CudnnLayer&) = delete;
  CudnnLayer& operator=(const CudnnLayer&) = delete;

  /// Our weight in cuDNN's order and back, both f32 on the host: the filters outermost, then the window, then
  /// the channels that one filter reads.
  Tensor weight_for_cudnn(const Tensor& weight) const;
  Tensor weight_from_cudnn(const Tensor& weight) const;

  /// A set of tensors to run on; two of them are read, the third is written: y forward, x in
  /// backward_input, weight in backward_weight. Returns its number.
  std::size_t bind(const Tensor& x, const Tensor& weight, const Tensor& y);
  /// Times the proposed engines on set 0 and keeps the fastest. Throws Error if none works.
  void choose();
  void run(std::size_t set);
  /// "engine 3, the best of 5"
  const std::string& choice() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace atrous::bench
