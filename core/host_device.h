#pragma once

/// Marks a function that CUDA kernels call as well as the CPU: nothing for a C++ compiler, `__host__
/// __device__` for nvcc.
#ifdef __CUDACC__
#define ATROUS_HD __host__ __device__
#else
#define ATROUS_HD
#endif
