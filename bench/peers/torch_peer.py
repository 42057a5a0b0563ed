"""PyTorch's layers and networks, in both of its layouts (nchw, and nhwc: channels_last)."""
import os

import torch
import torch.nn.functional as F

import networks

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
torch.manual_seed(1)
LAYOUTS = {"nhwc": torch.channels_last, "nchw": torch.contiguous_format}


def version():
    return "PyTorch " + torch.__version__


def random(shape, layout):
    x = torch.rand(shape) * 2 - 1
    return x.contiguous(memory_format=layout) if len(shape) == 4 else x


def layer(row, layout):
    """Function and its inputs; the first is the image."""
    b, h, w, c, k, f = row.batch, row.h, row.w, row.channels, row.filters, row.taps
    p, s, r = row.padding, row.stride, row.rate
    x = random((b, c, h, w), layout)
    if row.family == "conv":
        return lambda x, v: F.conv2d(x, v, None, s, p, r), [x, random((k, c, f, f), layout)]
    if row.family == "dw":
        return lambda x, v: F.conv2d(x, v, None, s, p, r, c), [x, random((c, 1, f, f), layout)]
    if row.family == "sep":
        return (lambda x, v, u: F.conv2d(F.conv2d(x, v, None, s, p, r, c), u),
                [x, random((c, 1, f, f), layout), random((k, c, 1, 1), layout)])
    if row.family == "aspp":
        def branches(x, v, *others):
            return torch.cat([F.conv2d(x, v)] + [F.conv2d(x, u, None, 1, r * i, r * i) for i, u in enumerate(others, 1)], 1)
        return branches, [x, random((k, c, 1, 1), layout)] + [random((k, c, f, f), layout) for _ in range(3)]
    if row.family == "deconv":
        return lambda x, v: F.conv_transpose2d(x, v, None, s, p), [x, random((c, k, f, f), layout)]

    def up(x):
        return F.interpolate(x, (row.out, row.out), mode="bilinear", align_corners=True)

    if row.family == "bilinear":
        return up, [x]
    if row.family == "maxpool":
        return lambda x: F.max_pool2d(x, f, s, p), [x]
    if row.family == "avgpool":
        return lambda x: F.avg_pool2d(x, f, s, p), [x]
    if row.family == "gap":
        return lambda x: F.adaptive_avg_pool2d(x, 1), [x]
    if row.family == "scale":
        return lambda x, factors: x * factors, [x, random((b, c, 1, 1), layout)]
    if row.family == "hswish":
        return F.hardswish, [x]
    if row.family in ("bn", "bnadd"):
        mean, var = torch.zeros(c), torch.ones(c)

        def norm(x, gamma, beta, *residual):
            y = F.batch_norm(x, mean, var, gamma, beta, True, 0.1, 1e-5)
            return y + residual[0] if residual else y
        return norm, [x, random((c,), layout), random((c,), layout)] + ([random((b, c, h, w), layout)] if row.family == "bnadd" else [])
    side = row.out or h
    labels = torch.randint(0, c, (b, side, side))
    labels[torch.rand(labels.shape) < 0.02] = 255
    if row.family == "upargmax":
        return lambda x: up(x).argmax(1), [x]
    resize = up if row.family == "upxent" else lambda x: x
    return lambda x: F.cross_entropy(resize(x), labels, ignore_index=255), [x]


def directions(row, layout):
    function, inputs = layer(row, layout)

    def forward():
        with torch.no_grad():
            function(*inputs)

    calls = {"forward": forward}
    if row.family == "upargmax":
        return calls

    def gradient(wanted):
        """Of the inputs whose numbers `wanted` has, from a record that is kept."""
        held = []

        def run():
            if not held:
                leaves = [x.clone(memory_format=torch.preserve_format).requires_grad_(i in wanted) for i, x in enumerate(inputs)]
                y = function(*leaves)
                held.extend([y, [leaves[i] for i in sorted(wanted)], torch.ones_like(y)])
            torch.autograd.grad(held[0], held[1], held[2], retain_graph=True)
        return run

    def both():
        leaves = [x.detach().requires_grad_() for x in inputs]
        y = function(*leaves)
        torch.autograd.grad(y, leaves, torch.ones_like(y))

    everything = set(range(len(inputs)))
    calls.update(backward_input=gradient({0}), backward=gradient(everything), forward_backward=both)
    if len(inputs) > 1:
        calls["backward_weight"] = gradient(everything - {0})
    return calls


def network(row, layout):
    model = networks.make(row.network, row.filters).to(memory_format=layout)
    x = random((row.batch, 3, row.h, row.w), layout)

    def full_size():
        return F.interpolate(model(x), (row.h, row.w), mode="bilinear", align_corners=True)

    if row.family == "model":
        model.eval()

        def forward():
            with torch.no_grad():
                full_size()
        return {"forward": forward}
    labels = torch.randint(0, row.filters, (row.batch, row.h, row.w))
    optimizer = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9, weight_decay=4e-5)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(full_size(), labels, ignore_index=255).backward()
        optimizer.step()
    return {"step": step}


def prepare(row):
    calls = {}
    for way, layout in LAYOUTS.items():
        for direction, call in (network if row.network else directions)(row, layout).items():
            calls.setdefault(direction, {})[way] = call
    return calls
