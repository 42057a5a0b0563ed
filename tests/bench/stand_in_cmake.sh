#!/usr/bin/env bash
# Stands in for cmake in gpu_script_test.sh: writes down what it is asked for, and builds nothing.
printf '%s\n' "$*" >>"$STAND_IN_SAID"
printf 'prefix %s\n' "${CMAKE_PREFIX_PATH:-}" >>"$STAND_IN_SAID"
case "$1" in
  -S)
    mkdir -p build/gpu
    echo 'CMAKE_GENERATOR:INTERNAL=Ninja' >build/gpu/CMakeCache.txt
    echo '-- atrous: CUDA stand-in'
    ;;
  --build)
    [ -z "${STAND_IN_BUILD:-}" ] || { echo 'error: something'; exit 1; }
    echo 'built'
    ;;
esac
