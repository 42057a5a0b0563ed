"""Batch norm: training and frozen, and the running averages that training leaves."""

import torch
from torch.nn.functional import batch_norm

from reference import case, given, to_nchw, to_nhwc, write_cases


def norm(name, shape, training, epsilon=1e-5, decay=0.9, scale=1.0, offset=0.0):
    channels = shape[3]

    def function(x, gamma, beta, running_mean, running_var):
        mean, var = running_mean.clone(), running_var.clone()
        y = to_nhwc(batch_norm(to_nchw(x), mean, var, gamma, beta, training, 1 - decay, epsilon))
        return y, {"running_mean": mean, "running_var": var}

    inputs = {
        "x": given(shape, 1, scale, offset),
        "gamma": given([channels], 2, 0.5, 1.0),
        "beta": given([channels], 3),
        "running_mean": given([channels], 4, grad=False),
        "running_var": given([channels], 5, 0.5, 1.0, grad=False),
    }
    return case("batch_norm", name, inputs, function, training=training, epsilon=epsilon, decay=decay)


write_cases(__file__, [
    norm("training", [2, 5, 4, 3], True),
    norm("training, many channels", [2, 2, 3, 21], True),
    norm("training, another epsilon and decay", [1, 3, 4, 5], True, epsilon=1e-3, decay=0.997),
    norm("training, decay 0", [2, 3, 2, 4], True, decay=0.0),
    norm("training, mean 100", [2, 5, 4, 3], True, scale=1.0, offset=100.0),
    norm("training, two pixels", [2, 1, 1, 4], True, epsilon=0.1),
    norm("frozen", [2, 5, 4, 3], False),
    norm("frozen, another epsilon", [1, 4, 3, 18], False, epsilon=1e-3),
])
