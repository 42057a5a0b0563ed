"""Reference numbers for autograd/conv2d.h: every option, forward and all gradients."""

from torch.nn import functional as F

from reference import case, given, to_nchw, to_nhwc, write_cases


def pair(v):
    return list(v) if isinstance(v, (list, tuple)) else [v, v]


def row(name, x, weight, bias=False, stride=1, padding=0, rate=1):
    """padding: one number, or top, bottom, left, right."""
    stride, rate = pair(stride), pair(rate)
    padding = list(padding) if isinstance(padding, tuple) else [padding] * 4

    def function(x, weight, bias=None):
        top, bottom, left, right = padding
        padded = F.pad(to_nchw(x), (left, right, top, bottom))
        return to_nhwc(F.conv2d(padded, weight.permute(3, 2, 0, 1), bias, stride=stride, dilation=rate))

    inputs = {"x": given(x, 1), "weight": given(weight, 2)}
    if bias:
        inputs["bias"] = given([weight[3]], 3)
    return case("conv2d", name, inputs, function, stride=stride, padding=padding, rate=rate)


write_cases(
    __file__,
    [
        row("1x1", [2, 3, 4, 3], [1, 1, 3, 4]),
        row("1x1 with bias, stride 2", [2, 5, 4, 3], [1, 1, 3, 2], bias=True, stride=2),
        row("3x3 same with bias", [2, 4, 5, 3], [3, 3, 3, 2], bias=True, padding=1),
        row("3x3, more channels than a vector", [1, 3, 3, 18], [3, 3, 18, 17], bias=True, padding=1),
        row("3x3, stride 2", [1, 7, 6, 3], [3, 3, 3, 2], stride=2, padding=1),
        row("3x3, stride 2, many channels", [1, 5, 4, 17], [3, 3, 17, 3], stride=2, padding=1),
        row("3x3, rate 2", [1, 6, 5, 2], [3, 3, 2, 3], bias=True, padding=2, rate=2),
        row("rate larger than the map", [1, 4, 3, 2], [3, 3, 2, 3], bias=True, padding=6, rate=6),
        row("four paddings", [1, 4, 5, 2], [3, 3, 2, 3], bias=True, padding=(1, 2, 0, 3)),
        row("stride 2 by 3", [1, 7, 8, 2], [3, 3, 2, 2], stride=(2, 3), padding=1),
        row("rate 1 by 3", [1, 5, 8, 2], [3, 3, 2, 2], padding=(1, 1, 3, 3), rate=(1, 3)),
        row("stride and rate by axis", [1, 8, 7, 2], [3, 2, 2, 3], bias=True, stride=(2, 1), padding=(2, 1, 0, 3),
            rate=(2, 3)),
        row("window 4x4, stride 2", [1, 6, 5, 2], [4, 4, 2, 2], stride=2, padding=1),
        row("window 2x2, stride 3", [1, 8, 7, 2], [2, 2, 2, 3], stride=3),
        row("window 7x7, stride 2, three channels", [1, 9, 8, 3], [7, 7, 3, 2], stride=2, padding=3),
        row("window larger than the map", [1, 2, 3, 2], [5, 5, 2, 2], bias=True, padding=2),
    ],
)
