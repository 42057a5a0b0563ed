"""Reference numbers for autograd/layout.h."""

import torch
from torch.nn import functional as F

from reference import case, given, to_nchw, to_nhwc, write_cases

X = {"x": given([2, 4, 5, 3], 1)}


def pad_case(name, sides, value):
    top, bottom, left, right = sides
    return case(
        "pad",
        name,
        X,
        lambda x: to_nhwc(F.pad(to_nchw(x), (left, right, top, bottom), value=value)),
        padding=sides,
        value=value,
    )


write_cases(
    __file__,
    [
        case(
            "concat_channels",
            "three parts",
            {"0": given([2, 3, 2, 4], 1), "1": given([2, 3, 2, 1], 2), "2": given([2, 3, 2, 3], 3)},
            lambda **parts: torch.cat(list(parts.values()), dim=-1),
            parts=3,
        ),
        case("slice_channels", "middle", {"x": given([2, 3, 2, 7], 1)}, lambda x: x[..., 2:5], begin=2, count=3),
        pad_case("four sides", [1, 0, 2, 3], 0.0),
        pad_case("a constant", [2, 1, 0, 1], -0.5),
        pad_case("crop", [-1, -1, -2, 0], 0.0),
        pad_case("crop and pad", [-1, 2, 1, -2], 1.5),
    ],
)
