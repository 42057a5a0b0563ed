"""Softmax, log softmax, and softmax cross entropy with every option.

PyTorch has no hard-pixel mining; its cases take the k largest of PyTorch's weighted pixel losses and divide their sum by
the sum of their weights."""

import math

import torch
from torch.nn.functional import cross_entropy, log_softmax, softmax

from reference import case, given, stored, labels as some_labels, to_nchw, write_cases


def loss(name, shape, ignore_label=255, ignored=(), class_weights=None, hard_fraction=1.0, scale=3.0):
    n, h, w, classes = shape
    entry = some_labels([n, h, w], 2, classes)
    inputs = {"logits": given(shape, 1, scale), "labels": entry}
    if ignored:  # written out, some replaced by the ignored label
        from reference import tensor_of
        values = tensor_of(entry).flatten()
        values[list(ignored)] = ignore_label
        inputs["labels"] = stored(values.reshape(n, h, w))
    weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float64)
    skip = -100 if ignore_label is None else ignore_label

    def function(logits, labels):
        x = to_nchw(logits)
        if hard_fraction == 1.0:
            return cross_entropy(x, labels, weight=weight, ignore_index=skip).reshape([])
        losses = cross_entropy(x, labels, weight=weight, ignore_index=skip, reduction="none").flatten()
        valid = (labels != skip).flatten()
        k = math.ceil(hard_fraction * int(valid.sum()))
        chosen = torch.topk(torch.where(valid, losses, torch.full_like(losses, -1.0)), k).indices
        weights = torch.ones_like(losses[chosen]) if weight is None else weight[labels.flatten()[chosen]]
        return (losses[chosen].sum() / weights.sum()).reshape([])

    options = {"hard_fraction": hard_fraction}
    if ignore_label is not None:
        options["ignore_label"] = ignore_label
    if class_weights is not None:
        options["class_weights"] = class_weights
    return case("softmax_cross_entropy", name, inputs, function, **options)


write_cases(__file__, [
    case("softmax", "21 classes", {"x": given([2, 2, 3, 21], 1, 3.0)}, lambda x: softmax(x, -1)),
    case("softmax", "large logits", {"x": given([3, 4, 5], 1, 1e4)}, lambda x: softmax(x, -1)),
    case("log_softmax", "11 classes", {"x": given([2, 2, 3, 11], 1, 3.0)}, lambda x: log_softmax(x, -1)),
    case("log_softmax", "large logits", {"x": given([3, 4, 5], 1, 1e4)}, lambda x: log_softmax(x, -1)),
    loss("21 classes", [2, 3, 4, 21]),
    loss("6 classes", [2, 3, 4, 6]),
    loss("large logits", [1, 3, 4, 5], scale=1e4),
    loss("some pixels ignored", [2, 3, 4, 11], ignored=(0, 5, 6, 23)),
    loss("another label ignored", [2, 3, 4, 7], ignore_label=-1, ignored=(1, 2, 20)),
    loss("a class ignored", [2, 3, 4, 5], ignore_label=0),
    loss("no label ignored", [1, 3, 4, 5], ignore_label=None),
    loss("class weights", [2, 3, 4, 4], class_weights=[0.5, 2.0, 0.0, 1.25], ignored=(3, 4)),
    loss("the hardest half", [2, 3, 4, 11], hard_fraction=0.5, ignored=(0, 7, 9)),
    loss("class weights and the hardest quarter", [2, 3, 4, 4], hard_fraction=0.25, class_weights=[0.5, 2.0, 0.75, 1.25]),
])
