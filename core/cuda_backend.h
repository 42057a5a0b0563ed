#pragma once

#include <cstddef>

#include "atrous/core/device.h"

// What core asks of the CUDA runtime, without its headers. Defined in cuda_backend.cpp, which exists in
// builds with CUDA only: every call stands behind `if constexpr (ATROUS_WITH_CUDA)`. `index` is a device's
// number; streams are those of Stream::handle.

namespace atrous::cuda_backend {

/// Devices that this process may use; 0 without a driver. `why`, if not null, gets the reason for none.
int device_count(const char** why = nullptr);
/// Compute capability as 10 * major + minor, and the device's name.
int capability(int index);
const char* device_name(int index);

/// Null if the device has no room for them.
void* allocate(std::size_t bytes, int index);
void release(void* block, int index) noexcept;

/// Both run in the stream's order.
void fill_bytes(void* to, int value, std::size_t bytes, Stream stream);
void copy_on_device(void* to, const void* from, std::size_t bytes, Stream stream);
/// Host to device. `from` may be reused as soon as the call returns: it goes through pinned staging memory,
/// from which the device reads while the caller goes on.
void copy_in(void* to, const void* from, std::size_t bytes, Stream stream);
/// Device to host. The bytes are there when the call returns; so everything before it on the stream is done.
void copy_out(void* to, const void* from, std::size_t bytes, Stream stream);

void* create_stream(int index);
void destroy_stream(void* stream, int index) noexcept;
void synchronize_stream(Stream stream);
void synchronize_device(int index);

void* create_event(int index);
void destroy_event(void* event, int index) noexcept;
void record_event(void* event, Stream stream);
void wait_event(void* event, Stream stream);
void synchronize_event(void* event);
/// Milliseconds from one event to another, both recorded and reached.
double elapsed(void* from, void* to);

}  // namespace atrous::cuda_backend
