#include <algorithm>
#include <cstring>
#include <map>

#include "tests/support/cuda_emulator/state.h"

// Errors, the one device, and what is asked about kernels.

namespace atrous::emu {
namespace {

constexpr int kL2Bytes = 60 << 20;
cudaError_t g_last_error = cudaSuccess;
std::map<const void*, std::size_t> g_dynamic_shared;  // by kernel: what cudaFuncSetAttribute allowed

struct ErrorText {
  cudaError_t error;
  const char *name, *text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidDevicePointer, "cudaErrorInvalidDevicePointer", "invalid device pointer"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorCooperativeLaunchTooLarge, "cudaErrorCooperativeLaunchTooLarge",
     "too many blocks in cooperative launch"},
};
const ErrorText* text_of(cudaError_t error) {
  for (const ErrorText& e : kErrors)
    if (e.error == error) return &e;
  return nullptr;
}

}  // namespace

cudaError_t failed(cudaError_t error) { return g_last_error = error; }

std::uint64_t resident_blocks(unsigned threads, std::size_t shared_bytes) {
  int blocks = 0;
  cudaOccupancyOf(&blocks, int(threads), shared_bytes);
  return std::uint64_t(blocks) * unsigned(g_config.multiprocessors);
}

std::size_t allowed_dynamic_shared(const void* kernel) {
  const auto found = g_dynamic_shared.find(kernel);
  return found == g_dynamic_shared.end() ? 0 : found->second;
}

}  // namespace atrous::emu

using namespace atrous::emu;  // NOLINT: what follows are CUDA's names

// A failed launch leaves its error until it is asked for; a real device would refuse all work from then on.
cudaError_t cudaGetLastError() {
  const cudaError_t error = g_last_error;
  g_last_error = cudaSuccess;
  return error;
}
cudaError_t cudaPeekAtLastError() { return g_last_error; }
const char* cudaGetErrorName(cudaError_t error) {
  const ErrorText* text = text_of(error);
  return text ? text->name : "unrecognized error code";
}
// A failure inside a kernel is described by what was found there, which a device would not tell.
const char* cudaGetErrorString(cudaError_t error) {
  if ((error == cudaErrorIllegalAddress || error == cudaErrorLaunchFailure) && first_report_of_launch()[0])
    return first_report_of_launch();
  const ErrorText* text = text_of(error);
  return text ? text->text : "unrecognized error code";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : failed(cudaErrorInvalidDevice); }
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return failed(cudaErrorInvalidDevice);
  initialise();
  *properties = {};
  std::strcpy(properties->name, "emulator on the CPU");
  properties->totalGlobalMem = g_config.device_bytes;
  properties->major = g_config.capability / 10;
  properties->minor = g_config.capability % 10;
  properties->multiProcessorCount = g_config.multiprocessors;
  properties->maxThreadsPerBlock = 1024;
  properties->warpSize = 32;
  properties->sharedMemPerBlock = g_config.static_shared_limit;
  properties->sharedMemPerBlockOptin = g_config.shared_limit;
  properties->sharedMemPerMultiprocessor = g_config.shared_limit + 1024;
  properties->l2CacheSize = kL2Bytes;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = int(p.sharedMemPerBlock);
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      break;
    case cudaDevAttrL2CacheSize:
      *value = p.l2CacheSize;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = 2048;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = int(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrCooperativeLaunch:
      *value = 1;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = int(p.sharedMemPerBlockOptin);
      break;
  }
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  initialise();
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || std::size_t(value) > g_config.shared_limit) return failed(cudaErrorInvalidValue);
  g_dynamic_shared[kernel] = std::size_t(value);
  return cudaSuccess;
}
// By threads and shared memory alone: registers are unknown here.
cudaError_t cudaOccupancyOf(int* blocks, int threads, std::size_t shared_bytes) {
  initialise();
  // A multiprocessor keeps 1 KiB for itself for each block, and has 1 KiB more than a block may have.
  const std::size_t by_shared = (g_config.shared_limit + 1024) / (shared_bytes + 1024);
  *blocks = int(std::min({by_shared, std::size_t(2048 / threads), std::size_t(32)}));
  return cudaSuccess;
}
