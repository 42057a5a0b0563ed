#!/usr/bin/env bash
# Passes if every CUDA kernel that the headers declare has a CUDA half in the program, and if the tests that just ran called every
# element type of it.
#   coverage.sh <root> <program> <folder of the names that its runs left>
set -euo pipefail
root=$1 program=$2 folder=$3

# "void atrous::kernels::cuda::relu_forward<float>(atrous::Stream, ...)" -> "relu_forward<float>"
names() { sed -nE 's/^(.* )?void atrous::kernels::cuda::([a-z0-9_]+<[^()]*>)\(atrous::Stream.*/\2/p' | sort -u; }

declared=$(sed -nE 's/^ATROUS_KERNEL\(([a-z0-9_]+),.*/\1/p' "$root"/kernels/*/*.h | sort -u)
compiled=$(nm -DC --defined-only "$program" | names)
called=$(cat "$folder"/* 2>/dev/null | names)

failed=0
for kernel in $declared; do
  types=$(grep "^$kernel<" <<<"$compiled" || true)
  if [ -z "$types" ]; then
    echo "$kernel has no CUDA half"
    failed=1
  fi
  while read -r one; do
    if [ -n "$one" ] && ! grep -qxF "$one" <<<"$called"; then
      echo "$one was not run by any test of $(basename "$program")"
      failed=1
    fi
  done <<<"$types"
done
echo "$(wc -l <<<"$declared") kernels declared, $(wc -l <<<"$compiled") functions compiled, $(wc -l <<<"$called") run"
exit $failed
