#!/bin/sh
# Stands before the CUDA compiler: keeps what ptxas says of each kernel (-Xptxas -v) beside the object file, for tests/cuda/ptxas.sh,
# and lets the rest through.
object= previous=
for argument; do
  [ "$previous" = -o ] && object=$argument
  previous=$argument
done
log=${object:-/dev/null}
[ "$log" = /dev/null ] || log=$object.ptxas
status=0
"$@" 2>"$log" || status=$?
[ "$log" = /dev/null ] || grep -v -e '^ptxas info' -e 'bytes stack frame' "$log" >&2
exit $status
