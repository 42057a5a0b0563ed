#!/usr/bin/env python3
"""Times atrous_bench's CPU rows and the peers that are installed, in turns, and holds their ratios against the targets.

  bench/compare.py --rows '^conv3x3/.*b1t2/forward' --json run.json --markdown run.md
  bench/compare.py --rows '^(model|train)/' --python ~/venv/bin/python       # a Python that has onnxruntime and torch
  bench/compare.py --table run.json                                          # only the table of what was measured
  bench/compare.py --python ~/venv/bin/python --record bench/results/cpu-zen4-2-cores
                                                                             # all, into NAME.json, NAME.md and the README's table

Peers: torch, onnxruntime (needs torch too, which writes its graphs), onednn and xnnpack (shared libraries, by ctypes). One
that is missing is named and left out. For every row, --repeat times over: our row, then each peer's, each for --min-time seconds,
all bound to the same processors and with the same number of threads. Of a turn the median counts, of the turns the best, for all
alike: on a machine with other work it is the one that was least disturbed. Peers keep
their memory (glibc's trimming is off, huge pages on), pack weights beforehand where they can, and run in each layout they have:
the best counts. From the second turn on only those within --keep of a row's best peer are run again.

The table: time, best peer, its time, ratio peer/ours (above 1: ours is faster), the target of bench/cpu_targets.txt that the
ratio has to reach (where it names a peer of its own, the one that ours is further from), and the share of the ceiling: the larger of arithmetic (all taps counted, against multiply-adds
on registers) and traffic (against a copy of as many bytes), both from the same run. Winograd and skipped taps take it above 1.
--json adds to what the file holds, so that a long run can be taken in pieces: with --missing, rows that it has are passed over.
--record NAME is --json NAME.json --markdown NAME.md, and writes what the README says between its two marks anew, from the whole file:
a line for each kind of row (of bench/cpu_targets.txt) and for each network. With --table NAME.json it measures nothing.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PEERS = ("torch", "onnxruntime", "onednn", "xnnpack")
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
# A row as the bench names it: key, b and t, direction; networks have no direction.
NAME = re.compile(r"^(?P<row>.+b\d+t(?P<threads>\d+))(/(?P<direction>\w+)/cpu/f32)?(/real_time)?$")
PACKED = "forward_packed"  # peers' forward passes pack beforehand, but for PyTorch's
MARKS = ("<!-- compare.py writes from here -->", "<!-- to here -->")
NO_DIRECTION = {"model": "forward", "train": "step"}
MEMORY = {"MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_MMAP_THRESHOLD_": str(1 << 40), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def split_name(name):
    """(row, direction, threads) of a benchmark's name, or None for a yardstick and for rows on other devices."""
    found = NAME.match(name)
    if not found or name.startswith("yardstick/"):
        return None
    direction = found["direction"] or NO_DIRECTION.get(name.split("/")[0])
    return (found["row"], direction, int(found["threads"])) if direction else None


def bound(threads):
    """The processors a run may use, the last ones: the first one takes most interrupts."""
    return sorted(os.sched_getaffinity(0))[-threads:]


def surroundings(threads):
    return {**os.environ, **MEMORY, "OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "true", "ATROUS_NUM_THREADS": str(threads)}


def run_ours(bench, pattern, seconds, threads, check):
    """{name: {seconds, FLOP, bytes, error, peak_MB}} of one run of atrous_bench."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [bench, "--device=cpu", f"--check={'on' if check else 'off'}", f"--benchmark_filter={pattern}", f"--benchmark_min_time={seconds}",
                   f"--benchmark_out={out.name}"]
        cpus = bound(threads)
        done = subprocess.run(command, env=surroundings(threads), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        text = pathlib.Path(out.name).read_text()
    if done.returncode != 0 or not text:
        raise SystemExit(f"compare.py: {' '.join(command)} ended with {done.returncode}\n{done.stderr}")
    return read_ours(json.loads(text))


def read_ours(document):
    rows = {}
    for row in document["benchmarks"]:
        name = re.sub(r"/real_time$", "", row["run_name"])
        if row.get("error_occurred"):
            rows[name] = {"error": row.get("error_message", "failed")}
            continue
        mean = row["real_time"] * UNITS[row["time_unit"]]
        rows[name] = {"seconds": row.get("median", mean)}
        rows[name].update({work: row[rate] * mean for rate, work in (("FLOP/s", "FLOP"), ("bytes/s", "bytes")) if rate in row})
        rows[name].update({key: row[key] for key in ("peak_MB", "process_MB") if key in row})
    return rows


class Peer:
    """A worker process; bound to its processors, it waits for rows."""

    def __init__(self, name, threads, pythons):
        self.name, self.process, self.version, why = name, None, None, []
        cpus = bound(threads)
        for python in pythons:
            try:
                self.process = subprocess.Popen([python, HERE / "peers/worker.py", name, str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                stderr=subprocess.DEVNULL, text=True, bufsize=1, env=surroundings(threads),
                                                preexec_fn=lambda: os.sched_setaffinity(0, cpus))
            except OSError as error:
                why.append(f"{python}: {error.strerror}")
                continue
            hello = json.loads(self.process.stdout.readline() or '{"missing": "does not start"}')
            if "version" in hello:
                self.version = hello["version"]
                return
            self.process.wait()
            why.append(f"{python}: {hello['missing']}")
        self.missing = "; ".join(why)

    def ask(self, row, directions, seconds, skip):
        question = {"row": row, "directions": directions, "seconds": seconds, "skip": skip}
        try:
            print(json.dumps(question), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except OSError:
            answer = ""
        return json.loads(answer) if answer else {"error": "ended"}

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait()


def best_peer(entry, only=None):
    """(name with its way, seconds) of the fastest, or of the fastest way of `only`; or None."""
    medians = {f"{peer} {way}": min(t) for peer, ways in entry.get("peers", {}).items() if only in (None, peer) for way, t in ways.items() if t}
    return min(medians.items(), key=lambda item: item[1]) if medians else None


def measure(row, directions, threads, peers, options):
    """{row/direction: entry} after --repeat turns of all contestants."""
    entries = {d: {"ours": [], "peers": {}} for d in directions}
    kind = row.split("/")[0]
    network = kind in NO_DIRECTION
    wanted = f"^{re.escape(row)}/real_time$" if network else f"^{re.escape(row)}/({'|'.join(directions)})/cpu/f32/real_time$"
    rivals, asked_of_peers = set(peers), [d for d in directions if d != PACKED]
    if PACKED in directions and "forward" not in directions:
        asked_of_peers.append("forward")
        entries["forward"] = {"ours": [], "peers": {}}
    for turn in range(options.repeat):
        for name, result in run_ours(options.bench, wanted, options.min_time, threads, turn == 0 and options.check).items():
            _, direction, _ = split_name(name)
            if "error" in result:
                entries[direction]["error"] = result["error"]
                continue
            entries[direction]["ours"].append(result.pop("seconds"))
            entries[direction].update(result)
        for peer in sorted(rivals):
            # Ways far from the best are not timed again; a peer without any left is out.
            skip = {d: [way for way, t in entries[d]["peers"].get(peer, {}).items()
                        if min(t) > options.keep * best_peer(entries[d])[1]] for d in asked_of_peers} if turn else {}
            asked = [d for d in asked_of_peers if turn == 0 or set(entries[d]["peers"].get(peer, {})) - set(skip[d])]
            if not asked:
                rivals.discard(peer)
                continue
            answer = peers[peer].ask(row, asked, options.min_time, skip)
            if "error" in answer:
                rivals.discard(peer)
                for d in asked:
                    entries[d].setdefault("peer_errors", {})[peer] = answer["error"]
                if answer["error"] == "ended":
                    peers.pop(peer)
                continue
            for direction, ways in answer["times"].items():
                for way, times in ways.items():
                    entries[direction]["peers"].setdefault(peer, {}).setdefault(way, []).append(statistics.median(times))
            if network:
                entries[directions[0]].setdefault("peer_peak_MB", {})[peer] = round(answer["peak_MB"])
            time.sleep(0.02)  # its threads stop spinning
    if PACKED in directions:
        entries[PACKED]["peers"] = entries["forward"]["peers"]
    return {f"{row}/{d}": entries[d] for d in directions}


def read_targets(path):
    """[(aim, pattern, words)] in the order of the file; the first that matches a row counts. An aim: [(ratio, peer or None for the best)]."""
    targets = []
    for line in pathlib.Path(path).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            text, pattern, words = line.split(None, 2)
            aim = tuple((float(ratio), peer or None) for ratio, _, peer in (part.partition("@") for part in text.split(",")))
            targets.append((aim, re.compile(pattern), words))
    return targets


def aim_text(aim):
    return ", ".join(f"{ratio:g} of {peer}" if peer else f"{ratio:g}" for ratio, peer in aim)


def share(name, entry, ceilings):
    """Of the ceiling: the larger of arithmetic against multiply-adds on registers and traffic against a copy."""
    row = name.rsplit("/", 1)[0]
    threads = re.search(r"t(\d+)$", row)[1]
    seconds = min(entry["ours"])
    shares = [entry[work] / seconds / ceilings[ceiling] for work, ceiling in (("FLOP", f"yardstick/fma/t{threads}"), ("bytes", f"yardstick/copy/{row}"))
              if work in entry and ceilings.get(ceiling)]
    return max(shares) if shares else None


def judge(results, targets):
    """Lines of the table, what falls shortest of its target first."""
    lines = []
    for name, entry in results["rows"].items():
        if not entry.get("ours"):
            lines.append({"name": name, "order": -1.0, "error": entry.get("error", "was not run")})
            continue
        ours, peer = min(entry["ours"]), best_peer(entry)
        aim, kind = next(((aim, words) for aim, pattern, words in targets if pattern.search(name)), (((None, None),), None))
        line = {"name": name, "kind": kind, "aim": aim, "ours": ours, "share": share(name, entry, results["ceilings"]), "target": aim[0][0], "order": 1e9}
        for target, of in aim:  # what counts is the part of the aim that is furthest away
            rival = best_peer(entry, of)
            order = rival[1] / ours / target if rival and target else 1e9
            if rival and ("peer" not in line or order < line["order"]):
                line.update(peer=rival[0], theirs=rival[1], ratio=rival[1] / ours, target=target, order=order)
        if "peak_MB" in entry:
            line["peak_MB"], line["process_MB"] = entry["peak_MB"], entry.get("process_MB")
            line["peer_peak_MB"] = entry.get("peer_peak_MB", {}).get(peer[0].split()[0]) if peer else None
        lines.append(line)
    return sorted(lines, key=lambda line: (line["order"], line["name"]))


def markdown(results, lines):
    machine = results["machine"]
    text = [f"{machine['processor']}, {machine['processors']} processors, {machine['memory_GB']} GB; {machine['system']}. Peers: "
            + "; ".join(results["versions"].values()) + ".",
            f"{results['taken']}: {results['how']}.", ""]
    judged = [line for line in lines if 0 <= line["order"] < 1e8]
    reached = sum(line["order"] >= 1 for line in judged)
    near = sum(0.95 <= line["order"] < 1 for line in judged)
    text += [f"Of {len(judged)} rows with a target {reached} reach it, {near} more come within 5 % of it.", "",
             "| row | ours ms | peer | ms | peer / ours | target | | ceiling |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for line in lines:
        if "error" in line:
            text.append(f"| {line['name']} | {line['error']} | | | | | | |")
            continue
        verdict = "" if line["order"] > 1e8 else "reached" if line["order"] >= 1 else "within 5 %" if line["order"] >= 0.95 else "short"
        theirs = f"{line['peer']} | {milliseconds(line['theirs'])} | {line['ratio']:.2f}" if "peer" in line else "| | "
        ceiling = f"{line['share']:.2f}" if line["share"] else ""
        text.append(f"| {line['name']} | {milliseconds(line['ours'])} | {theirs} | {line['target'] or ''} | {verdict} | {ceiling} |")
    memory = [line for line in lines if "peak_MB" in line]
    if memory:
        text += ["", "| network | our tensors at most, MB | our process | the best peer's process |", "| --- | --- | --- | --- |"]
        text += [f"| {line['name']} | {line['peak_MB']:.0f} | {megabytes(line, 'process_MB')} | {megabytes(line, 'peer_peak_MB')} |" for line in memory]
    return "\n".join(text) + "\n"


def milliseconds(seconds):
    return f"{1e3 * seconds:.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def megabytes(line, key):
    return f"{line[key]:.0f}" if line.get(key) else ""


def summary(results, lines, targets, where):
    """What the README says of a run: a line for each kind of row, one for each network."""
    judged = [line for line in lines if line.get("target") and "ratio" in line]
    networks = [line for line in judged if line["name"].split("/")[0] in NO_DIRECTION]
    others = [line for line in judged if line not in networks]
    machine = results["machine"]
    text = [f"{machine['processor']}, {machine['processors']} processors, f32, {results['taken']}. Ratio: the time of the best peer of the same run to ours, above 1: ours is faster. "
            "Ceiling: the share of what the machine can multiply or copy, of nominal work (all taps counted). Peers: " + "; ".join(results["versions"].values()) + ".", "",
            "| operations | rows | ratio: least, median, greatest | aim | reached | ceiling, median |", "| --- | --- | --- | --- | --- | --- |"]
    kinds = [(aim, words) for aim, _, words in targets]
    for aim, words in dict.fromkeys(kinds):
        own = [line for line in others if line["kind"] == words and line["aim"] == aim]
        if own:
            ratios, shares = sorted(line["ratio"] for line in own), [line["share"] for line in own if line["share"]]
            text.append(f"| {words} | {len(own)} | {ratios[0]:.2f}, {statistics.median(ratios):.2f}, {ratios[-1]:.2f} | {aim_text(aim)} | "
                        f"{sum(line['order'] >= 1 for line in own)} | {f'{statistics.median(shares):.2f}' if shares else ''} |")
    if networks:
        text += ["", "| network | ours ms | best peer | ms | ratio | aim | ceiling | our process MB | theirs |", "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
        for line in sorted(networks, key=lambda line: line["name"]):
            ceiling = f"{line['share']:.2f}" if line["share"] else ""
            text.append(f"| {line['name']} | {milliseconds(line['ours'])} | {line['peer']} | {milliseconds(line['theirs'])} | {line['ratio']:.2f} | {line['target']:g} | {ceiling} | "
                        f"{megabytes(line, 'process_MB')} | {megabytes(line, 'peer_peak_MB')} |")
    text += ["", f"Every row: [{where}]({where})."]
    return "\n".join(text)


def put_between_marks(document, text):
    """The document with what stands between its two marks replaced; SystemExit if it has none."""
    parts = re.split(f"({re.escape(MARKS[0])}\n).*?({re.escape(MARKS[1])})", document, flags=re.DOTALL)
    if len(parts) != 4:
        raise SystemExit(f"compare.py: README.md has not one {MARKS[0]} ... {MARKS[1]}")
    return parts[0] + parts[1] + text + "\n" + parts[2] + parts[3]


def machine():
    model = re.search(r"model name\s*:\s*(.+)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    return {"processor": model[1] if model else platform.machine(), "processors": os.cpu_count(), "memory_GB": round(memory / 1e6),
            "system": f"{platform.system()} {platform.machine()}"}


def fill(results, save, options):
    listed = subprocess.run([options.bench, "--device=cpu", "--benchmark_list_tests"], capture_output=True, text=True, check=True).stdout.split()
    wanted = {}
    for name in listed:
        found = split_name(name)
        if not found or found[2] not in options.threads:
            continue
        row, direction, threads = found
        full = f"{row}/{direction}"
        if re.search(options.rows, full) and not (options.missing and full in results["rows"]):
            wanted.setdefault((threads, row), []).append(direction)
    if not wanted:
        print("compare.py: no rows left to measure", file=sys.stderr)
    started = time.monotonic()
    for threads in sorted({t for t, _ in wanted}):
        peers = {}
        for name in options.peers:
            peer = Peer(name, threads, options.python)
            if peer.version:
                peers[name] = peer
                results["versions"][name] = peer.version
            else:
                print(f"compare.py: without {name}: {peer.missing}", file=sys.stderr)
        try:
            for (_, row), directions in [(k, d) for k, d in wanted.items() if k[0] == threads]:
                if options.budget and time.monotonic() - started > options.budget:
                    print("compare.py: the budget is spent; --missing takes it up again", file=sys.stderr)
                    return
                yardsticks = [n for n in (f"yardstick/fma/t{threads}", f"yardstick/copy/{row}") if f"{n}/real_time" in listed]
                for name, entry in run_ours(options.bench, "^(" + "|".join(map(re.escape, yardsticks)) + ")/real_time$", 0.02, threads, False).items():
                    rate = entry.get("FLOP", entry.get("bytes")) / entry["seconds"]
                    results["ceilings"][name] = max(rate, results["ceilings"].get(name, 0))  # the best that the machine has shown
                for name, entry in measure(row, directions, threads, peers, options).items():
                    results["rows"][name] = entry
                    peer = best_peer(entry)
                    if entry["ours"] and not options.quiet:
                        ours = min(entry["ours"])
                        print(f"{name:58} {1e3 * ours:9.3f} ms" + (f"  {1e3 * peer[1]:9.3f} {peer[0]:18} {peer[1] / ours:5.2f}" if peer else ""), flush=True)
                save()
        finally:
            for peer in peers.values():
                peer.stop()


def numbers(text):
    return [int(n) for n in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default=str(HERE.parent / "build/release/bench/atrous_bench"))
    parser.add_argument("--rows", default=".", metavar="REGEX", help="of names such as conv3x3/h33w33c2048k256r6b1t2/forward")
    parser.add_argument("--threads", type=numbers, default=[1, 2], metavar="N,N")
    parser.add_argument("--repeat", type=int, default=3, metavar="TURNS")
    parser.add_argument("--min-time", type=float, default=0.2, metavar="SECONDS", help="of each contestant in each turn")
    parser.add_argument("--keep", type=float, default=1.3, metavar="RATIO", help="peers further from the best are not run again")
    parser.add_argument("--peers", type=lambda text: [p for p in text.split(",") if p], default=list(PEERS), metavar="NAME,NAME")
    parser.add_argument("--python", action="append", metavar="PATH", help="where peers may be installed; may be given again")
    parser.add_argument("--no-check", dest="check", action="store_false", help="do not check our results before timing them")
    parser.add_argument("--json", metavar="FILE", help="adds to it")
    parser.add_argument("--missing", action="store_true", help="pass over rows that --json has")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="start no row after that time")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--record", metavar="NAME", help="NAME.json, NAME.md and the README's table")
    parser.add_argument("--readme", default=str(HERE.parent / "README.md"), metavar="FILE", help="of --record")
    parser.add_argument("--table", metavar="FILE", help="measure nothing, read this")
    parser.add_argument("--targets", default=str(HERE / "cpu_targets.txt"), metavar="FILE")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    if options.record:
        stem = options.record.removesuffix(".json").removesuffix(".md")
        options.markdown = stem + ".md"
        options.json = options.json or stem + ".json"
    options.python = (options.python or []) + [sys.executable, "/usr/bin/python3"]
    unknown = set(options.peers) - set(PEERS)
    if unknown:
        parser.error(f"--peers knows {', '.join(PEERS)}; not {', '.join(sorted(unknown))}")
    if options.table:
        results = json.loads(pathlib.Path(options.table).read_text())
    else:
        path = pathlib.Path(options.json) if options.json else None
        results = {"machine": machine(), "versions": {}, "ceilings": {}, "rows": {}}
        if path and path.exists():
            results = json.loads(path.read_text())
        results["taken"] = time.strftime("%Y-%m")
        results["how"] = f"{options.repeat} turns of {options.min_time:g} s a row and contestant, the best turn's median, threads bound"

        def save():
            if path:
                path.write_text(json.dumps(results, indent=1) + "\n")

        fill(results, save, options)
        save()
    targets = read_targets(options.targets)
    lines = judge(results, targets)
    text = markdown(results, lines)
    if options.markdown:
        pathlib.Path(options.markdown).write_text(text)
    if options.record:
        readme = pathlib.Path(options.readme)
        where = os.path.relpath(options.markdown, readme.parent)
        readme.write_text(put_between_marks(readme.read_text(), summary(results, lines, targets, where)))
    if not options.quiet:
        print(text)


if __name__ == "__main__":
    main()
