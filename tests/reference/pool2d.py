"""Reference numbers for autograd/pool2d.h."""

from torch.nn import functional as F

from reference import case, given, to_nchw, to_nhwc, write_cases

INFINITY = float("inf")


def max_row(name, x, window, stride, padding=0, ceil_mode=False):
    """A tuple is padding on four sides, beyond PyTorch's own option."""
    sides = list(padding) if isinstance(padding, tuple) else [padding] * 4

    def function(x):
        x, own = to_nchw(x), padding
        if isinstance(padding, tuple):
            top, bottom, left, right = padding
            x, own = F.pad(x, (left, right, top, bottom), value=-INFINITY), 0
        return to_nhwc(F.max_pool2d(x, window, stride, own, ceil_mode=ceil_mode))

    return case(
        "max_pool2d",
        name,
        {"x": given(x, 1)},
        function,
        window=list(window),
        stride=list(stride),
        padding=sides,
        ceil_mode=ceil_mode,
    )


def avg_row(name, x, window, stride, padding=(0, 0), ceil_mode=False, count_include_pad=True):
    return case(
        "avg_pool2d",
        name,
        {"x": given(x, 1)},
        lambda x: to_nhwc(F.avg_pool2d(to_nchw(x), window, stride, padding, ceil_mode, count_include_pad)),
        window=list(window),
        stride=list(stride),
        padding=[padding[0], padding[0], padding[1], padding[1]],
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )


write_cases(
    __file__,
    [
        max_row("2x2", [2, 5, 6, 3], (2, 2), (2, 2)),
        max_row("3x3 stride 2, padding 1", [1, 6, 7, 17], (3, 3), (2, 2), 1),
        max_row("ceil mode", [1, 6, 7, 3], (3, 3), (2, 2), 0, True),
        max_row("ceil mode, padding 1", [1, 6, 7, 3], (3, 3), (2, 2), 1, True),
        max_row("ceil mode, last window left out", [1, 4, 5, 3], (2, 2), (3, 3), 1, True),
        max_row("ceil mode, window above the map by less than a stride", [1, 4, 4, 2], (5, 6), (3, 3), 0, True),
        max_row("window 2x3, stride 3x1", [1, 7, 5, 3], (2, 3), (3, 1)),
        max_row("padding after only", [1, 6, 6, 3], (3, 3), (2, 2), (0, 1, 0, 1)),
        max_row("window larger than the map", [1, 3, 4, 3], (7, 7), (1, 1), 3),
        *[
            avg_row(
                "%s, ceil %d, count %d" % (name, ceil, count), [1, h, w, 3], window, stride, padding, bool(ceil), bool(count)
            )
            for name, h, w, window, stride, padding in [
                ("2x2", 5, 6, (2, 2), (2, 2), (0, 0)),
                ("3x3 stride 2, padding 1", 6, 7, (3, 3), (2, 2), (1, 1)),
                ("4x2 stride 3x2, padding 2x1", 7, 6, (4, 2), (3, 2), (2, 1)),
                ("window larger than the map", 3, 4, (7, 6), (2, 3), (3, 3)),
            ]
            for ceil in (0, 1)
            for count in (0, 1)
        ],
        case(
            "global_avg_pool2d",
            "5x7",
            {"x": given([2, 5, 7, 3], 1)},
            lambda x: to_nhwc(F.adaptive_avg_pool2d(to_nchw(x), 1)),
        ),
    ],
)
