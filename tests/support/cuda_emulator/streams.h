#pragma once

#include <functional>

#include "tests/support/cuda_emulator/runtime_api.h"

// The queue of a stream, for those who put work into it.

namespace atrous::emu {

/// Runs `work` when the stream comes to it: at once, or with Config::lazy_streams when something
/// synchronises.
void submit(cudaStream_t stream, std::function<void()> work);
/// Runs all that is queued anywhere.
void finish_all_streams();

}  // namespace atrous::emu
