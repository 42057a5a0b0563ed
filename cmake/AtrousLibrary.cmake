# What every target of the project shares: the include root, the warnings, and how a folder adds its files to the library.

# Sources and headers of one folder: atrous_sources(HEADERS a.h b.h  PRIVATE_HEADERS a_body.h  SOURCES a.cpp  CPU_SOURCES b.cpp)
# HEADERS are public: installed, and each must compile alone. CPU_SOURCES are the same with and without CUDA (they read no
# ATROUS_WITH_CUDA, and pick no kernel by its stream): the library and its emulated twin in the tests share their objects.
function(atrous_sources)
  cmake_parse_arguments(ARG "" "" "HEADERS;SOURCES;CPU_SOURCES;PRIVATE_HEADERS" ${ARGN})
  target_sources(atrous PRIVATE ${ARG_SOURCES} ${ARG_PRIVATE_HEADERS})
  target_sources(atrous_cpu PRIVATE ${ARG_CPU_SOURCES})
  list(TRANSFORM ARG_SOURCES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  set_property(GLOBAL APPEND PROPERTY ATROUS_SOURCES ${ARG_SOURCES})
  list(TRANSFORM ARG_HEADERS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  if(ARG_HEADERS)
    target_sources(atrous PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${ARG_HEADERS})
  endif()
endfunction()

# Headers are included as "atrous/core/tensor.h": true in the tree through one link a folder in the build directory.
function(atrous_include_root target)
  set(root ${PROJECT_BINARY_DIR}/include)
  file(MAKE_DIRECTORY ${root}/atrous/core)
  foreach(folder kernels autograd layers models io)
    if(NOT EXISTS ${root}/atrous/${folder})
      file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${root}/atrous/${folder} SYMBOLIC)
    endif()
  endforeach()
  # core also holds the generated config.h, so its files are linked one by one.
  file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/core/*.h)
  foreach(header ${headers})
    get_filename_component(name ${header} NAME)
    if(NOT EXISTS ${root}/atrous/core/${name})
      file(CREATE_LINK ${header} ${root}/atrous/core/${name} SYMBOLIC)
    endif()
  endforeach()
  set(ATROUS_WITH_CUDA ${ATROUS_HAS_CUDA})
  configure_file(${PROJECT_SOURCE_DIR}/core/config.h.in ${root}/atrous/core/config.h)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/atrous.h ${root}/atrous/atrous.h COPYONLY)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${root}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endfunction()

function(atrous_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
    # GCC 12 at -O3 sees overlaps and overruns inside std::string and std::vector that are not there.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict -Wno-array-bounds -Wno-stringop-overflow>
    # Clang does not know GCC's ivdep, and would have && where a loop must not branch.
    $<$<CXX_COMPILER_ID:Clang>:-Wno-unknown-pragmas -Wno-unknown-warning-option -Wno-bitwise-instead-of-logical>)
  if(ATROUS_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
