"""Reference numbers for autograd/reduce.h."""

from reference import case, given, write_cases

write_cases(
    __file__,
    [
        case("sum", "random", {"x": given([2, 3, 5, 4], 1)}, lambda x: x.sum()),
        case("mean", "random", {"x": given([2, 3, 5, 4], 1, 1, 0.5)}, lambda x: x.mean()),
    ],
)
