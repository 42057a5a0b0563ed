#!/usr/bin/env bash
# Usage: run.sh WAY BUILD_DIR SOURCE_DIR, with WAY one of package, plain, subdirectory.
# Installs the library that was built in BUILD_DIR into a scratch folder there and uses it as a stranger would.
set -euo pipefail
way=$1 build=$2 source=$3
scratch=$build/consumer-$way
rm -rf "$scratch"
mkdir -p "$scratch"
flags=${ATROUS_CONSUMER_FLAGS:-} link=${ATROUS_CONSUMER_LINK:-}

case "$way" in
  package)
    cmake --install "$build" --prefix "$scratch/prefix" >/dev/null
    cmake -S "$source/tests/consumer" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/prefix" -DCMAKE_CXX_FLAGS="$flags" >/dev/null
    cmake --build "$scratch/build"
    "$scratch/build/consumer" ;;
  plain)
    # No CMake on the user's side: headers, archive and a plain link line. One strict compile, since the headers are theirs now.
    cmake --install "$build" --prefix "$scratch/prefix" >/dev/null
    archive=$(find "$scratch/prefix" -name libatrous.a)
    g++ -std=c++20 -Wall -Wextra -Wconversion -Werror -Wno-sign-conversion $flags \
      -I"$scratch/prefix/include" "$source/tests/consumer/consumer.cpp" "$archive" -lpng -lz $link -pthread -o "$scratch/consumer"
    "$scratch/consumer" ;;
  subdirectory)
    # Configuring is enough to show that the target, its options and its includes hold; the same sources are built elsewhere.
    cmake -S "$source/tests/consumer" -B "$scratch/build" -DATROUS_SOURCE="$source" >/dev/null
    cmake --build "$scratch/build" --target help >/dev/null
    if grep -q 'ATROUS_BUILD_TESTS:BOOL=ON' "$scratch/build/CMakeCache.txt"; then echo "tests are on in a subproject" >&2; exit 1; fi
    g++ -std=c++20 $flags -I"$scratch/build/atrous/include" "$source/tests/consumer/consumer.cpp" "$build/libatrous.a" -lpng -lz $link -pthread \
      -o "$scratch/consumer"
    "$scratch/consumer" ;;
esac
