#!/usr/bin/env python3
"""Joins what atrous_bench wrote on a GPU and holds it against bench/targets.txt.

  gpu_table.py --gpu NAME --targets targets.txt --out results/nvidia-h200 RUN.json...

Writes OUT.json (every row: seconds, rates, spread) and OUT.md (targets as pass or miss, then every layer beside cuDNN and
the ceilings), and prints the targets. A file that was cut off by a time limit counts as far as it goes; of a row that
was measured twice the later one counts. Ends with 0; a missed target is a result, not a failure.
"""
import argparse
import json
import pathlib
import re
import sys

UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
SUFFIX = re.compile(r"/(iterations:\d+|manual_time|real_time|process_time|repeats:\d+|min_time:[\d.]+)")


def read_rows(path):
    """The context and the rows of one file of Google Benchmark, also if its end is missing."""
    text = path.read_text() if path.exists() else ""
    begin = text.find('"benchmarks"')
    if begin < 0:
        return {}, []
    try:
        context = json.loads(text[: text.rindex(",", 0, begin)] + "}").get("context", {})
    except ValueError:
        context = {}
    rows, at, decoder = [], text.index("[", begin) + 1, json.JSONDecoder()
    while True:
        at = text.find("{", at)
        if at < 0:
            return context, rows
        try:
            row, at = decoder.raw_decode(text, at)
        except ValueError:
            return context, rows
        rows.append(row)


def collect(paths):
    rows, context = {}, {}
    for path in paths:
        its_context, its_rows = read_rows(pathlib.Path(path))
        context = context or its_context
        for row in its_rows:
            if row.get("run_type") == "aggregate" and row.get("aggregate_name") != "median":
                continue
            name = SUFFIX.sub("", row.get("run_name", row["name"]))
            if row.get("error_occurred"):
                rows.setdefault(name, {"error": row.get("error_message", "failed")})
                continue
            entry = {"seconds": row["real_time"] * UNITS[row.get("time_unit", "ns")]}
            for key in ("FLOP/s", "bytes/s", "spread", "peak_MB"):
                if key in row:
                    entry[key] = row[key]
            if row.get("label"):
                entry["label"] = row["label"]
            rows[name] = entry
    return context, rows


def total(rows, names):
    """Seconds of all named rows together, or what is in the way."""
    seconds = 0.0
    for name in names.split("+"):
        row = rows.get(name)
        if row is None:
            return None, f"no row {name}"
        if "error" in row:
            return None, f"{name}: {row['error']}"
        seconds += row["seconds"]
    return seconds, None


def judge(rows, path):
    results = []
    for line in pathlib.Path(path).read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        ratio, ours, against, operation = line.split(None, 3)
        entry = {"operation": operation, "rows": ours, "against": against, "target": float(ratio)}
        (mine, problem), (theirs, other) = total(rows, ours), total(rows, against)
        if problem or other:
            entry.update(verdict="not measured", why=problem or other)
        else:
            entry.update(seconds=mine, against_seconds=theirs, ratio=theirs / mine)
            entry["verdict"] = "pass" if entry["ratio"] >= entry["target"] else "miss"
        results.append(entry)
    return results


def micro(seconds):
    return f"{seconds * 1e6:.1f}"


def targets_table(results):
    lines = ["| target | ours, µs | against, µs | ratio | wanted | verdict |", "| --- | --- | --- | --- | --- | --- |"]
    for r in results:
        if r["verdict"] == "not measured":
            lines.append(f"| {r['operation']} | | | | {r['target']:.2f} | not measured: {r['why']} |")
        else:
            lines.append(
                f"| {r['operation']} | {micro(r['seconds'])} | {micro(r['against_seconds'])} | {r['ratio']:.2f} | "
                f"{r['target']:.2f} | {r['verdict']} |")
    return lines


def layers_table(rows):
    lines = ["| row | µs | spread | TFLOP/s | GB/s | cuDNN / ours | copy / ours | GEMM / ours |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for name, row in rows.items():
        match = re.fullmatch(r"(?!yardstick)(.*)/(\w+)/cuda/(\w+)", name)
        if not match or name.startswith(("model/", "train/")):
            continue
        if "error" in row:
            lines.append(f"| {name} | {row['error']} | | | | | | |")
            continue
        layer, direction, number = match.groups()

        def beside(other):
            peer = rows.get(other, {})
            return f"{peer['seconds'] / row['seconds']:.2f}" if "seconds" in peer else ""

        flops, rate = row.get("FLOP/s", 0) / 1e12, row.get("bytes/s", 0) / 1e9
        lines.append(
            f"| {name} | {micro(row['seconds'])} | {100 * row.get('spread', 0):.0f} % | {flops:.1f} | {rate:.0f} | "
            f"{beside(f'{layer}/{direction}/cudnn/{number}')} | {beside(f'yardstick/copy/{layer}/cuda/{number}')} | "
            f"{beside(f'yardstick/gemm/{layer}/cuda/{number}')} |")
    return lines


def models_table(rows):
    lines = ["| network | ms | peak memory, MB |", "| --- | --- | --- |"]
    for name, row in rows.items():
        if name.startswith(("model/", "train/")):
            lines.append(f"| {name} | {row['error']} | |" if "error" in row else
                         f"| {name} | {row['seconds'] * 1e3:.2f} | {row.get('peak_MB', 0):.0f} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", required=True)
    parser.add_argument("--targets", required=True)
    parser.add_argument("--out", required=True, help="path without its ending")
    parser.add_argument("runs", nargs="+")
    options = parser.parse_args()

    context, rows = collect(options.runs)
    if not rows:
        sys.exit("gpu_table.py: no rows in " + ", ".join(options.runs))
    results = judge(rows, options.targets)
    count = {v: sum(r["verdict"] == v for r in results) for v in ("pass", "miss", "not measured")}
    errors = [name for name, row in rows.items() if "error" in row]
    summary = (f"{count['pass']} pass, {count['miss']} miss, {count['not measured']} not measured; "
               f"{len(rows)} rows, {len(errors)} with an error")

    out = pathlib.Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {"gpu": options.gpu, "date": context.get("date", ""), "summary": summary, "targets": results, "rows": rows}
    out.with_suffix(".json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    table = targets_table(results)
    out.with_suffix(".md").write_text("\n".join(
        [f"# {options.gpu}", "", "Written by `bench/gpu.sh`. Times are medians by the device's clock, inputs read from memory, not from L2. "
         "A ratio is the other's time over ours: above 1 is faster.", "", summary, "", "## Targets", ""] + table +
        ["", "## Layers", ""] + layers_table(rows) + ["", "## Networks", ""] + models_table(rows)) + "\n")
    print("\n".join(table))
    print(summary)


if __name__ == "__main__":
    main()
