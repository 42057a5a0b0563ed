#!/usr/bin/env bash
# Sets the machine up, builds the release preset and runs the main job on the built-in scenes: trains a small DeepLab v3+,
# evaluates it, segments a few scenes, and leaves everything in out/demo/. Arguments go to `train`; --help shows them.
source "$(dirname "$0")/../cmake/setup.sh"

build release
bin=build/release/examples
out=out/demo
previous=
for argument in "$@"; do
  if [ "$argument" = --help ] || [ "$argument" = -h ]; then exec "$bin/train" --help; fi
  if [ "$previous" = --out ]; then out=$argument; fi
  previous=$argument
done

say "training on built-in scenes"
"$bin/train" --data synthetic --out "$out" --model deeplab_v3plus_mobilenet_v2 --width 0.5 --steps 1000 --batch 4 --crop 161 \
  --scale-range 0.8,1.25 --optimizer adamw --lr 0.003 --weight-decay 0.01 --eval-every 400 "$@"
say "evaluating each scene also mirrored"
"$bin/evaluate" --weights "$out/checkpoint.safetensors" --data synthetic --flip --json "$out/metrics_flip.json"
say "segmenting new scenes"
"$bin/scenes" --out "$out/scenes" --val 6 --seed 77
"$bin/segment" --weights "$out/checkpoint.safetensors" --out "$out/segmented" "$out"/scenes/val/*.png
say "done: open $out/report.html, and the overlays in $out/segmented/"
