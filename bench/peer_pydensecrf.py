#!/usr/bin/env python3
"""pydensecrf on the photographs of atrous_bench's crf/ rows: time of building and of iterating, and peak memory.

  bench/peer_pydensecrf.py [--field 375x500x21] [--repeat 3]

Needs numpy and pydensecrf (pip install pydensecrf, or its source from PyPI). It has one thread. Peak memory is the growth of
the process, energies and photograph included. Held beside it: atrous_bench --benchmark_filter='^crf'.
"""
import argparse
import resource
import sys
import time

FIELDS = ("375x500x21", "513x513x21", "1024x2048x19")
ITERATIONS = 10


def photograph(np, h, w):
    """The same formula as crf_bench.cpp's."""
    y, x, c = np.mgrid[0:h, 0:w, 0:3]
    patch = 40 * ((x // 71 + 2 * (y // 53) + c) % 4)
    shadow = np.floor(20 * np.sin(0.02 * x + c) * np.cos(0.03 * y)).astype(np.int64)
    grain = (x * 7919 + y * 104729 + c * 1299709) % 9973 % 12
    return np.ascontiguousarray((60 + patch + shadow + grain).astype(np.uint8))


def energies(np, h, w, classes):
    """[classes, h w], as crf_bench.cpp's."""
    y, x = np.mgrid[0:h, 0:w]
    logits = np.stack([3 * np.sin(0.05 * x + c) * np.cos(0.04 * y - 2 * c) for c in range(classes)]).reshape(classes, -1)
    logits = logits.astype(np.float32)
    shifted = logits - logits.max(axis=0)
    return np.ascontiguousarray(np.log(np.exp(shifted).sum(axis=0)) - shifted, dtype=np.float32)


def run(np, densecrf, field, repeat):
    h, w, classes = (int(v) for v in field.split("x"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image, unary = photograph(np, h, w), energies(np, h, w, classes)
    best = (float("inf"), 0.0, 0.0)
    for _ in range(repeat):
        start = time.perf_counter()
        crf = densecrf.DenseCRF2D(w, h, classes)
        crf.setUnaryEnergy(unary)
        crf.addPairwiseGaussian(sxy=1, compat=3)
        crf.addPairwiseBilateral(sxy=67, srgb=3, rgbim=image, compat=4)
        built = time.perf_counter()
        crf.inference(ITERATIONS)
        done = time.perf_counter()
        best = min(best, (done - start, built - start, done - built))
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
    name = f"h{h}w{w}c{classes}i{ITERATIONS}"
    print(f"{name:>24} {1e3 * best[0]:9.1f} {1e3 * best[1]:9.1f} {1e3 * best[2]:9.1f} {peak:9.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--field", choices=FIELDS, action="append", help="HxWxCLASSES (default: the first)")
    parser.add_argument("--repeat", type=int, default=3, help="runs, of which the fastest counts")
    arguments = parser.parse_args()
    try:
        import numpy as np
        import pydensecrf.densecrf as densecrf
    except ImportError as missing:
        sys.exit(f"peer_pydensecrf: {missing}")
    print(f"{'pydensecrf':>24} {'all ms':>9} {'build ms':>9} {'iter ms':>9} {'peak MB':>9}")
    for field in arguments.field or FIELDS[:1]:
        run(np, densecrf, field, arguments.repeat)


if __name__ == "__main__":
    main()
