#!/usr/bin/env python3
"""Times one peer for bench/compare.py: worker.py PEER THREADS. A line of JSON in, a line of JSON out.

  in   {"row": "conv3x3/h33w33c2048k256r6b1t2", "directions": ["forward"], "seconds": 0.2, "skip": {"forward": ["nchw"]}}
  out  {"times": {"forward": {"nhwc": [0.0361, ...]}}, "peak_MB": 512}     seconds a call, for each way the peer knows

A peer is a module of this folder with version() and prepare(row) -> {direction: {way: function}}; it leaves out what it
does not know. peak_MB() is optional: the memory of a process that does the last row and nothing else. It says ImportError or OSError where the software is not installed.
"""
import gc
import importlib
import json
import os
import pathlib
import resource
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import rows  # noqa: E402


def timed(call, seconds):
    start = time.perf_counter()
    call()  # packs, allocates, takes fresh memory
    least = 1 if time.perf_counter() - start > 4 * seconds else 2
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def main():
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        peer = importlib.import_module(f"{sys.argv[1]}_peer")
        print(json.dumps({"version": peer.version()}), file=answers)
    except (ImportError, OSError) as error:
        print(json.dumps({"missing": str(error).splitlines()[0]}), file=answers)
        return
    name, ready = None, {}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["row"] != name:
                ready = {}
                gc.collect()
                name, ready = asked["row"], peer.prepare(rows.parse(asked["row"]))
            times = {d: {way: timed(call, asked["seconds"]) for way, call in ready.get(d, {}).items() if way not in asked.get("skip", {}).get(d, [])} for d in asked["directions"]}
            alone = hasattr(peer, "peak_MB") and rows.parse(asked["row"]).network
            peak = peer.peak_MB() if alone else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            answer = {"times": {d: t for d, t in times.items() if t}, "peak_MB": peak}
        except Exception as error:  # one row that a peer cannot run is a gap in the table, not the end of it
            traceback.print_exc()
            name, answer = None, {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
