"""Reference numbers for autograd/elementwise.h. Dropout is left out: its random numbers are our own."""

from torch.nn import functional as F

from reference import case, given, write_cases

SHAPE = [2, 3, 5, 4]
TWO = {"a": given(SHAPE, 1), "b": given(SHAPE, 2)}

write_cases(
    __file__,
    [
        case("relu", "random", {"x": given(SHAPE, 1)}, lambda x: F.relu(x)),
        case("relu6", "random, on both sides of 0 and 6", {"x": given(SHAPE, 3, 6, 3)}, lambda x: F.relu6(x)),
        case("add", "random", TWO, lambda a, b: a + b),
        case("mul", "random", TWO, lambda a, b: a * b),
        case("scale", "by 0.3", {"x": given(SHAPE, 1)}, lambda x: x * 0.3, factor=0.3),
    ],
)
