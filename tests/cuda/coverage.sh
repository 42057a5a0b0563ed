#!/usr/bin/env bash
# Passes if every CUDA kernel that the headers declare has a CUDA half in the program, if the tests that just ran called every element
# type of it, and if they launched every device function (__global__) that was compiled: for each tile, vector width and alignment.
# (tests/rules/option_rule_test.cpp holds the ladder's rows to every option of an operation.)
#   coverage.sh <root> <program> <folder of the names that its runs left>
set -euo pipefail
root=$1 program=$2 folder=$3

# "void atrous::kernels::cuda::relu_forward<float>(atrous::Stream, ...)" -> "relu_forward<float>"
names() { sed -nE 's/^(.* )?void atrous::kernels::cuda::([a-z0-9_]+<[^()]*>)\(atrous::Stream.*/\2/p' | sort -u; }

declared=$(sed -nE 's/^ATROUS_KERNEL\(([a-z0-9_]+),.*/\1/p' "$root"/kernels/*/*.h | sort -u)
compiled=$(nm -DC --defined-only "$program" | names)
called=$(cat "$folder"/* 2>/dev/null | names)

# Device functions as "distance name", the distance from the function that the program measured it from. Their names end in _kernel.
symbols=$(nm -C --defined-only "$program" | sed -nE 's/^([0-9a-f]+) [tTwW] (.*)$/\1 \2/p')
origin=$((16#$(sed -nE 's/^([0-9a-f]+) atrous_emu_switch_stack$/\1/p' <<<"$symbols")))
kernels=$(grep -E '^[0-9a-f]+ (void )?atrous::kernels::cuda::(\(anonymous namespace\)::)?[a-z0-9_]+_kernel[<(]' <<<"$symbols" |
  grep -vE '\)::(\{lambda|[a-z])|\[clone' | while read -r address name; do echo "$((16#$address - origin)) $name"; done)
launched=$(cat "$folder"/* 2>/dev/null | sed -n 's/^kernel //p' | sort -u)

failed=0
while read -r distance name; do
  if ! grep -qxF -e "$distance" <<<"$launched"; then
    echo "no test of $(basename "$program") launched $name" | cut -c 1-200
    failed=1
  fi
done <<<"$kernels"
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
echo "$(wc -l <<<"$declared") kernels declared, $(wc -l <<<"$compiled") functions compiled, $(wc -l <<<"$called") run;" \
  "$(wc -l <<<"$kernels") device functions, $(wc -l <<<"$launched") launched (the emulator's own tests included)"
exit $failed
