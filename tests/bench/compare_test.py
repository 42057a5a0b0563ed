"""bench/compare.py without peers: compare_test.py SOURCE_DIR. Names, what a run of atrous_bench says, ratios, verdicts, tables."""
import importlib.util
import json
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1))


def module(path):
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, SOURCE / path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


compare, rows = module("bench/compare.py"), module("bench/peers/rows.py")

# Lists its rows and writes what Google Benchmark would; the time of a row is that of its direction.
STAND_IN = """#!/usr/bin/env python3
import json, re, sys
rows = ["yardstick/fma/t1", "yardstick/copy/dw3x3/h9w9c16r2b1t1", "dw3x3/h9w9c16r2b1t1/forward/cpu/f32",
        "dw3x3/h9w9c16r2b1t1/backward_input/cpu/f32", "dw3x3/h9w9c16r2b1t2/forward/cpu/f32", "train/netH4h9w9k2b1t1"]
flags = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
if "--benchmark_list_tests" in sys.argv:
    print("\\n".join(r + "/real_time" for r in rows))
    sys.exit()
out = []
for r in rows:
    if re.search(flags["--benchmark_filter"], r + "/real_time"):
        row = {"run_name": r + "/real_time", "real_time": 2.0, "time_unit": "ms", "FLOP/s": 4e9, "bytes/s": 1e9}
        if "forward" in r:
            row["median"] = 1e-3
        out.append({"run_name": r + "/real_time", "error_occurred": True, "error_message": "wrong"} if "backward" in r else row)
open(flags["--benchmark_out"], "w").write(json.dumps({"benchmarks": out}))
"""


class Names(unittest.TestCase):
    def test_rows_of_the_bench(self):
        self.assertEqual(compare.split_name("conv3x3/h33w33c2048k256r6b1t2/backward_input/cpu/f32/real_time"),
                         ("conv3x3/h33w33c2048k256r6b1t2", "backward_input", 2))
        self.assertEqual(compare.split_name("train/deeplab_v3_resnet50:torchvisionh257w257k21b2t1/real_time"),
                         ("train/deeplab_v3_resnet50:torchvisionh257w257k21b2t1", "step", 1))
        for other in ("yardstick/gemm/conv1x1/h9w9c2k3b1t1/real_time", "conv1x1/h9w9c2k3b8/forward/cuda/bf16/real_time"):
            self.assertIsNone(compare.split_name(other), other)

    def test_every_row_of_the_shapes_is_understood(self):
        text = (SOURCE / "bench/support/shapes.h").read_text()
        keys = compare.re.findall(r'{"([a-z0-9]+/[a-z0-9]+)", Kind', text)
        self.assertGreater(len(keys), 40)
        for key in keys:
            self.assertEqual(rows.parse(key + "b4t2").batch, 4, key)

    def test_sizes(self):
        stem = rows.parse("conv7x7/h513w513c3k64r1s2b1t2")
        self.assertEqual((stem.taps, stem.stride, stem.padding, stem.filters, stem.out_side(513), stem.threads), (7, 2, 3, 64, 257, 2))
        transposed = rows.parse("deconv/h33w33c21k21f4s2b4t1")
        self.assertEqual((transposed.padding, transposed.out_side(33), transposed.batch), (1, 66, 4))
        self.assertEqual(rows.parse("upxent/h129w129c21o513b1t1").out, 513)
        network = rows.parse("model/deeplab_v3plus_mobilenet_v2h513w513k21b1t2")
        self.assertEqual((network.network, network.h, network.filters), ("deeplab_v3plus_mobilenet_v2", 513, 21))
        with self.assertRaises(ValueError):
            rows.parse("fft/h9w9c2b1t1")


class Table(unittest.TestCase):
    RESULTS = {"machine": {"processor": "Made up", "processors": 2, "memory_GB": 4, "system": "Linux"}, "versions": {"onednn": "oneDNN 2"},
               "taken": "2026-11", "how": "1 turn", "ceilings": {"yardstick/fma/t1": 10e9, "yardstick/copy/conv1x1/ab1t1": 1e9},
               "rows": {"conv1x1/ab1t1/forward": {"ours": [0.4, 0.2, 0.3], "FLOP": 1e9, "bytes": 1e8,
                                                  "peers": {"onednn": {"nhwc": [0.5, 0.3], "any": [0.25]}, "torch": {"nchw": [0.26]}}},
                        "conv1x1/bb1t1/forward": {"ours": [0.1], "peers": {"torch": {"nchw": [0.05]}}},
                        "dw3x3/cb1t1/forward": {"ours": [], "error": "wrong", "peers": {}},
                        "bn/db1t1/forward": {"ours": [0.1], "peers": {}}}}

    def setUp(self):
        self.targets = [(((1.2, None),), compare.re.compile("^conv1x1/a"), "words"), (((0.51, None),), compare.re.compile("^conv"), "words")]

    def test_the_best_turn_of_the_best_way_counts(self):
        self.assertEqual(compare.best_peer(self.RESULTS["rows"]["conv1x1/ab1t1/forward"]), ("onednn any", 0.25))
        self.assertIsNone(compare.best_peer(self.RESULTS["rows"]["bn/db1t1/forward"]))

    def test_what_falls_shortest_comes_first_and_errors_before_it(self):
        lines = compare.judge(self.RESULTS, self.targets)
        self.assertEqual([line["name"].split("/")[1][0] for line in lines], ["c", "b", "a", "d"])
        self.assertEqual(lines[0]["error"], "wrong")
        self.assertAlmostEqual(lines[1]["ratio"], 0.5)
        self.assertAlmostEqual(lines[2]["ratio"], 1.25)
        self.assertAlmostEqual(lines[2]["share"], 0.5)  # 1 of 10 GFLOP in 0.2 s; 0.1 of 1 GB in 0.2 s counts for as much

    def test_verdicts(self):
        text = compare.markdown(self.RESULTS, compare.judge(self.RESULTS, self.targets))
        self.assertIn("Of 2 rows with a target 1 reach it, 1 more come within 5 % of it.", text)
        self.assertIn("| conv1x1/ab1t1/forward | 200 | onednn any | 250 | 1.25 | 1.2 | reached | 0.50 |", text)
        self.assertIn("| dw3x3/cb1t1/forward | wrong |", text)

    def test_summary_has_a_line_a_kind_and_a_line_a_network(self):
        results = {**self.RESULTS, "rows": {**self.RESULTS["rows"], "conv1x1/ab4t1/forward": {"ours": [0.1], "peers": {"torch": {"nchw": [0.3]}}},
                   "model/netb1t2/forward": {"ours": [0.5], "peak_MB": 90.0, "process_MB": 120.0, "peers": {"onednn": {"any": [0.6]}}, "peer_peak_MB": {"onednn": 300}}}}
        targets = [*self.targets, (((1.5, None),), compare.re.compile("^model"), "networks")]
        text = compare.summary(results, compare.judge(results, targets), targets, "bench/results/x.md")
        self.assertIn("| words | 2 | 1.25, 2.12, 3.00 | 1.2 | 2 | 0.50 |", text)
        self.assertIn("| words | 1 | 0.50, 0.50, 0.50 | 0.51 | 0 |  |", text)
        self.assertIn("| model/netb1t2/forward | 500 | onednn any | 600 | 1.20 | 1.5 |  | 120 | 300 |", text)
        self.assertIn("[bench/results/x.md](bench/results/x.md)", text)
        first, last = compare.MARKS
        self.assertEqual(compare.put_between_marks(f"a\n{first}\nold\nolder\n{last}\nb\n", "new\\1"), f"a\n{first}\nnew\\1\n{last}\nb\n")
        with self.assertRaises(SystemExit):
            compare.put_between_marks("a\nb\n", "new")

    def test_of_an_aim_in_parts_the_furthest_counts(self):
        pattern = compare.re.compile("^conv1x1/a")

        def line(aim):
            return next(line for line in compare.judge(self.RESULTS, [(aim, pattern, "words")]) if line["name"].startswith("conv1x1/a"))

        self.assertEqual(line(((1.0, None), (1.35, "torch")))["peer"], "torch nchw")  # 1.30 of 1.35
        self.assertEqual(line(((1.3, None), (1.31, "torch")))["peer"], "onednn any")  # 1.25 of 1.30
        self.assertEqual(line(((1.0, "xnnpack"), (1.2, None)))["peer"], "onednn any")  # who was not measured is no part

    def test_targets_of_the_project(self):
        targets = compare.read_targets(SOURCE / "bench/cpu_targets.txt")

        def target(name):
            return next((aim for aim, pattern, _ in targets if pattern.search(name)), None)

        for name, want in (("conv3x3/h65w65c512k512r2b1t2/forward", 2.8), ("conv3x3/h33w33c2048k256r18b4t1/backward_input", 1.65),
                           ("conv3x3/h129w129c304k256r1b1t2/forward_packed", 1.15), ("conv7x7/h513w513c3k64r1s2b1t1/forward", 1.0),
                           ("dw3x3/h33w33c2048r6b1t2/forward", 1.3), ("dw3x3/h33w33c2048r6b4t2/forward", 1.8),
                           ("sep3x3/h257w257c128k128r1s2b1t1/forward", 1.25), ("sep3x3/h65w65c728k728r1b1t1/forward", 1.06),
                           ("upxent/h129w129c21o513b1t1/forward_backward", 10),
                           ("train/deeplab_v3plus_mobilenet_v2h241w241k11b4t2/step", 1.7)):
            self.assertEqual(target(name), ((want, None),), name)
        self.assertEqual(target("conv1x1/h33w33c2048k256b1t1/backward_weight"), ((1.0, None), (1.3, "torch")))


class Program(unittest.TestCase):
    def run_program(self, folder, *arguments):
        bench = pathlib.Path(folder) / "bench"
        bench.write_text(STAND_IN)
        bench.chmod(bench.stat().st_mode | stat.S_IXUSR)
        done = subprocess.run([sys.executable, SOURCE / "bench/compare.py", "--bench", bench, "--peers", "", "--json", pathlib.Path(folder) / "run.json",
                               *arguments], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done, json.loads((pathlib.Path(folder) / "run.json").read_text())

    def test_a_record_is_three_files(self):
        with tempfile.TemporaryDirectory() as folder:
            readme, (first, last) = pathlib.Path(folder) / "README.md", compare.MARKS
            readme.write_text(f"top\n{first}\n{last}\nend\n")
            self.run_program(folder, "--threads", "1", "--rows", "dw3x3", "--repeat", "1", "--record", pathlib.Path(folder) / "run", "--readme", readme)
            self.assertIn("| dw3x3/h9w9c16r2b1t1/forward | 1 |", (pathlib.Path(folder) / "run.md").read_text())
            self.assertIn(f"{first}\n", readme.read_text())
            self.assertIn("Every row: [run.md](run.md).", readme.read_text())

    def test_a_run_in_two_pieces(self):
        with tempfile.TemporaryDirectory() as folder:
            done, first = self.run_program(folder, "--threads", "1", "--rows", "dw3x3", "--repeat", "2")
            self.assertEqual(sorted(first["rows"]), ["dw3x3/h9w9c16r2b1t1/backward_input", "dw3x3/h9w9c16r2b1t1/forward"])
            entry = first["rows"]["dw3x3/h9w9c16r2b1t1/forward"]
            self.assertEqual(entry["ours"], [1e-3, 1e-3])
            self.assertAlmostEqual(entry["FLOP"], 8e6)
            self.assertEqual(first["rows"]["dw3x3/h9w9c16r2b1t1/backward_input"]["error"], "wrong")
            self.assertAlmostEqual(first["ceilings"]["yardstick/fma/t1"], 4e9)
            self.assertIn("| dw3x3/h9w9c16r2b1t1/forward | 1 |", done.stdout)
            _, second = self.run_program(folder, "--threads", "1", "--missing")
            self.assertEqual(set(second["rows"]) - set(first["rows"]), {"train/netH4h9w9k2b1t1/step"})
            self.assertEqual(second["rows"]["train/netH4h9w9k2b1t1/step"]["ours"], [2e-3] * 3)


if __name__ == "__main__":
    unittest.main()
