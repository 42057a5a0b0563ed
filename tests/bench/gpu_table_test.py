"""bench/gpu_table.py on a made-up result file: gpu_table_test.py SOURCE_DIR. Which rows count, ratios, verdicts, tables."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1))
RUN = SOURCE / "tests/bench/made_up_run.json"
TARGETS = """# ratio  rows  against  operation
0.70  conv3x3/a/forward/cuda/bf16  conv3x3/a/forward/cudnn/bf16  dense, against cuDNN
0.80  conv3x3/a/forward/cuda/bf16  conv3x3/a/forward/cudnn/bf16  dense, asked for more

1.00  conv3x3/a/forward/cuda/bf16+dw3x3/b/forward/cuda/bf16  yardstick/copy/conv3x3/a/cuda/bf16  two rows, against a copy
1.00  bn/c/forward/cuda/bf16  yardstick/copy/conv3x3/a/cuda/bf16  a row that failed
1.00  xent/d/forward/cuda/bf16  yardstick/copy/conv3x3/a/cuda/bf16  a row that is not there
"""


def table(*runs):
    """Exit status, standard error, the JSON document and the Markdown page."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "targets.txt").write_text(TARGETS)
        paths = []
        for i, text in enumerate(runs):
            paths.append(folder / f"run{i}.json")
            if text is not None:
                paths[-1].write_text(text)
        done = subprocess.run([sys.executable, SOURCE / "bench/gpu_table.py", "--gpu", "Made Up 1", "--targets", folder / "targets.txt",
                               "--out", folder / "results/made-up", *paths], capture_output=True, text=True)
        if done.returncode != 0:
            return done.returncode, done.stderr, None, None
        return 0, done.stderr, json.loads((folder / "results/made-up.json").read_text()), (folder / "results/made-up.md").read_text()


class GpuTable(unittest.TestCase):
    def setUp(self):
        self.run_text = RUN.read_text()

    def test_rows_have_seconds_whatever_their_unit_and_the_median_stands_for_repeats(self):
        _, _, document, _ = table(self.run_text)
        rows = document["rows"]
        self.assertAlmostEqual(rows["conv3x3/a/forward/cuda/bf16"]["seconds"], 200e-6)
        self.assertAlmostEqual(rows["conv3x3/a/forward/cudnn/bf16"]["seconds"], 150e-6)
        self.assertAlmostEqual(rows["yardstick/copy/conv3x3/a/cuda/bf16"]["seconds"], 50e-6)
        self.assertAlmostEqual(rows["dw3x3/b/forward/cuda/bf16"]["seconds"], 40e-6)
        self.assertEqual(rows["conv3x3/a/forward/cudnn/bf16"]["label"], "engine 7")
        self.assertEqual(rows["bn/c/forward/cuda/bf16"], {"error": "element 3 differs"})
        self.assertEqual(document["gpu"], "Made Up 1")
        self.assertEqual(document["date"], "2026-01-02T03:04:05+00:00")

    def test_verdicts(self):
        _, _, document, _ = table(self.run_text)
        verdicts = [(t["verdict"], t.get("ratio"), t.get("why")) for t in document["targets"]]
        self.assertEqual([v[0] for v in verdicts], ["pass", "miss", "miss", "not measured", "not measured"])
        self.assertAlmostEqual(verdicts[0][1], 0.75)
        self.assertAlmostEqual(verdicts[2][1], 50 / 240)
        self.assertIn("element 3 differs", verdicts[3][2])
        self.assertIn("no row xent/d/forward/cuda/bf16", verdicts[4][2])
        self.assertEqual(document["summary"], "1 pass, 2 miss, 2 not measured; 6 rows, 1 with an error")

    def test_the_page(self):
        _, _, _, page = table(self.run_text)
        self.assertIn("| dense, against cuDNN | 200.0 | 150.0 | 0.75 | 0.70 | pass |", page)
        self.assertIn("| conv3x3/a/forward/cuda/bf16 | 200.0 | 2 % | 400.0 | 1000 | 0.75 | 0.25 |  |", page)
        self.assertIn("| bn/c/forward/cuda/bf16 | element 3 differs |", page)
        self.assertIn("| model/deeplab/cuda/f32 | 12.50 | 345 |", page)

    def test_of_two_runs_the_later_counts_and_an_error_hides_no_measurement(self):
        second = json.loads(self.run_text)
        second["benchmarks"] = second["benchmarks"][:1]
        second["benchmarks"][0]["real_time"] = 100.0
        _, _, document, _ = table(self.run_text, json.dumps(second))
        self.assertAlmostEqual(document["rows"]["conv3x3/a/forward/cuda/bf16"]["seconds"], 100e-6)
        second["benchmarks"][0].update(error_occurred=True, error_message="broke")
        _, _, document, _ = table(self.run_text, json.dumps(second))
        self.assertAlmostEqual(document["rows"]["conv3x3/a/forward/cuda/bf16"]["seconds"], 200e-6)

    def test_a_file_that_was_cut_off_counts_as_far_as_it_goes(self):
        for cut in (self.run_text.index("dw3x3/b") + 4, self.run_text.index('"label"')):
            status, _, document, _ = table(self.run_text[:cut], None)  # and one that is not there
            self.assertEqual(status, 0)
            self.assertIn("conv3x3/a/forward/cuda/bf16", document["rows"])
            self.assertNotIn("model/deeplab/cuda/f32", document["rows"])

    def test_nothing_measured_is_an_error(self):
        status, error, _, _ = table(None, "", '{"context": {')
        self.assertEqual(status, 1)
        self.assertIn("no rows in", error)


if __name__ == "__main__":
    unittest.main()
