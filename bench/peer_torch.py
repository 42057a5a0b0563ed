#!/usr/bin/env python3
"""PyTorch's time for the whole-network rows of atrous_bench, on this machine, now.

  /usr/bin/python3 bench/peer_torch.py forward            one image of 513x513, 21 classes, eval mode, no gradients
  /usr/bin/python3 bench/peer_torch.py train --size 241 --batch 4 --classes 11     one SGD step, logits upsampled to full size

The network is deeplab_v3plus_mobilenet_v2 as atrous defines it (output stride 16, ASPP 6/12/18 with image pooling, decoder of
48 + two plain 3x3 of 256); the script prints its parameter count, 5,816,053 at 21 classes, as a check that both are the same.
Needs Debian's python3-torch. It is a peer to measure against, not part of the library or its tests.
"""
import argparse
import json
import statistics
import time

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


class DeepLab(nn.Module):
    def __init__(self, classes=21, output_stride=16):
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
        rates = [r * 16 // output_stride for r in (6, 12, 18)]
        self.branches = nn.ModuleList([conv_bn(320, 256)] + [conv_bn(320, 256, 3, rate=r) for r in rates])
        self.pool = nn.Conv2d(320, 256, 1, bias=False)
        self.pool_bn = nn.BatchNorm2d(256)
        self.project = nn.Sequential(conv_bn(1280, 256), nn.Dropout(0.1))
        self.reduce = conv_bn(24, 48)
        self.decoder = nn.Sequential(conv_bn(304, 256, 3), conv_bn(256, 256, 3), nn.Conv2d(256, classes, 1))

    def forward(self, x):
        low = self.low(self.stem(x))
        high = self.high(low)
        pooled = F.relu(self.pool_bn(self.pool(high.mean((2, 3), keepdim=True)))).expand(-1, -1, *high.shape[2:])
        y = self.project(torch.cat([b(high) for b in self.branches] + [pooled], 1))
        y = F.interpolate(y, low.shape[2:], mode="bilinear", align_corners=True)
        return self.decoder(torch.cat([y, self.reduce(low)], 1))


def timed(step, warm, runs):
    for _ in range(warm):
        step()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["forward", "train"])
    parser.add_argument("--size", type=int, default=None)
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    size = args.size or (513 if args.what == "forward" else 241)
    batch = args.batch or (1 if args.what == "forward" else 4)
    model = DeepLab(args.classes)
    parameters = sum(p.numel() for p in model.parameters())
    x = torch.randn(batch, 3, size, size)
    if args.channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    if args.what == "forward":
        model.eval()
        with torch.no_grad():
            seconds = timed(lambda: F.interpolate(model(x), (size, size), mode="bilinear", align_corners=True), 2, args.runs)
    else:
        labels = torch.randint(0, args.classes, (batch, size, size))
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=4e-5)

        def step():
            optimizer.zero_grad()
            logits = F.interpolate(model(x), (size, size), mode="bilinear", align_corners=True)
            F.cross_entropy(logits, labels, ignore_index=255).backward()
            optimizer.step()

        seconds = timed(step, 2, args.runs)
    print(json.dumps({"what": args.what, "size": size, "batch": batch, "classes": args.classes, "threads": args.threads,
                      "parameters": parameters, "median_ms": round(1e3 * statistics.median(seconds), 1),
                      "min_ms": round(1e3 * min(seconds), 1)}))


if __name__ == "__main__":
    main()
