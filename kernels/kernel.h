#pragma once

#include "atrous/core/config.h"
#include "atrous/core/cpu_isa.h"
#include "atrous/core/device.h"
#include "atrous/core/dry_run.h"
#include "atrous/core/dtype.h"
#include "atrous/core/error.h"
#include "atrous/core/span.h"

// How a kernel is declared, chosen and compiled. A kernel is a function template over the element type that
// takes a Stream, a struct of sizes and spans. It overwrites its outputs, allocates nothing and checks
// nothing: sizes were checked by the op.
//
//   ATROUS_KERNEL(relu_forward, Span<const T> x, Span<T> y);      in <family>.h; declares, for every T,
//       cpu::relu_forward<T>(stream, x, y)                        defined in <family>_cpu.cpp
//       cuda::relu_forward<T>(stream, x, y)                       defined in <family>_cuda.cu
//       relu_forward<T>(stream, x, y)                             picks one of them by the stream's device
//   ATROUS_INSTANTIATE(relu_forward);                             after a definition, inside its namespace
//
// In a build without CUDA, the third throws DeviceError for a CUDA stream. In a build with CUDA, a kernel
// without its CUDA half is a link error that names it. In a DryRun the third does nothing.

namespace atrous::kernels {

template <class Function>
class Kernel;

template <class... Args>
class Kernel<void(Stream, Args...)> {
 public:
  using Function = void(Stream, Args...);
  constexpr Kernel(const char* name, Function* cpu, Function* cuda) : name_(name), cpu_(cpu), cuda_(cuda) {}

  void operator()(Stream stream, Args... args) const {
    const bool on_cpu = stream.device.is_cpu();
    ATROUS_CHECK(DeviceError, on_cpu || cuda_, name_, "asked for on ", stream.device,
                 ", and this build has no CUDA");
    if (in_dry_run()) return;
    if (on_cpu) return cpu_(stream, args...);
    cuda_(stream, args...);
  }

 private:
  const char* name_;
  Function* cpu_;
  Function* cuda_;
};

}  // namespace atrous::kernels

#if ATROUS_WITH_CUDA
#define ATROUS_CUDA_HALF(name) cuda::name<T>
#else
#define ATROUS_CUDA_HALF(name) nullptr
#endif

#define ATROUS_KERNEL(name, ...)                         \
  namespace cpu {                                        \
  template <class T>                                     \
  void name(Stream stream, __VA_ARGS__);                 \
  }                                                      \
  namespace cuda {                                       \
  template <class T>                                     \
  void name(Stream stream, __VA_ARGS__);                 \
  }                                                      \
  template <class T>                                     \
  inline constexpr Kernel<decltype(cpu::name<T>)> name { \
#name, cpu::name < T>, ATROUS_CUDA_HALF(name)        \
  }

/// Compiles a kernel for every element type: float, double and bf16.
#define ATROUS_INSTANTIATE(name)                \
  template decltype(name<float>) name<float>;   \
  template decltype(name<double>) name<double>; \
  template decltype(name<bf16>) name<bf16>
/// For kernels whose bodies do not serve bf16 yet.
#define ATROUS_INSTANTIATE_F32_F64(name)      \
  template decltype(name<float>) name<float>; \
  template decltype(name<double>) name<double>
