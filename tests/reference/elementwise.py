"""Reference numbers for autograd/elementwise.h. Dropout is left out: its random numbers are our own."""

import torch
from torch.nn import functional as F

from reference import case, given, write_cases

SHAPE = [2, 3, 5, 4]
TWO = {"a": given(SHAPE, 1), "b": given(SHAPE, 2)}

write_cases(
    __file__,
    [
        case("relu", "random", {"x": given(SHAPE, 1)}, lambda x: F.relu(x)),
        case("relu6", "random, on both sides of 0 and 6", {"x": given(SHAPE, 3, 6, 3)}, lambda x: F.relu6(x)),
        case("hard_swish", "random, on both sides of -3 and 3", {"x": given(SHAPE, 3, 6)}, lambda x: F.hardswish(x)),
        case("hard_sigmoid", "random, on both sides of -3 and 3", {"x": given(SHAPE, 4, 6)}, lambda x: F.relu6(x + 3) / 6),
        case("sigmoid", "random", {"x": given(SHAPE, 5, 6)}, lambda x: torch.sigmoid(x)),
        case("maximum", "random", TWO, lambda a, b: torch.maximum(a, b)),
        case(
            "scale_channels",
            "random",
            {"x": given(SHAPE, 1), "factors": given([2, 1, 1, 4], 6)},
            lambda x, factors: x * factors,
        ),
        case("add", "random", TWO, lambda a, b: a + b),
        case("mul", "random", TWO, lambda a, b: a * b),
        case("scale", "by 0.3", {"x": given(SHAPE, 1)}, lambda x: x * 0.3, factor=0.3),
    ],
)
