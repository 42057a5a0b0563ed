"""Bilinear resize: corners aligned and half-pixel centres, up and down."""

from torch.nn.functional import interpolate

from reference import case, given, to_nchw, to_nhwc, write_cases


def resize(name, shape, out_h, out_w, align_corners):
    def function(x):
        return to_nhwc(interpolate(to_nchw(x), (out_h, out_w), mode="bilinear", align_corners=align_corners))

    return case("resize_bilinear", name, {"x": given(shape, 1)}, function,
                out_h=out_h, out_w=out_w, align_corners=align_corners)


cases = []
for aligned in (True, False):
    rule = "corners aligned" if aligned else "half-pixel centres"
    cases += [
        resize(rule + ", 4 times larger", [2, 3, 4, 2], 12, 16, aligned),
        resize(rule + ", sizes without a common factor", [1, 4, 3, 6], 11, 7, aligned),
        resize(rule + ", smaller", [2, 11, 9, 3], 5, 4, aligned),
        resize(rule + ", rows shrink, columns grow", [1, 5, 3, 18], 3, 4, aligned),
        resize(rule + ", to a single pixel", [2, 5, 4, 3], 1, 1, aligned),
        resize(rule + ", from a single pixel", [2, 1, 1, 5], 3, 4, aligned),
        resize(rule + ", one row to many", [1, 1, 6, 2], 5, 6, aligned),
        resize(rule + ", the same size", [1, 4, 5, 2], 4, 5, aligned),
    ]

write_cases(__file__, cases)
