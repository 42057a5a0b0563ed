#pragma once

// The CUDA that a kernel file sees when the host compiler compiles it: the language (keywords, built-in
// variables, vector types), warp functions, atomics, the bit and math helpers, and the part of the runtime
// API that atrous uses. Every CUDA thread becomes a fiber of the emulator (emulator.h).

#if defined(__CUDACC__)
#error "this folder's cuda_runtime.h is for the host compiler; nvcc has its own"
#endif
#ifndef ATROUS_CUDA_EMULATED
#define ATROUS_CUDA_EMULATED 1
#endif

// IWYU pragma: begin_exports
#include "tests/support/cuda_emulator/atomics.h"
#include "tests/support/cuda_emulator/language.h"
#include "tests/support/cuda_emulator/launch.h"
#include "tests/support/cuda_emulator/math.h"
#include "tests/support/cuda_emulator/runtime_api.h"
#include "tests/support/cuda_emulator/warp.h"
// IWYU pragma: end_exports
