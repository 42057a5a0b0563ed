"""onnxruntime's forward passes, of graphs that PyTorch writes: of layers and of whole networks."""
import io
import os
import subprocess
import sys
import tempfile

import numpy
import onnxruntime
import torch
import torch.nn.functional as F

import networks
import torch_peer

THREADS = int(os.environ["OMP_NUM_THREADS"])
PROCESSORS = os.sched_getaffinity(os.getppid())  # of compare.py; the OpenMP of PyTorch has bound this thread to one of them
os.sched_setaffinity(0, sorted(PROCESSORS)[-THREADS:])


def version():
    return "onnxruntime " + onnxruntime.__version__


class Layer(torch.nn.Module):
    """A layer with its weights as constants, as in a network that is deployed."""

    def __init__(self, row):
        super().__init__()
        self.function, (self.x, *weights) = torch_peer.layer(row, torch.contiguous_format)
        self.weights = torch.nn.ParameterList(weights)

    def forward(self, x):
        return self.function(x, *self.weights)


class FullSize(torch.nn.Module):
    def __init__(self, row):
        super().__init__()
        self.model, self.x = networks.make(row.network, row.filters), torch.rand(row.batch, 3, row.h, row.w) * 2 - 1

    def forward(self, x):
        return F.interpolate(self.model(x), x.shape[2:], mode="bilinear", align_corners=True)


# A process without PyTorch, for the memory that onnxruntime takes by itself: the graph from a file, two passes.
ALONE = """
import resource, sys
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
x = numpy.zeros(session.get_inputs()[0].shape, numpy.float32)
for _ in range(2):
    session.run(None, {"x": x})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_graph, _peak = b"", None  # of the last row


def peak_MB():
    global _peak
    if _peak is None:
        _peak = measured_peak()
    return _peak


def measured_peak():
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(_graph)
        file.flush()
        # As somebody would run it: without what compare.py asks of malloc for the sake of speed.
        plain = {name: value for name, value in os.environ.items() if name not in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")}
        return int(subprocess.run([sys.executable, "-c", ALONE, file.name, str(THREADS)], env=plain, capture_output=True, text=True, check=True).stdout) / 1024


def prepare(row):
    global _graph, _peak
    if row.family not in ("conv", "dw", "sep", "aspp", "deconv", "bilinear", "maxpool", "avgpool", "gap", "hswish", "upargmax", "model"):
        return {}
    module = (FullSize if row.network else Layer)(row).eval()
    graph = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(module, module.x, graph, opset_version=13, input_names=["x"])
    _graph, _peak = graph.getvalue(), None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(_graph, options, providers=["CPUExecutionProvider"])
    x = numpy.ascontiguousarray(module.x.numpy())
    return {"forward": {"nchw": lambda: session.run(None, {"x": x})}}
