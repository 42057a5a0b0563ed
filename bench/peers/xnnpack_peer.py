"""XNNPACK by its C interface, as Debian packages it (2022-02): forward passes in nhwc, weights packed beforehand."""
import ctypes
import math
import os

import library

POOL_LIBRARY = library.load("libpthreadpool.so.0", "libpthreadpool.so")
XNN = library.load("libXNNPACK.so.0", "libXNNPACK.so")
POINTER, SIZE, U32, REAL = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_float
DEPTHWISE, ALIGN_CORNERS = 1, 8
POOL_LIBRARY.pthreadpool_create.restype = POINTER


def check(status):
    if status != 0:
        raise RuntimeError(f"XNNPACK status {status}")


check(XNN.xnn_initialize(None))
POOL = POINTER(POOL_LIBRARY.pthreadpool_create(SIZE(int(os.environ["OMP_NUM_THREADS"]))))


def version():
    return "XNNPACK of " + os.path.basename(os.path.realpath("/usr/lib/x86_64-linux-gnu/libXNNPACK.so.0"))


class Operator:
    def __init__(self, create, setup):
        self.held, self.handle = [], POINTER()
        check(create(ctypes.byref(self.handle)))
        check(setup(self.handle))

    def __call__(self):
        check(XNN.xnn_run_operator(self.handle, POOL))

    def __del__(self):
        XNN.xnn_delete_operator(self.handle)


def convolution(batch, h, w, channels, filters, taps, stride, rate, depthwise=False):
    pad = rate * (taps - 1) // 2
    out = [(side + 2 * pad - rate * (taps - 1) - 1) // stride + 1 for side in (h, w)]
    weight = library.block(4 * taps * taps * filters * (1 if depthwise else channels))
    x, y = library.block(4 * batch * h * w * channels), library.block(4 * batch * out[0] * out[1] * filters)
    groups, per_group, out_per_group = (channels, 1, 1) if depthwise else (1, channels, filters)
    op = Operator(
        lambda handle: XNN.xnn_create_convolution2d_nhwc_f32(
            *[U32(pad)] * 4, U32(taps), U32(taps), U32(stride), U32(stride), U32(rate), U32(rate), U32(groups), SIZE(per_group),
            SIZE(out_per_group), SIZE(channels), SIZE(filters), weight, None, REAL(-math.inf), REAL(math.inf),
            U32(DEPTHWISE if depthwise else 0), handle),
        lambda handle: XNN.xnn_setup_convolution2d_nhwc_f32(handle, SIZE(batch), SIZE(h), SIZE(w), x, y, POOL))
    op.held = [weight, x, y]
    return op


def deconvolution(row):
    weight = library.block(4 * row.taps * row.taps * row.filters * row.channels)
    x = library.block(4 * row.batch * row.h * row.w * row.channels)
    y = library.block(4 * row.batch * row.out_side(row.h) * row.out_side(row.w) * row.filters)
    op = Operator(
        lambda handle: XNN.xnn_create_deconvolution2d_nhwc_f32(
            *[U32(row.padding)] * 4, U32(row.taps), U32(row.taps), U32(row.stride), U32(row.stride), U32(1), U32(1), U32(1),
            SIZE(row.channels), SIZE(row.filters), SIZE(row.channels), SIZE(row.filters), weight, None, REAL(-math.inf), REAL(math.inf),
            U32(0), handle),
        lambda handle: XNN.xnn_setup_deconvolution2d_nhwc_f32(handle, SIZE(row.batch), SIZE(row.h), SIZE(row.w), U32(0), U32(0), x, y, POOL))
    op.held = [weight, x, y]
    return op


def bilinear(row):
    x, y = library.block(4 * row.batch * row.h * row.w * row.channels), library.block(4 * row.batch * row.out**2 * row.channels)
    c = row.channels
    op = Operator(
        lambda handle: XNN.xnn_create_resize_bilinear2d_nhwc_f32(SIZE(c), SIZE(c), SIZE(c), U32(ALIGN_CORNERS), handle),
        lambda handle: XNN.xnn_setup_resize_bilinear2d_nhwc_f32(handle, SIZE(row.batch), SIZE(row.h), SIZE(row.w), SIZE(row.out),
                                                               SIZE(row.out), x, y, POOL))
    op.held = [x, y]
    return op


def prepare(row):
    b, h, w, c, k, f, s, r = row.batch, row.h, row.w, row.channels, row.filters, row.taps, row.stride, row.rate
    if row.family == "conv":
        operators = [convolution(b, h, w, c, k, f, s, r)]
    elif row.family == "dw":
        operators = [convolution(b, h, w, c, c, f, s, r, True)]
    elif row.family == "sep":
        operators = [convolution(b, h, w, c, c, f, s, r, True), convolution(b, row.out_side(h), row.out_side(w), c, k, 1, 1, 1)]
    elif row.family == "aspp":
        operators = [convolution(b, h, w, c, k, 1, 1, 1)] + [convolution(b, h, w, c, k, f, 1, i * r) for i in (1, 2, 3)]
    elif row.family == "deconv":
        operators = [deconvolution(row)]
    elif row.family == "bilinear":
        operators = [bilinear(row)]
    else:
        return {}
    return {"forward": {"nhwc": lambda: [op() for op in operators]}}
