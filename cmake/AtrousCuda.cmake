# CUDA sources: compiled by nvcc for devices where it is found, and by the host compiler for the tests' emulator everywhere.

# The CUDA halves of one folder: atrous_cuda_sources(elementwise/elementwise_cuda.cu). Those that end in _sm90a.cu use what only
# devices of compute capability 9.0 have: they are compiled for sm_90a alone, and only if 9.0 is among the architectures.
function(atrous_cuda_sources)
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE sources)
  set_property(GLOBAL APPEND PROPERTY ATROUS_CUDA_SOURCES ${sources})
endfunction()

# ---- nvcc

set(ATROUS_CUDA_ARCHITECTURES "80-real;90-real" CACHE STRING
  "Devices to compile for, as CMake writes them: 90-real is code for one, 90-virtual is portable, 90 is both")

# Decides ATROUS_HAS_CUDA from ATROUS_WITH_CUDA and what is installed, and says so in a line; ATROUS_HAS_SM90A: with the sources
# for sm_90a.
macro(atrous_find_cuda)
  set(ATROUS_HAS_CUDA OFF)
  if(NOT ATROUS_WITH_CUDA STREQUAL "OFF")
    find_program(ATROUS_NVCC nvcc HINTS ENV CUDACXX PATHS /usr/local/cuda/bin /opt/cuda/bin)
    if(ATROUS_NVCC)
      set(CMAKE_CUDA_COMPILER ${ATROUS_NVCC} CACHE FILEPATH "nvcc")
      set(CMAKE_CUDA_ARCHITECTURES ${ATROUS_CUDA_ARCHITECTURES})
      enable_language(CUDA)
      find_package(CUDAToolkit REQUIRED)
      set(ATROUS_HAS_CUDA ON)
    elseif(ATROUS_WITH_CUDA STREQUAL "ON")
      message(FATAL_ERROR "ATROUS_WITH_CUDA=ON, and nvcc was not found: put it on PATH or set CMAKE_CUDA_COMPILER")
    endif()
  endif()
  set(ATROUS_HAS_SM90A OFF)
  if(ATROUS_HAS_CUDA AND ATROUS_CUDA_ARCHITECTURES MATCHES "(^|;)90a?(-real)?(;|$)")
    set(ATROUS_HAS_SM90A ON)
  endif()
  if(ATROUS_HAS_CUDA)
    message(STATUS "atrous: CUDA ${CUDAToolkit_VERSION} for ${ATROUS_CUDA_ARCHITECTURES}")
  elseif(ATROUS_WITH_CUDA STREQUAL "OFF")
    message(STATUS "atrous: CUDA off")
  else()
    message(STATUS "atrous: CUDA off (nvcc was not found)")
  endif()
endmacro()

# CUDA sources as objects of the library: atrous_cuda_objects(name architectures sources)
function(atrous_cuda_objects target architectures)
  add_library(${target} OBJECT ${ARGN})
  set_target_properties(${target} PROPERTIES CUDA_ARCHITECTURES "${architectures}" CUDA_SEPARABLE_COMPILATION OFF
    POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target} PRIVATE ${PROJECT_BINARY_DIR}/include)
  # What ptxas says of each kernel is kept beside the object files; tests/cuda/ptxas.sh reads it.
  set(launcher ${PROJECT_SOURCE_DIR}/cmake/ptxas_log.sh ${CMAKE_CUDA_COMPILER_LAUNCHER})
  set_target_properties(${target} PROPERTIES CUDA_COMPILER_LAUNCHER "${launcher}")
  target_compile_options(${target} PRIVATE "SHELL:-Xptxas -v")
  target_compile_options(${target} PRIVATE -std=c++20 -O3 -lineinfo "SHELL:-Xcompiler -O2,-Wall,-Wextra,-Wno-unknown-pragmas")
  if(ATROUS_WERROR)
    target_compile_options(${target} PRIVATE "SHELL:-Werror all-warnings")
  endif()
  target_sources(atrous PRIVATE $<TARGET_OBJECTS:${target}>)
endfunction()

# Compiles the CUDA halves into the library. They are an object library of their own, so that the archive itself is linked by the
# C++ compiler everywhere; nothing needs device linking.
function(atrous_add_cuda)
  get_property(sources GLOBAL PROPERTY ATROUS_CUDA_SOURCES)
  set(sources_sm90a ${sources})
  list(FILTER sources EXCLUDE REGEX "_sm90a\\.cu$")
  list(FILTER sources_sm90a INCLUDE REGEX "_sm90a\\.cu$")
  set(architectures ${ATROUS_CUDA_ARCHITECTURES})
  list(FILTER architectures EXCLUDE REGEX "^90a")
  if(NOT architectures)
    set(architectures ${ATROUS_CUDA_ARCHITECTURES})  # 90a alone: everything for it
  endif()
  atrous_cuda_objects(atrous_cuda "${architectures}" ${sources})
  if(ATROUS_HAS_SM90A)
    atrous_cuda_objects(atrous_cuda_sm90a 90a-real ${sources_sm90a})
    target_compile_definitions(atrous_cuda PRIVATE ATROUS_HAS_SM90A=1)
  endif()
  target_sources(atrous PRIVATE ${PROJECT_SOURCE_DIR}/core/cuda_backend.cpp)
  target_include_directories(atrous SYSTEM PRIVATE $<BUILD_INTERFACE:${CUDAToolkit_INCLUDE_DIRS}>)
  target_link_libraries(atrous PUBLIC CUDA::cudart_static CUDA::cublas CUDA::cublasLt)
endfunction()

# ---- the emulator

# What is compiled by the host compiler against the emulated CUDA. Its headers say that the build has CUDA: it has a config.h of
# its own.
function(atrous_emulated_options target)
  set(root ${PROJECT_BINARY_DIR}/emulated)
  set(ATROUS_WITH_CUDA ON)
  configure_file(${PROJECT_SOURCE_DIR}/core/config.h.in ${root}/atrous/core/config.h)
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_compile_definitions(${target} PUBLIC ATROUS_CUDA_EMULATED=1)
  target_include_directories(${target} PUBLIC ${root} ${PROJECT_BINARY_DIR}/include ${PROJECT_SOURCE_DIR}
    ${PROJECT_SOURCE_DIR}/tests/support/cuda_emulator/include)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  atrous_compile_options(${target})
endfunction()

# The objects of all CUDA sources: atrous_emulated_kernels(name [compile options])
function(atrous_emulated_kernels target)
  get_property(sources GLOBAL PROPERTY ATROUS_CUDA_SOURCES)
  add_library(${target} OBJECT ${sources})
  set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX)  # of this folder's targets only
  atrous_emulated_options(${target})
  target_compile_definitions(${target} PRIVATE ATROUS_HAS_SM90A=1)
  # Without tail calls a kernel's function is on the stack when it launches: coverage.cpp finds it there.
  target_compile_options(${target} PRIVATE -fno-optimize-sibling-calls ${ARGN})
endfunction()
