"""Reference numbers for autograd/conv_transpose2d.h."""

from torch.nn import functional as F

from reference import case, given, to_nchw, to_nhwc, write_cases


def row(name, x, weight, bias=False, stride=(1, 1), padding=(0, 0, 0, 0), output_padding=(0, 0), rate=(1, 1)):
    top, bottom, left, right = padding

    def function(x, weight, bias=None):
        """PyTorch pads two sides alike, so what padding takes away is cut off here."""
        y = F.conv_transpose2d(
            to_nchw(x), weight.permute(3, 2, 0, 1), bias, stride=stride, output_padding=output_padding, dilation=rate
        )
        return to_nhwc(y[:, :, top : y.shape[2] - bottom, left : y.shape[3] - right])

    inputs = {"x": given(x, 1), "weight": given(weight, 2)}
    if bias:
        inputs["bias"] = given([weight[2]], 3)
    return case(
        "conv_transpose2d",
        name,
        inputs,
        function,
        stride=list(stride),
        padding=list(padding),
        output_padding=list(output_padding),
        rate=list(rate),
    )


write_cases(
    __file__,
    [
        row("plain", [2, 3, 4, 3], [3, 3, 2, 3]),
        row("bias", [2, 3, 4, 3], [3, 2, 2, 3], bias=True),
        row("4x4 stride 2, padding 1", [1, 3, 4, 3], [4, 4, 2, 3], bias=True, stride=(2, 2), padding=(1, 1, 1, 1)),
        row("four paddings", [1, 4, 4, 3], [3, 4, 2, 3], stride=(2, 2), padding=(0, 2, 1, 3)),
        row("output padding", [1, 3, 3, 2], [3, 3, 2, 2], bias=True, stride=(2, 3), output_padding=(1, 2)),
        row("rate 2x3", [1, 3, 3, 2], [3, 2, 2, 2], rate=(2, 3), padding=(2, 2, 1, 1)),
        row("output padding above the stride", [1, 3, 3, 2], [2, 2, 2, 2], rate=(3, 3), output_padding=(2, 1)),
        row("rate larger than the map", [1, 3, 2, 2], [3, 3, 2, 2], padding=(7, 7, 7, 7), rate=(7, 7)),
        row("gaps between windows", [1, 3, 3, 2], [1, 1, 2, 2], bias=True, stride=(2, 2)),
    ],
)
