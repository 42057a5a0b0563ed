"""Reference numbers for autograd/elementwise.h."""

from torch.nn import functional as F

from reference import case, given, write_cases

write_cases(
    __file__,
    [
        case("relu", "random", {"x": given([2, 3, 5, 4], 1)}, lambda x: F.relu(x)),
        case(
            "add",
            "random",
            {"a": given([2, 3, 5, 4], 1), "b": given([2, 3, 5, 4], 2)},
            lambda a, b: a + b,
        ),
    ],
)
