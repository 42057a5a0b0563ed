"""Whole networks in PyTorch, layer for layer as atrous defines them, to be timed beside its own.

Those of torchvision are torchvision's; the rest is written here. `networks.py` prints the number of parameters of each:
the same as `plan MODEL` says, as a check that both are the same network.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


def conv_bn(cin, cout, k=1, stride=1, rate=1, groups=1, act=nn.ReLU, eps=1e-5):
    layers = [nn.Conv2d(cin, cout, k, stride, rate * (k - 1) // 2, rate, groups, bias=False), nn.BatchNorm2d(cout, eps)]
    return nn.Sequential(*layers, *([act(inplace=True)] if act else []))


class Block(nn.Module):
    def __init__(self, cin, cout, stride, rate, expand):
        super().__init__()
        mid = cin * expand
        layers = [] if expand == 1 else [conv_bn(cin, mid, act=nn.ReLU6, eps=1e-3)]
        layers.append(conv_bn(mid, mid, 3, stride, rate, mid, nn.ReLU6, 1e-3))
        layers.append(conv_bn(mid, cout, act=None, eps=1e-3))
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and cin == cout

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


class MobileNetV2(nn.Module):
    low_channels, high_channels = 24, 320

    def __init__(self, output_stride=16):
        super().__init__()
        self.stem = conv_bn(3, 32, 3, 2, act=nn.ReLU6, eps=1e-3)
        blocks, cin, current, rate = [], 32, 2, 1
        for t, c, n, s in [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
            for i in range(n):
                stride = s if i == 0 else 1
                used_rate = rate if current == output_stride else 1
                if current == output_stride:
                    rate, stride = rate * stride, 1
                else:
                    current *= stride
                blocks.append(Block(cin, c, stride, used_rate, t))
                cin = c
        self.low, self.high = nn.Sequential(*blocks[:3]), nn.Sequential(*blocks[3:])

    def forward(self, x):
        low = self.low(self.stem(x))
        return low, self.high(low)


class XceptionUnit(nn.Module):
    """Three separable convolutions, each half with its batch norm; relu in front of them, or behind each half."""

    def __init__(self, cin, channels, stride, rate, shortcut, relu_behind=False):
        super().__init__()
        act = nn.ReLU if relu_behind else None
        self.relu_in_front = not relu_behind
        widths = [cin, *channels]
        self.convs = nn.ModuleList(
            nn.Sequential(conv_bn(a, a, 3, stride if i == 2 else 1, rate, a, act, 1e-3), conv_bn(a, b, act=act, eps=1e-3))
            for i, (a, b) in enumerate(zip(widths, channels)))
        self.shortcut = conv_bn(cin, channels[2], 1, stride, act=None, eps=1e-3) if shortcut == "convolution" else None
        self.adds_input = shortcut == "input"

    def forward(self, x):
        y = x
        for i, conv in enumerate(self.convs):
            y = conv(F.relu(y) if self.relu_in_front else y)
            if i == 1:
                self.middle = y
        return y + self.shortcut(x) if self.shortcut else y + x if self.adds_input else y


class Xception65(nn.Module):
    low_channels, high_channels = 256, 2048

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, 32, 3, 2, eps=1e-3), conv_bn(32, 64, 3, eps=1e-3))
        self.entry = nn.ModuleList(XceptionUnit(a, [b] * 3, 2, 1, "convolution") for a, b in ((64, 128), (128, 256), (256, 728)))
        self.rest = nn.Sequential(*[XceptionUnit(728, [728] * 3, 1, 1, "input") for _ in range(16)],
                                  XceptionUnit(728, [728, 1024, 1024], 1, 1, "convolution"),
                                  XceptionUnit(1024, [1536, 1536, 2048], 1, 2, "none", relu_behind=True))

    def forward(self, x):
        x = self.stem(x)
        for unit in self.entry:
            x = unit(x)
        return self.entry[1].middle, self.rest(x)


def separable(cin, cout, rate=1):
    return nn.Sequential(conv_bn(cin, cin, 3, 1, rate, cin), conv_bn(cin, cout))


def dense(cin, cout, rate=1):
    return conv_bn(cin, cout, 3, rate=rate)


class ResNet50(nn.Module):
    """torchvision's, at output stride 16."""
    low_channels, high_channels = 256, 2048

    def __init__(self):
        super().__init__()
        from torchvision.models import resnet50
        r = resnet50(weights=None, replace_stride_with_dilation=[False, False, True])
        self.low = nn.Sequential(r.conv1, r.bn1, r.relu, r.maxpool, r.layer1)
        self.high = nn.Sequential(r.layer2, r.layer3, r.layer4)

    def forward(self, x):
        low = self.low(x)
        return low, self.high(low)


class Aspp(nn.Module):
    """A 1x1 branch, one for each rate, and the mean of the image."""

    def __init__(self, cin, spatial, rates):
        super().__init__()
        self.branches = nn.ModuleList([conv_bn(cin, 256)] + [spatial(cin, 256, rate) for rate in rates])
        self.pool = conv_bn(cin, 256)
        self.project = nn.Sequential(conv_bn(256 * (len(rates) + 2), 256), nn.Dropout(0.1))

    def forward(self, x):
        pooled = self.pool(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        return self.project(torch.cat([b(x) for b in self.branches] + [pooled], 1))


class DeepLabV3(nn.Module):
    """Without rates: as on MobileNet."""

    def __init__(self, backbone, classes, rates=(6, 12, 18)):
        super().__init__()
        self.backbone, self.aspp, self.logits = backbone, Aspp(backbone.high_channels, dense, rates), nn.Conv2d(256, classes, 1)

    def forward(self, x):
        return self.logits(self.aspp(self.backbone(x)[1]))


class DeepLabV3Plus(nn.Module):
    def __init__(self, backbone, classes, spatial=dense):
        super().__init__()
        self.backbone, self.aspp = backbone, Aspp(backbone.high_channels, spatial, (6, 12, 18))
        self.reduce = conv_bn(backbone.low_channels, 48)
        self.decoder = nn.Sequential(spatial(304, 256), spatial(256, 256), nn.Conv2d(256, classes, 1))

    def forward(self, x):
        low, high = self.backbone(x)
        y = F.interpolate(self.aspp(high), low.shape[2:], mode="bilinear", align_corners=True)
        return self.decoder(torch.cat([y, self.reduce(low)], 1))


class Torchvision(nn.Module):
    """Its logits before the last resize."""

    def __init__(self, name, classes):
        super().__init__()
        from torchvision.models import segmentation
        model = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=classes)
        self.backbone, self.classifier = model.backbone, model.classifier

    def forward(self, x):
        return self.classifier(self.backbone(x)["out"])


NETWORKS = {
    "deeplab_v3_mobilenet_v2": lambda classes: DeepLabV3(MobileNetV2(), classes, ()),
    "deeplab_v3_resnet50": lambda classes: DeepLabV3(ResNet50(), classes),
    "deeplab_v3plus_resnet50": lambda classes: DeepLabV3Plus(ResNet50(), classes),
    "deeplab_v3plus_mobilenet_v2": lambda classes: DeepLabV3Plus(MobileNetV2(), classes),
    "deeplab_v3plus_xception_65": lambda classes: DeepLabV3Plus(Xception65(), classes, separable),
    "deeplab_v3_resnet50:torchvision": lambda classes: Torchvision("deeplabv3_resnet50", classes),
    "deeplab_v3_resnet101:torchvision": lambda classes: Torchvision("deeplabv3_resnet101", classes),
    "deeplab_v3_mobilenet_v3_large:torchvision": lambda classes: Torchvision("deeplabv3_mobilenet_v3_large", classes),
}


def make(name, classes):
    """The network of that name; ValueError for one that is not here."""
    if name not in NETWORKS:
        raise ValueError(f"no network {name} in bench/peers/networks.py")
    return NETWORKS[name](classes)


if __name__ == "__main__":
    for name in NETWORKS:
        print(name, sum(p.numel() for p in make(name, 21).parameters()))
