# Counts the instructions of the depthwise kernel's inner loop for each output, in the PTX of nvcc, and fails above 31: what the
# memory's speed leaves on an H200 (4.3 TB/s copied, bf16; 132 SMs). PTX is near what runs: ptxas merges address arithmetic, drops
# most moves and adds little. Moves that only name an integer register as a float are no instructions, and are not counted.
#
#   cmake -DNVCC=nvcc -DINCLUDE=<build>/include -DOUT=<file>.ptx -P tests/cuda/depthwise_instructions.cmake
cmake_minimum_required(VERSION 3.25)
set(most 31)
execute_process(COMMAND ${NVCC} -std=c++20 -arch=sm_80 -ptx -I${INCLUDE} ${CMAKE_CURRENT_LIST_DIR}/depthwise_instructions.cu -o ${OUT}
  COMMAND_ERROR_IS_FATAL ANY)
file(READ ${OUT} text)
string(REGEX REPLACE "[][;]" "" text "${text}")  # lists of CMake read these in a way of their own
string(REPLACE "\n" ";" lines "${text}")

# The largest loop of the kernel whose lines were read: from a label to the last branch back to it.
macro(report)
  math(EXPR outputs "3 * ${vector}")  # a turn of the loop takes three input rows: three outputs of each channel
  math(EXPR tenths "10 * ${largest} / ${outputs}")
  string(REGEX REPLACE "(.)$" ".\\1" shown ${tenths})
  message(STATUS "${kernel}: ${largest} instructions for ${outputs} outputs, ${shown} each")
  math(EXPR allowed "${most} * ${outputs}")
  if(largest EQUAL 0 OR largest GREATER allowed)
    message(SEND_ERROR "${kernel}: more than ${most} instructions an output (or no loop was found)")
  endif()
  math(EXPR kernels "${kernels} + 1")
endmacro()

set(kernel "")
set(kernels 0)
foreach(line IN LISTS lines)
  if(line MATCHES "\\.entry .*depthwise_rows_kernelI(N[^E]*E|f)Li([0-9]+)ELb([01])ELb([01])")
    set(next_vector ${CMAKE_MATCH_2})
    set(next "vectors of ${CMAKE_MATCH_2}, turned ${CMAKE_MATCH_3}, activated ${CMAKE_MATCH_4}")
    if(kernel)
      report()
    endif()
    set(vector ${next_vector})
    set(kernel "${next}")
    set(count 0)
    set(largest 0)
    set(labels "")
  elseif(line MATCHES "^(\\$L[A-Za-z0-9_]+):")
    set(at_${CMAKE_MATCH_1} ${count})
    list(APPEND labels ${CMAKE_MATCH_1})
  elseif(line MATCHES "mov\\.b32[ \t]+%f[0-9]+, %r" OR line MATCHES "mov\\.b32[ \t]+%r[0-9]+, %f")
    # a name
  elseif(line MATCHES "^[ \t]+(@!?%p[0-9]+ +)?[a-z]")
    math(EXPR count "${count} + 1")
    if(line MATCHES "bra.*(\\$L[A-Za-z0-9_]+)" AND CMAKE_MATCH_1 IN_LIST labels)
      math(EXPR size "${count} - ${at_${CMAKE_MATCH_1}}")
      if(size GREATER largest)
        set(largest ${size})
      endif()
    endif()
  endif()
endforeach()
report()
if(NOT kernels EQUAL 6)
  message(SEND_ERROR "found ${kernels} kernels, not 6")
endif()
