#include "tests/support/cuda_emulator/streams.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "tests/support/cuda_emulator/state.h"

// Streams and events, launches, copies. By default work runs as soon as it is given, which is one of the
// orders that CUDA allows. With Config::lazy_streams it runs as late as it may: when something waits for it,
// other streams in between at random, so that a missing wait between two streams shows.
//
// Memory that is not pinned behaves as on a device: a copy from it has read it when the call returns, a copy
// to it has finished.

struct CUevent_st {
  std::uint64_t recorded = 0, reached = 0;  // how often
  CUstream_st* stream = nullptr;            // of the last record
  std::chrono::steady_clock::time_point time{};
};

namespace {

struct Work {
  enum class Kind { run, record, wait } kind;
  std::function<void()> run;
  CUevent_st* event = nullptr;
  std::uint64_t count = 0;  // of the event's records
};

}  // namespace

struct CUstream_st {
  std::deque<Work> queue;
};

namespace atrous::emu {
namespace {

CUstream_st g_default_stream;
std::vector<CUstream_st*> g_streams{&g_default_stream};

bool is_blocked(const CUstream_st& stream) {
  if (stream.queue.empty()) return false;
  const Work& next = stream.queue.front();
  return next.kind == Work::Kind::wait && next.event->reached < next.count;
}

void reach(CUevent_st* event, std::uint64_t count) {
  event->reached = count;
  event->time = std::chrono::steady_clock::now();
}

void run_next(CUstream_st& stream) {
  const Work work = std::move(stream.queue.front());
  stream.queue.pop_front();
  if (work.kind == Work::Kind::run) work.run();
  if (work.kind == Work::Kind::record) reach(work.event, work.count);
}

// Runs all of `stream`, and of others what it waits for.
void finish(CUstream_st& stream) {
  while (!stream.queue.empty()) {
    if (!is_blocked(stream)) {
      run_next(stream);
      continue;
    }
    CUstream_st* other = stream.queue.front().event->stream;
    if (!other || other == &stream || other->queue.empty())
      stream.queue.pop_front();  // the record will never come
    else if (is_blocked(*other))
      finish(*other);
    else
      run_next(*other);
  }
}

bool copy_is_legal(const void* dst, const void* src, std::size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = is_device(dst), from_device = is_device(src);
  if ((to_device && !inside_device(dst, bytes)) || (from_device && !inside_device(src, bytes))) return false;
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      return true;
  }
  return false;
}

void copy_now(void* dst, const void* src, std::size_t bytes) {
  const DeviceMemoryOpen open;
  std::memmove(dst, src, bytes);
  mark_initialised(dst, bytes);
}

}  // namespace

void submit(cudaStream_t stream, std::function<void()> work) {
  if (!g_config.lazy_streams) return work();
  if (stream) {
    stream->queue.push_back({Work::Kind::run, std::move(work)});
  } else {
    finish_all_streams();  // the default stream waits for all others
    work();
  }
}

void finish_all_streams() {
  for (;;) {
    std::vector<CUstream_st*> ready;
    for (CUstream_st* stream : g_streams)
      if (!stream->queue.empty() && !is_blocked(*stream)) ready.push_back(stream);
    if (ready.empty()) return;
    run_next(*ready[g_config.schedule == Schedule::random ? random_number() % ready.size() : 0]);
  }
}

void launch_raw(const char* name, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
                cudaStream_t stream, bool cooperative, void (*call)(const void*), const void* params,
                std::size_t params_bytes) {
  initialise();
  note_callers();
  note_kernel(kernel);
  const std::uint64_t threads = std::uint64_t(block.x) * block.y * block.z;
  const std::size_t allowed = std::max(g_config.static_shared_limit, allowed_dynamic_shared(kernel));
  if (threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || shared_bytes > allowed ||
      shared_bytes > g_config.shared_limit) {
    if (!g_config.quiet)
      std::fprintf(stderr,
                   "emulator: %s cannot be launched: grid %u,%u,%u, block %u,%u,%u, %zu bytes of dynamic "
                   "shared memory\n",
                   name, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes);
    failed(cudaErrorInvalidConfiguration);
    return;
  }
  const std::uint64_t blocks = std::uint64_t(grid.x) * grid.y * grid.z;
  if (const std::uint64_t most = resident_blocks(unsigned(threads), shared_bytes);
      cooperative && blocks > most) {
    if (!g_config.quiet)
      std::fprintf(
          stderr,
          "emulator: %s cannot be launched: a cooperative grid of %llu blocks, of which %llu are resident\n",
          name, static_cast<unsigned long long>(blocks), static_cast<unsigned long long>(most));
    failed(cudaErrorCooperativeLaunchTooLarge);
    return;
  }
  const auto* bytes = static_cast<const char*>(params);
  const auto own = std::make_shared<const std::vector<char>>(bytes, bytes + params_bytes);
  submit(stream,
         [=] { run_grid(name, grid, block, shared_bytes, cooperative, call, own->data(), own->size()); });
}

}  // namespace atrous::emu

using namespace atrous::emu;  // NOLINT: what follows are CUDA's names

cudaError_t cudaMemcpyAsync(void* dst, const void* src, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!copy_is_legal(dst, src, bytes, kind)) return failed(cudaErrorInvalidValue);
  note_callers();
  if (!is_device(src) && !is_pinned(src, bytes)) {
    const auto* begin = static_cast<const char*>(src);
    const auto staged = std::make_shared<const std::vector<char>>(begin, begin + bytes);
    submit(stream, [=] { copy_now(dst, staged->data(), bytes); });
  } else {
    submit(stream, [=] { copy_now(dst, src, bytes); });
  }
  if (!is_device(dst) && !is_pinned(dst, bytes)) return cudaStreamSynchronize(stream);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* dst, const void* src, std::size_t bytes, cudaMemcpyKind kind) {
  finish_all_streams();
  if (const cudaError_t error = cudaMemcpyAsync(dst, src, bytes, kind, nullptr); error != cudaSuccess)
    return error;
  return cudaPeekAtLastError();
}
cudaError_t cudaMemsetAsync(void* dst, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!inside_device(dst, bytes)) return failed(cudaErrorInvalidValue);
  note_callers();
  submit(stream, [=] {
    const DeviceMemoryOpen open;
    std::memset(dst, value, bytes);
    mark_initialised(dst, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaMemset(void* dst, int value, std::size_t bytes) {
  return cudaMemsetAsync(dst, value, bytes, nullptr);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  g_streams.push_back(*stream = new CUstream_st);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { return cudaStreamCreate(stream); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto found = std::find(g_streams.begin(), g_streams.end(), stream);
  if (!stream || found == g_streams.end()) return failed(cudaErrorInvalidResourceHandle);
  finish(*stream);
  g_streams.erase(found);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream)
    finish(*stream);
  else
    finish_all_streams();
  return cudaPeekAtLastError();
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return (stream ? *stream : g_default_stream).queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (stream && event->reached < event->recorded)
    stream->queue.push_back({Work::Kind::wait, nullptr, event, event->recorded});
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return cudaEventCreate(event); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  finish_all_streams();
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->stream = stream ? stream : &g_default_stream;
  ++event->recorded;
  if (stream && g_config.lazy_streams) {
    stream->queue.push_back({Work::Kind::record, nullptr, event, event->recorded});
  } else {
    if (!stream) finish_all_streams();
    reach(event, event->recorded);
  }
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  while (event->reached < event->recorded && event->stream && !event->stream->queue.empty()) {
    if (is_blocked(*event->stream))
      finish(*event->stream);
    else
      run_next(*event->stream);
  }
  return cudaPeekAtLastError();
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return event->reached == event->recorded ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  if (from->recorded == 0 || to->recorded == 0) return failed(cudaErrorInvalidResourceHandle);
  if (cudaEventQuery(from) != cudaSuccess || cudaEventQuery(to) != cudaSuccess) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  finish_all_streams();
  return cudaPeekAtLastError();
}
