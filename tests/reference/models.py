"""Whole models in evaluation mode, written again for torch from the published tables: logits, and for each parameter the
gradient's product with a fixed vector; and torchvision's own models, their logits and their auxiliary classifier's.
Weights are not stored: each tensor follows from its name (seed_of)."""

import math
import re

import torch
import torch.nn.functional as F
import torchvision.models.segmentation as segmentation

from reference import case, given, make_input, to_nchw, to_nhwc, write_cases

PROBE_SEED = 7


def seed_of(name):
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h & 0xFFFF


class Network:
    def __init__(self, epsilon):
        self.epsilon = epsilon
        self.parameters = {}

    def parameter(self, name, shape, scale, offset=0.0):
        t = make_input(shape, seed_of(name), scale, offset).requires_grad_(True)
        self.parameters[name] = t
        return t

    def conv(self, name, x, out, taps, stride=1, rate=1, depthwise=False, act="relu", bias=False):
        """x is NCHW; the weight is drawn as [R, S, C, K], or [R, S, C, 1] if depthwise."""
        channels = x.shape[1]
        fan = taps * taps * (1 if depthwise else channels)
        shape = [taps, taps, channels, 1 if depthwise else out]
        w = self.parameter(name + ".weight", shape, math.sqrt(6 / fan))
        w = w.permute(2, 3, 0, 1) if depthwise else w.permute(3, 2, 0, 1)
        b = self.parameter(name + ".bias", [out], 0.1) if bias else None
        groups = channels if depthwise else 1
        y = F.conv2d(x, w, b, stride, rate * (taps - 1) // 2, rate, groups)
        if bias:
            return y
        gamma = self.parameter(name + ".bn.gamma", [out], 0.3, 1.0)
        beta = self.parameter(name + ".bn.beta", [out], 0.2)
        mean = make_input([out], seed_of(name + ".bn.running_mean"), 0.1)
        var = make_input([out], seed_of(name + ".bn.running_var"), 0.5, 1.0)
        epsilon = self.epsilon if name.startswith("backbone.") else 1e-5
        y = F.batch_norm(y, mean, var, gamma, beta, False, 0.0, epsilon)
        return {"relu": F.relu, "relu6": F.relu6, "none": lambda t: t}[act](y)


# Channels, stride and rate of the blocks 0..16 by output stride (the rates of TensorFlow's walk).
STRIDES = {
    16: [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    8: [1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
}
RATES = {
    16: [1] * 14 + [2, 2, 2],
    8: [1] * 7 + [2] * 7 + [4, 4, 4],
}
CHANNELS = {
    1.0: (32, [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]),
    0.5: (16, [8, 16, 16, 16, 16, 16, 32, 32, 32, 32, 48, 48, 48, 80, 80, 80, 160]),
}
WITH_SHORTCUT = {2, 4, 5, 7, 8, 9, 11, 12, 14, 15}


def mobilenet_v2(net, x, output_stride, width):
    stem, channels = CHANNELS[width]
    x = net.conv("backbone.stem", x, stem, 3, 2, act="relu6")
    for i, out in enumerate(channels):
        name = "backbone.block%d." % i
        y = x
        if i > 0:
            y = net.conv(name + "expand", y, 6 * x.shape[1], 1, act="relu6")
        stride, rate = STRIDES[output_stride][i], RATES[output_stride][i]
        y = net.conv(name + "depthwise", y, y.shape[1], 3, stride, rate, depthwise=True, act="relu6")
        y = net.conv(name + "project", y, out, 1, act="none")
        x = x + y if i in WITH_SHORTCUT else y
        if i == 2:
            low = x
    return x, low


def resnet(net, x, output_stride, depth):
    assert output_stride in (8, 16)
    x = F.max_pool2d(net.conv("backbone.conv1", x, 64, 7, 2), 3, 2, 1)
    # Stride of the first unit, rate of its convolution with the stride, rate of what follows.
    stages = {16: [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2)], 8: [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]}
    for s, (stride, first, rest) in enumerate(stages[output_stride]):
        for u in range({18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}[depth][s]):
            name = "backbone.layer%d.%d." % (s + 1, u)
            width, out = 64 << s, (64 << s) * (4 if depth == 50 else 1)
            here, rate = (stride, first) if u == 0 else (1, rest)
            if depth == 50:
                y = net.conv(name + "conv1", x, width, 1)
                y = net.conv(name + "conv2", y, width, 3, here, rate)
                y = net.conv(name + "conv3", y, out, 1, act="none")
            else:
                y = net.conv(name + "conv1", x, width, 3, here, rate)
                y = net.conv(name + "conv2", y, out, 3, 1, rest, act="none")
            if u == 0 and (here != 1 or x.shape[1] != out):
                x = net.conv(name + "downsample", x, out, 1, here, act="none")
            x = F.relu(x + y)
        if s == 0:
            low = x
    return x, low


def aspp(net, x, rates):
    parts = [net.conv("head.aspp.conv1x1", x, 256, 1)]
    parts += [net.conv("head.aspp.rate%d" % i, x, 256, 3, 1, r) for i, r in enumerate(rates)]
    pooled = net.conv("head.aspp.image_pool", x.mean((2, 3), keepdim=True), 256, 1)
    parts.append(pooled.expand(-1, -1, x.shape[2], x.shape[3]))
    return net.conv("head.aspp.project", torch.cat(parts, 1), 256, 1)


def model(head, backbone, output_stride, classes, width=1.0, gradients=True):
    def run(x):
        mobile = backbone == "mobilenet_v2"
        net = Network(1e-3 if mobile else 1e-5)
        x = to_nchw(x)
        high, low = (
            mobilenet_v2(net, x, output_stride, width) if mobile else resnet(net, x, output_stride, int(backbone[6:]))
        )
        rates = [] if mobile and head == "deeplab_v3" else {16: [6, 12, 18], 8: [12, 24, 36]}[output_stride]
        y = aspp(net, high, rates)
        if head == "deeplab_v3plus":
            low = net.conv("head.low", low, 48, 1)
            y = F.interpolate(y, low.shape[2:], mode="bilinear", align_corners=True)
            y = net.conv("head.decoder0", torch.cat([y, low], 1), 256, 3)
            y = net.conv("head.decoder1", y, 256, 3)
        y = to_nhwc(net.conv("head.logits", y, classes, 1, bias=True))
        further = {}
        if gradients:
            loss = (y * make_input(y.shape, 99)).sum()
            grads = torch.autograd.grad(loss, list(net.parameters.values()), retain_graph=True)
            for name, g in zip(net.parameters, grads):
                further[name] = torch.stack([(g * make_input(g.shape, PROBE_SEED)).sum(), g.norm()])
        return y, further

    return run


# Our names for torchvision's modules: convolution, then its batch norm where there is one.
TORCHVISION = [
    (r"backbone\.conv1", r"backbone.conv1", r"backbone.bn1"),
    (r"backbone\.(layer\d\.\d+)\.conv(\d)", r"backbone.\1.conv\2", r"backbone.\1.bn\2"),
    (r"backbone\.(layer\d\.\d+)\.downsample\.0", r"backbone.\1.downsample", r"backbone.\1.downsample.1"),
    (r"classifier\.0\.convs\.0\.0", "head.aspp.conv1x1", "classifier.0.convs.0.1"),
    (r"classifier\.0\.convs\.4\.1", "head.aspp.image_pool", "classifier.0.convs.4.2"),
    (r"classifier\.0\.project\.0", "head.aspp.project", "classifier.0.project.1"),
    (r"classifier\.1", "head.refine", "classifier.2"),
    (r"classifier\.4", "head.logits", None),
    (r"aux_classifier\.0", "auxiliary.conv", "aux_classifier.1"),
    (r"aux_classifier\.4", "auxiliary.logits", None),
    (r"classifier\.cbr\.0", "head.project", "classifier.cbr.1"),
    (r"classifier\.scale\.1", "head.gate", None),
    (r"classifier\.low_classifier", "head.logits.low", None),
    (r"classifier\.high_classifier", "head.logits.high", None),
    (r"backbone\.0\.0", "backbone.stem", "backbone.0.1"),
    (r"backbone\.16\.0", "backbone.last", "backbone.16.1"),
]


def torchvision_names(name):
    """Our name and the batch norm's, for the name of a convolution in torchvision's models."""
    for pattern, ours, bn in TORCHVISION:
        found = re.fullmatch(pattern, name)
        if found:
            ours = found.expand(ours)
            return ours, None if bn is None else found.expand(bn)
    found = re.fullmatch(r"classifier\.0\.convs\.([123])\.0", name)
    if found:
        k = int(found[1])
        return "head.aspp.rate%d" % (k - 1), "classifier.0.convs.%d.1" % k
    found = re.fullmatch(r"backbone\.(\d+)\.block\.(\d)\.(0|fc1|fc2)", name)
    block, part, inner = int(found[1]) - 1, int(found[2]), found[3]
    if inner != "0":
        return "backbone.block%d.excite.%s" % (block, inner), None
    parts = ["depthwise", "project"] if block == 0 else ["expand", "depthwise", "project", "project"]
    return "backbone.block%d.%s" % (block, parts[part]), name[:-1] + "1"


def fill(t, name, scale, offset=0.0, permute=None):
    shape = [t.shape[i] for i in permute] if permute else list(t.shape)
    values = make_input(shape, seed_of(name), scale, offset)
    t.copy_(values.permute([permute.index(i) for i in range(4)]) if permute else values)


def torchvision_model(builder, classes):
    def run(x):
        with torch.no_grad():
            options = {} if builder.startswith("lraspp") else {"aux_loss": True}
            net = getattr(segmentation, builder)(weights=None, weights_backbone=None, num_classes=classes, **options)
            net = net.double().eval()
            modules = dict(net.named_modules())
            for name, conv in modules.items():
                if not isinstance(conv, torch.nn.Conv2d):
                    continue
                ours, norm = torchvision_names(name)
                depthwise = conv.groups > 1
                fan = conv.weight[0].numel()
                # [K, C, R, S] as [R, S, C, K], or depthwise [C, 1, R, S] as [R, S, C, 1].
                fill(conv.weight, ours + ".weight", math.sqrt(6 / fan), 0.0, [2, 3, 0, 1] if depthwise else [2, 3, 1, 0])
                if conv.bias is not None:
                    fill(conv.bias, ours + ".bias", 0.1)
                if norm:
                    bn = modules[norm]
                    fill(bn.weight, ours + ".bn.gamma", 0.3, 1.0)
                    fill(bn.bias, ours + ".bn.beta", 0.2)
                    fill(bn.running_mean, ours + ".bn.running_mean", 0.1)
                    fill(bn.running_var, ours + ".bn.running_var", 0.5, 1.0)
            features = net.backbone(to_nchw(x))
            if "aux" in features:
                y = net.classifier(features["out"])
                return to_nhwc(y), {"auxiliary": to_nhwc(net.aux_classifier(features["aux"]))}
            return to_nhwc(net.classifier(features)), {}

    return run


def torchvision_row(name, builder, size, output_stride, classes=3):
    return case(
        "model",
        name + ":torchvision",
        {"x": given(size + [3], 1, grad=False)},
        torchvision_model(builder, classes),
        output_stride=output_stride,
        classes=classes,
        width=1.0,
    )


def row(head, backbone, size, output_stride, classes=3, width=1.0, gradients=True):
    return case(
        "model",
        "%s_%s" % (head, backbone),
        {"x": given(size + [3], 1, grad=False)},
        model(head, backbone, output_stride, classes, width, gradients),
        output_stride=output_stride,
        classes=classes,
        width=width,
    )


if __name__ == "__main__":
    write_cases(
        __file__,
        [
            row("deeplab_v3plus", "mobilenet_v2", [2, 33, 49], 16, width=0.5),
            row("deeplab_v3", "mobilenet_v2", [1, 33, 40], 8),
            row("deeplab_v3plus", "resnet18", [1, 17, 33], 8),
            row("deeplab_v3", "resnet50", [1, 33, 33], 8, gradients=False),
            torchvision_row("deeplab_v3_resnet50", "deeplabv3_resnet50", [1, 40, 57], 8),
            torchvision_row("deeplab_v3_resnet101", "deeplabv3_resnet101", [1, 33, 40], 8),
            torchvision_row("deeplab_v3_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", [1, 64, 97], 16),
            torchvision_row("lraspp_mobilenet_v3_large", "lraspp_mobilenet_v3_large", [1, 64, 97], 16),
        ],
    )
