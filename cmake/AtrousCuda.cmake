# CUDA sources: compiled by nvcc for devices where it is found, and by the host compiler for the tests' emulator everywhere.

# The CUDA halves of one folder: atrous_cuda_sources(elementwise/elementwise_cuda.cu)
function(atrous_cuda_sources)
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE sources)
  set_property(GLOBAL APPEND PROPERTY ATROUS_CUDA_SOURCES ${sources})
  if(ATROUS_HAS_CUDA)
    target_sources(atrous PRIVATE ${sources})
  endif()
endfunction()

# ---- nvcc: architectures and flags belong here

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
  target_compile_options(${target} PRIVATE ${ARGN})
endfunction()
