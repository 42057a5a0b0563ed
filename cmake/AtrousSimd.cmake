# Sources whose loops are compiled once for each instruction set and chosen at run time (kernels/simd.h).
# atrous_simd_sources(batch_norm/batch_norm_simd.cpp ...)
# atrous_simd_sources(UP_TO avx2 permutohedral/tiled_lattice_simd.cpp)   for those declared ATROUS_SIMD_OF_EIGHT

# Sanitizers make the unrolled tiles slow to compile at -O3; the asan preset asks for -O1.
set(ATROUS_KERNEL_OPTIMIZATION -O3 CACHE STRING "Optimisation of the tuned kernels, whatever the build type")

set(ATROUS_FLAGS_baseline "")
set(ATROUS_FLAGS_avx2 -mavx2 -mfma)
set(ATROUS_FLAGS_avx512 -mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma -mprefer-vector-width=512)
set(ATROUS_BYTES_baseline 16)
set(ATROUS_BYTES_avx2 32)
set(ATROUS_BYTES_avx512 64)

function(atrous_simd_sources)
  cmake_parse_arguments(PARSE_ARGV 0 simd "" UP_TO "")
  set(sets baseline)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND sets avx2)
    if(NOT simd_UP_TO STREQUAL avx2)
      list(APPEND sets avx512)
    endif()
  endif()
  foreach(source ${simd_UNPARSED_ARGUMENTS})
    get_filename_component(stem ${source} NAME_WE)
    foreach(isa ${sets})
      # One small file for each set, because a source has one set of flags in a target.
      set(wrapper ${PROJECT_BINARY_DIR}/simd/${stem}_${isa}.cpp)
      set(text "#define ATROUS_ISA ${isa}\n#define ATROUS_VECTOR_BYTES ${ATROUS_BYTES_${isa}}\n#include \"${CMAKE_CURRENT_SOURCE_DIR}/${source}\"\n")
      file(CONFIGURE OUTPUT ${wrapper} CONTENT "${text}" @ONLY)
      target_sources(atrous_cpu PRIVATE ${wrapper})
      # Source properties are seen in the folder of the target, not of the caller.
      set_source_files_properties(${wrapper} TARGET_DIRECTORY atrous_cpu PROPERTIES
        COMPILE_OPTIONS "${ATROUS_KERNEL_OPTIMIZATION};-fno-math-errno;-ffp-contract=fast;-Wno-psabi;${ATROUS_FLAGS_${isa}}")
    endforeach()
  endforeach()
endfunction()
