"""Reference numbers for autograd/depthwise_conv2d.h and autograd/separable_conv2d.h."""

from torch.nn import functional as F

from reference import case, given, to_nchw, to_nhwc, write_cases


def pair(v):
    return list(v) if isinstance(v, (list, tuple)) else [v, v]


def depthwise(x, weight, bias, stride, padding, rate):
    """padding: top, bottom, left, right; weight [R, S, C, M]."""
    top, bottom, left, right = padding
    r, s, c, m = weight.shape
    w = weight.permute(2, 3, 0, 1).reshape(c * m, 1, r, s)
    padded = F.pad(to_nchw(x), (left, right, top, bottom))
    return to_nhwc(F.conv2d(padded, w, bias, stride=stride, dilation=rate, groups=c))


def row(name, x, weight, bias=False, stride=1, padding=0, rate=1):
    stride, rate = pair(stride), pair(rate)
    padding = list(padding) if isinstance(padding, tuple) else [padding] * 4
    inputs = {"x": given(x, 1), "weight": given(weight, 2)}
    if bias:
        inputs["bias"] = given([weight[2] * weight[3]], 3)
    return case(
        "depthwise_conv2d",
        name,
        inputs,
        lambda x, weight, bias=None: depthwise(x, weight, bias, stride, padding, rate),
        stride=stride,
        padding=padding,
        rate=rate,
    )


def separable(x, depthwise_weight, pointwise_weight, bias=None):
    y = depthwise(x, depthwise_weight, None, [2, 1], [2, 1, 2, 2], [1, 2])
    return to_nhwc(F.conv2d(to_nchw(y), pointwise_weight.permute(3, 2, 0, 1), bias))


write_cases(
    __file__,
    [
        row("plain", [2, 5, 4, 3], [3, 3, 3, 1], padding=1),
        row("bias, 17 channels", [1, 4, 4, 17], [3, 3, 17, 1], bias=True, padding=1),
        row("multiplier 3", [2, 4, 4, 2], [3, 3, 2, 3], bias=True, padding=1),
        row("stride 2", [1, 7, 6, 5], [3, 3, 5, 1], stride=2, padding=1),
        row("stride 2, padding after only", [1, 6, 6, 5], [3, 3, 5, 1], stride=2, padding=(0, 1, 0, 1)),
        row("stride 3x1, rate 1x2", [1, 7, 7, 3], [2, 3, 3, 2], stride=(3, 1), padding=1, rate=(1, 2)),
        row("rate 2", [1, 7, 6, 4], [3, 3, 4, 1], padding=2, rate=2),
        row("rate larger than the map", [1, 4, 5, 4], [3, 3, 4, 1], bias=True, padding=9, rate=9),
        row("stride 2, rate 2", [1, 7, 7, 4], [3, 3, 4, 1], stride=2, padding=2, rate=2),
        row("four paddings", [1, 4, 5, 3], [3, 3, 3, 1], padding=(1, 0, 2, 3)),
        row("window larger than the map", [1, 3, 2, 3], [5, 4, 3, 2], bias=True, padding=2),
        row("even window", [1, 5, 6, 3], [2, 4, 3, 1], padding=(1, 0, 1, 2)),
        case(
            "separable_conv2d",
            "stride 2x1, rate 1x2",
            {
                "x": given([2, 5, 4, 3], 1),
                "depthwise_weight": given([3, 3, 3, 2], 2),
                "pointwise_weight": given([1, 1, 6, 4], 3),
                "bias": given([4], 4),
            },
            separable,
            stride=[2, 1],
            padding=[2, 1, 2, 2],
            rate=[1, 2],
        ),
        case(
            "separable_conv2d",
            "no bias",
            {
                "x": given([1, 5, 4, 3], 1),
                "depthwise_weight": given([3, 3, 3, 1], 2),
                "pointwise_weight": given([1, 1, 3, 4], 3),
            },
            separable,
            stride=[2, 1],
            padding=[2, 1, 2, 2],
            rate=[1, 2],
        ),
    ],
)
