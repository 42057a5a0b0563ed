"""oneDNN 2.x by its C interface: convolutions and their gradients, weights packed beforehand as it likes them.

Ways: nhwc (images as atrous has them), any (images as oneDNN likes them) and winograd, where it has one.
"""
import ctypes

import library

DNN = library.load("libdnnl.so.2")
POINTER = ctypes.c_void_p
F32, ANY, NHWC, NCHW, ABCDE = 3, 1, 20, 5, 7  # dnnl_f32, format tags any, acdb, abcd, abcde
FORWARD = 96                                   # dnnl_forward_inference
DIRECT, WINOGRAD, DECONVOLUTION = 1, 2, 10
SRC_MD, DIFF_SRC_MD, WEIGHTS_MD, DIFF_WEIGHTS_MD, DST_MD, DIFF_DST_MD = range(129, 135)
SRC, DST, WEIGHTS, DIFF_SRC, DIFF_DST, DIFF_WEIGHTS = 1, 17, 33, 129, 145, 161
DESCRIPTOR = ctypes.c_char * 65536             # larger than any structure of 2.x


class Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]


class Argument(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_int), ("memory", POINTER)]


class Unknown(Exception):
    """oneDNN has no such primitive."""


DNN.dnnl_version.restype = ctypes.POINTER(Version)
DNN.dnnl_primitive_desc_query_md.restype = POINTER
DNN.dnnl_memory_desc_get_size.restype = ctypes.c_size_t


def version():
    v = DNN.dnnl_version().contents
    return f"oneDNN {v.major}.{v.minor}.{v.patch}"


def check(status):
    if status != 0:
        raise Unknown(f"oneDNN status {status}")


if DNN.dnnl_version().contents.major != 2:
    raise OSError("oneDNN is not of the 2.x series")
ENGINE, STREAM = POINTER(), POINTER()
check(DNN.dnnl_engine_create(ctypes.byref(ENGINE), 1, ctypes.c_size_t(0)))
check(DNN.dnnl_stream_create(ctypes.byref(STREAM), ENGINE, 1))


def dims(*values):
    return library.integers(ctypes.c_int64, *values, *[0] * (12 - len(values)))


def description(shape, tag):
    md = DESCRIPTOR()
    check(DNN.dnnl_memory_desc_init_by_tag(md, len(shape), dims(*shape), F32, tag))
    return md


class Primitive:
    """A primitive with memory of its own for every argument; called, it runs and waits."""

    def __init__(self, operation, arguments, hint=None):
        self.description = POINTER()
        check(DNN.dnnl_primitive_desc_create(ctypes.byref(self.description), operation, None, ENGINE, hint))
        self.primitive = POINTER()
        check(DNN.dnnl_primitive_create(ctypes.byref(self.primitive), self.description))
        self.blocks, self.memories = [], []
        self.arguments = (Argument * len(arguments))()
        for i, (argument, query) in enumerate(arguments):
            md = POINTER(DNN.dnnl_primitive_desc_query_md(self.description, query, 0))
            self.blocks.append(library.block(DNN.dnnl_memory_desc_get_size(md)))
            memory = POINTER()
            check(DNN.dnnl_memory_create(ctypes.byref(memory), md, ENGINE, self.blocks[-1]))
            self.memories.append(memory)
            self.arguments[i] = Argument(argument, memory)

    def __call__(self):
        check(DNN.dnnl_primitive_execute(self.primitive, STREAM, len(self.arguments), self.arguments))
        check(DNN.dnnl_stream_wait(STREAM))

    def __del__(self):
        for memory in getattr(self, "memories", []):
            DNN.dnnl_memory_destroy(memory)
        if getattr(self, "primitive", None):
            DNN.dnnl_primitive_destroy(self.primitive)
        if getattr(self, "description", None):
            DNN.dnnl_primitive_desc_destroy(self.description)


def convolution(row, rate, taps, channels, filters, groups, tag, algorithm, direction, h=None, w=None, stride=None):
    h, w, stride = h or row.h, w or row.w, stride or row.stride
    pad = rate * (taps - 1) // 2
    out = [(side + 2 * pad - rate * (taps - 1) - 1) // stride + 1 for side in (h, w)]
    src = description((row.batch, channels, h, w), tag)
    shape = (groups, filters // groups, channels // groups, taps, taps) if groups > 1 else (filters, channels, taps, taps)
    weights = description(shape, ANY)
    dst = description((row.batch, filters, *out), tag)
    window = dims(stride, stride), dims(rate - 1, rate - 1), dims(pad, pad), dims(pad, pad)
    operation = DESCRIPTOR()
    check(DNN.dnnl_dilated_convolution_forward_desc_init(operation, FORWARD if direction == "forward" else 64, algorithm, src, weights, None,
                                                         dst, *window))
    forward = Primitive(operation, [(SRC, SRC_MD), (WEIGHTS, WEIGHTS_MD), (DST, DST_MD)] if direction == "forward" else [])
    if direction == "forward":
        return forward
    operation = DESCRIPTOR()
    if direction == "backward_input":
        check(DNN.dnnl_dilated_convolution_backward_data_desc_init(operation, algorithm, src, weights, dst, *window))
        return Primitive(operation, [(DIFF_SRC, DIFF_SRC_MD), (WEIGHTS, WEIGHTS_MD), (DIFF_DST, DIFF_DST_MD)], forward.description)
    check(DNN.dnnl_dilated_convolution_backward_weights_desc_init(operation, algorithm, src, weights, None, dst, *window))
    return Primitive(operation, [(SRC, SRC_MD), (DIFF_WEIGHTS, DIFF_WEIGHTS_MD), (DIFF_DST, DIFF_DST_MD)], forward.description)


def deconvolution(row, tag):
    out = (row.out_side(row.h), row.out_side(row.w))
    operation = DESCRIPTOR()
    check(DNN.dnnl_dilated_deconvolution_forward_desc_init(
        operation, FORWARD, DECONVOLUTION, description((row.batch, row.channels, row.h, row.w), tag),
        description((row.filters, row.channels, row.taps, row.taps), ANY), None, description((row.batch, row.filters, *out), tag),
        dims(row.stride, row.stride), dims(0, 0), dims(row.padding, row.padding), dims(row.padding, row.padding)))
    return Primitive(operation, [(SRC, SRC_MD), (WEIGHTS, WEIGHTS_MD), (DST, DST_MD)])


def parts(row, tag, algorithm, direction):
    c, k = row.channels, row.filters
    if row.family == "conv":
        return [convolution(row, row.rate, row.taps, c, k, 1, tag, algorithm, direction)]
    if row.family == "dw":
        return [convolution(row, row.rate, row.taps, c, c, c, tag, algorithm, direction)]
    if row.family == "sep":
        return [convolution(row, row.rate, row.taps, c, c, c, tag, algorithm, direction),
                convolution(row, 1, 1, c, k, 1, tag, algorithm, direction, row.out_side(row.h), row.out_side(row.w), 1)]
    if row.family == "aspp":
        return [convolution(row, 1, 1, c, k, 1, tag, algorithm, direction)] + [
            convolution(row, i * row.rate, row.taps, c, k, 1, tag, algorithm, direction) for i in (1, 2, 3)]
    return [deconvolution(row, tag)]


def prepare(row):
    """The parts of a row one after the other. Of a separable gradient each half gives its own: x's needs both, the weights' too."""
    if row.family not in ("conv", "dw", "sep", "aspp", "deconv"):
        return {}
    wanted = ["forward"] if row.family in ("deconv", "sep") else ["forward", "backward_input", "backward_weight"]
    calls = {}
    for direction in wanted:
        for way, tag, algorithm in (("nhwc", NHWC, DIRECT), ("any", ANY, DIRECT), ("winograd", ANY, WINOGRAD)):
            if way == "winograd" and row.family != "conv":
                continue
            try:
                primitives = parts(row, tag, algorithm, direction)
            except Unknown:
                continue
            calls.setdefault(direction, {})[way] = lambda primitives=primitives: [p() for p in primitives]
    return calls
