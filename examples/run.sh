#!/usr/bin/env bash
# Sets the machine up, builds the release preset and runs the main job on the built-in scenes: trains a small DeepLab v3+,
# evaluates it, segments a few scenes, and leaves everything in out/demo/. Arguments go to `train`; --help shows them.
source "$(dirname "$0")/../cmake/setup.sh"

build release
bin=build/release/examples
for argument in "$@"; do
  if [ "$argument" = --help ] || [ "$argument" = -h ]; then exec "$bin/train" --help; fi
done

out=out/demo
say "training on built-in scenes"
"$bin/train" --data synthetic --out "$out" "$@"
say "evaluating at three scales and mirrored"
"$bin/evaluate" --weights "$out/checkpoint.safetensors" --data synthetic --scales 0.75,1,1.25 --flip --json "$out/metrics_multiscale.json"
say "segmenting new scenes"
"$bin/scenes" --out "$out/scenes" --val 6 --seed 77
"$bin/segment" --weights "$out/checkpoint.safetensors" --out "$out/segmented" "$out"/scenes/val/*.png
say "done: open $out/report.html, and the overlays in $out/segmented/"
