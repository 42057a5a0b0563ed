#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "atrous/core/cuda_check.h"
#include "atrous/core/random.h"
#include "atrous/kernels/batch_norm/batch_norm.h"
#include "atrous/kernels/conv2d/dispatch.h"
#include "atrous/kernels/conv2d/wgmma_trial.h"
#include "atrous/kernels/cuda.cuh"
#include "atrous/kernels/first_use.h"

// ATROUS_HAS_SM90A: the kernel on wgmma is a part of this build (cmake/AtrousCuda.cmake).

namespace atrous::kernels::cuda {
namespace {

constexpr const char* kOp = "conv2d";

// Memory of the device for the length of a check.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t size) : size_(size) {
    if (size == 0) return;
    const cudaError_t error = cudaMalloc(&data_, bytes());
    if (error == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      fail<MemoryError>(kOp, "no memory left to check a kernel");
    }
    ATROUS_CUDA_CHECK(kOp, error);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { static_cast<void>(cudaFree(data_)); }
  Span<T> span() { return {data_, size_}; }
  std::size_t bytes() const { return std::size_t(size_) * sizeof(T); }

  void set(const std::vector<T>& values, cudaStream_t stream) {
    ATROUS_CUDA_CHECK(kOp, cudaMemcpyAsync(data_, values.data(), bytes(), cudaMemcpyHostToDevice, stream));
    ATROUS_CUDA_CHECK(kOp, cudaStreamSynchronize(stream));
  }
  void forget(cudaStream_t stream) { ATROUS_CUDA_CHECK(kOp, cudaMemsetAsync(data_, 0xff, bytes(), stream)); }
  std::vector<T> values(cudaStream_t stream) {
    std::vector<T> v(static_cast<std::size_t>(size_));
    ATROUS_CUDA_CHECK(kOp, cudaMemcpyAsync(v.data(), data_, bytes(), cudaMemcpyDeviceToHost, stream));
    ATROUS_CUDA_CHECK(kOp, cudaStreamSynchronize(stream));
    return v;
  }

 private:
  T* data_ = nullptr;
  std::int64_t size_;
};

// Eighths between -1 and 1: products of two are multiples of 1/64.
std::vector<bf16> eighths(std::int64_t size, std::uint64_t seed) {
  Random random(seed);
  std::vector<bf16> v(static_cast<std::size_t>(size));
  for (bf16& x : v) x = bf16(float(int(random.uniform(0, 17))) / 8 - 1);
  return v;
}

// One convolution of a check and its tensors.
struct TrialTensors {
  Gather direction;
  Conv2dDims dims;
  Scratch<bf16> source, weight, bias, destination;

  TrialTensors(Gather gather, const Conv2dDims& d, cudaStream_t stream)
      : direction(gather),
        dims(d),
        source(gather == Gather::forward ? d.in_pixels() * d.in_channels : d.out_pixels() * d.out_channels),
        weight(d.taps() * d.in_channels * d.out_channels),
        bias(gather_outputs(gather, d)),
        destination(gather == Gather::forward ? d.out_pixels() * d.out_channels
                                              : d.in_pixels() * d.in_channels) {
    source.set(eighths(source.span().size(), 1), stream);
    weight.set(eighths(weight.span().size(), 2), stream);
    bias.set(eighths(bias.span().size(), 3), stream);
  }
  GatherProblem<bf16> problem() {
    return {direction,
            dims,
            source.span(),
            weight.span(),
            {bias.span(), direction == Gather::forward ? Activation::relu6 : Activation::none},
            destination.span()};
  }
};

// The results of one call, all of its destinations one after the other.
std::vector<bf16> results(Stream stream, const GatherKernel& kernel,
                          const std::vector<std::unique_ptr<TrialTensors>>& tensors, Span<float> partial) {
  const auto handle = static_cast<cudaStream_t>(stream.handle);
  std::vector<GatherProblem<bf16>> problems;
  for (const auto& t : tensors) {
    t->destination.forget(handle);
    problems.push_back(t->problem());
  }
  kernel(stream, problems, partial);
  std::vector<bf16> all;
  for (const auto& t : tensors) {
    const std::vector<bf16> one = t->destination.values(handle);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

std::string compare(Stream stream, Gather direction, const std::vector<Conv2dDims>& dims,
                    const GatherKernel& kernel, const GatherKernel& reference) {
  std::vector<std::unique_ptr<TrialTensors>> tensors;
  for (const Conv2dDims& d : dims)
    tensors.push_back(std::make_unique<TrialTensors>(direction, d, static_cast<cudaStream_t>(stream.handle)));
  const std::vector<Gather> directions(dims.size(), direction);
  Scratch<float> partial(std::max(implicit_gemm_partial_sums(make_tile_schedules(directions, dims, 2)),
                                  wgmma_partial_sums(directions, dims)));
  const std::vector<bf16> expected = results(stream, reference, tensors, partial.span());
  try {
    return first_difference(results(stream, kernel, tensors, partial.span()), expected);
  } catch (const CudaError& error) {
    static_cast<void>(cudaGetLastError());
    if (cudaStreamSynchronize(static_cast<cudaStream_t>(stream.handle)) != cudaSuccess) throw;
    return error.what();
  }
}

}  // namespace

std::string try_gather_kernel(Stream stream, Gather direction,
                              const std::vector<std::vector<Conv2dDims>>& trials, const GatherKernel& kernel,
                              const GatherKernel& reference) {
  atrous::detail::use_device(stream.device.index);
  for (const auto& dims : trials) {
    const std::string why = compare(stream, direction, dims, kernel, reference);
    if (!why.empty()) return why;
  }
  return {};
}

#if ATROUS_HAS_SM90A

namespace {

void mma_reference(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial) {
  mma_gemm(stream, problems, partial);
}

enum class Wish { none, mma, wgmma };
Wish wish() {
  const char* text = std::getenv("ATROUS_CUDA_CONV");
  if (!text) return Wish::none;
  if (std::string_view(text) == "mma") return Wish::mma;
  if (std::string_view(text) == "wgmma") return Wish::wgmma;
  fail<ValueError>(kOp, "ATROUS_CUDA_CONV=", text, "; it may be mma or wgmma");
}

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  ATROUS_CUDA_CHECK(kOp, cudaDeviceGetAttribute(&value, which, device));
  return value;
}

bool at_16_bytes(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

BatchNormDims destination_of(const GatherProblem<bf16>& p) {
  return {p.destination.size() / gather_outputs(p.direction, p.dims), gather_outputs(p.direction, p.dims)};
}

// Whether the kernel can, or should, compute all of them in one way.
bool suit(const std::vector<GatherProblem<bf16>>& problems, Span<float> partial, Span<double> moments,
          bool demanded) {
  std::vector<Gather> directions;
  std::vector<Conv2dDims> dims;
  const int outputs = wgmma_outputs(gather_outputs(problems[0].direction, problems[0].dims));
  for (const GatherProblem<bf16>& p : problems) {
    if (demanded ? !can_take_wgmma(p.direction, p.dims) : !takes_wgmma(p.direction, p.dims)) return false;
    if (wgmma_outputs(gather_outputs(p.direction, p.dims)) != outputs) return false;
    for (const void* at :
         {static_cast<const void*>(p.source.data()), static_cast<const void*>(p.weight.data()),
          static_cast<const void*>(p.epilogue.bias.data()), static_cast<const void*>(p.destination.data())})
      if (!at_16_bytes(at)) return false;
    if (p.source_pitch % 8 != 0 || p.destination_pitch % 8 != 0) return false;
    if (!p.mean.empty() && (p.destination_pitch != 0 ||
                            moments.size() < batch_norm_sums_size(destination_of(p), {DeviceType::cuda, 0})))
      return false;
    directions.push_back(p.direction);
    dims.push_back(p.dims);
  }
  return partial.size() >= wgmma_partial_sums(directions, dims);
}

}  // namespace

bool run_on_wgmma(Stream stream, const std::vector<GatherProblem<bf16>>& problems, Span<float> partial,
                  Span<double> moments) {
  static FirstUse& tried = *new FirstUse("the wgmma convolution", "mma.sync");
  const Wish wanted = wish();
  const int device = stream.device.index, here = 10 * attribute(cudaDevAttrComputeCapabilityMajor, device) +
                                                 attribute(cudaDevAttrComputeCapabilityMinor, device);
  ATROUS_CHECK(DeviceError, wanted != Wish::wgmma || here == 90, kOp, "ATROUS_CUDA_CONV=wgmma, and ",
               stream.device, " has compute capability ", here / 10, '.', here % 10, "; it needs 9.0");
  bool serves = false;
  if (here == 90 && wanted != Wish::mma && suit(problems, partial, moments, wanted == Wish::wgmma)) {
    const Gather direction = problems[0].direction;
    const int outputs = wgmma_outputs(gather_outputs(direction, problems[0].dims));
    try {
      serves = tried.passed(device, outputs * 2 + (direction == Gather::forward ? 0 : 1), [&] {
        const auto trials =
            wgmma_trials(direction, outputs, attribute(cudaDevAttrMultiProcessorCount, device));
        return try_gather_kernel(stream, direction, trials, wgmma_gemm, mma_reference);
      });
    } catch (const MemoryError&) {
      serves = false;  // it is tried again at the next call
    }
  }
  if (verbose("dispatch"))
    for (const GatherProblem<bf16>& p : problems)
      say_dispatch(name_of(p.direction), Dtype::bf16, p.dims, serves ? "wgmma" : "mma.sync");
  if (!serves) return false;
  wgmma_gemm(stream, problems, partial);
  for (const GatherProblem<bf16>& p : problems)
    if (!p.mean.empty())
      batch_norm_statistics<bf16>(stream, destination_of(p), p.destination, moments, p.mean, p.var);
  return true;
}

#else

bool run_on_wgmma(Stream, const std::vector<GatherProblem<bf16>>&, Span<float>, Span<double>) {
  return false;
}

#endif

}  // namespace atrous::kernels::cuda
