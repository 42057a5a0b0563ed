"""torchvision's segmentation models with weights by a formula: their names and shapes, and the classifier's logits.

    python3 torchvision_models.py                  writes torchvision_models.json for the tests
    python3 torchvision_models.py write FOLDER [NAME...]
                                                   writes, for a comparison by hand, each model's .pth with random
                                                   weights of a seed, inputs (float32 [1, H, W, 3], normalised) and
                                                   logits before the final resize
    python3 torchvision_models.py compare FOLDER   compares NAME_SIZE_ours.npy in it with those logits

By hand, for each NAME and SIZE: convert NAME.pth NAME.safetensors --model NAME, then segment --weights
NAME.safetensors --input-npy SIZE.npy --logits NAME_SIZE_ours.npy.
"""

import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models import segmentation

from reference import case, given, make_input, to_nchw, to_nhwc, write_cases

MODELS = {
    "deeplab_v3_resnet50": segmentation.deeplabv3_resnet50,
    "deeplab_v3_resnet101": segmentation.deeplabv3_resnet101,
    "deeplabv3_mobilenet_v3_large": segmentation.deeplabv3_mobilenet_v3_large,
    "lraspp_mobilenet_v3_large": segmentation.lraspp_mobilenet_v3_large,
}


def build(name):
    options = {} if name.startswith("lraspp") else {"aux_loss": True}  # as published
    model = MODELS[name](weights=None, weights_backbone=None, num_classes=21, **options)
    return model.eval()


def low_resolution_logits(model, x):
    """The classifier's output, before it is resized to the image."""
    features = model.backbone(x)
    return model.classifier(features["out"] if "out" in features else features)


def seed_of(name):
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h & 0xFFFF


def formula_value(key, shape):
    """The same rule is in tests/models/torchvision_test.cpp."""
    if key.endswith("running_mean"):
        return make_input(shape, seed_of(key), 0.1)
    if key.endswith("running_var"):
        return make_input(shape, seed_of(key), 0.5, 1.0)
    if key.endswith("bias"):
        return make_input(shape, seed_of(key), 0.2)
    if len(shape) == 1:
        return make_input(shape, seed_of(key), 0.3, 1.0)
    return make_input(shape, seed_of(key), math.sqrt(6 / np.prod(shape[1:])))


def formula_case(name):
    model = build(name).double()
    state = model.state_dict()
    for key, value in state.items():
        if value.is_floating_point():
            state[key] = formula_value(key, list(value.shape))
    model.load_state_dict(state)
    listing = "\n".join(" ".join([key] + [str(n) for n in value.shape]) for key, value in state.items())

    def run(x):
        with torch.no_grad():
            return to_nhwc(low_resolution_logits(model, to_nchw(x)))

    return case("torchvision", name, {"x": given([1, 49, 65, 3], 5, grad=False)}, run, tensors=listing)


def randomise(model, seed):
    """Initial weights, but batch norms that do something."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.3, 0.9)
            torch.nn.init.normal_(module.bias, 0, 0.1)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)


def picture(h, w, seed):
    """Smooth shapes and a little noise, normalised."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 3, 9, 9, generator=generator)
    smooth = F.interpolate(coarse, size=(h, w), mode="bilinear", align_corners=True)
    return smooth + 0.1 * torch.randn(1, 3, h, w, generator=generator)


SIZES = [(513, 513), (320, 480)]


def write(folder, names):
    os.makedirs(folder, exist_ok=True)
    inputs = {}
    for i, (h, w) in enumerate(SIZES):
        inputs[f"{h}x{w}"] = picture(h, w, i)
        np.save(os.path.join(folder, f"{h}x{w}.npy"), to_nhwc(inputs[f"{h}x{w}"]).contiguous().numpy())
    for i, name in enumerate(MODELS):
        if names and name not in names:
            continue
        model = build(name)
        randomise(model, 100 + i)
        torch.save(model.state_dict(), os.path.join(folder, name + ".pth"))
        for size, x in inputs.items():
            with torch.no_grad():
                logits = to_nhwc(low_resolution_logits(model, x)).contiguous()
            np.save(os.path.join(folder, f"{name}_{size}_logits.npy"), logits.numpy())


def compare(folder):
    for name in MODELS:
        for h, w in SIZES:
            stem = os.path.join(folder, f"{name}_{h}x{w}")
            if not os.path.exists(stem + "_ours.npy"):
                print(stem + "_ours.npy is not there")
                continue
            wanted, got = (torch.from_numpy(np.load(stem + end)) for end in ("_logits.npy", "_ours.npy"))
            gap = float((wanted - got).abs().max() / wanted.abs().max())

            def labels(logits):
                full = F.interpolate(to_nchw(logits), size=(h, w), mode="bilinear", align_corners=False)
                return full.argmax(1)

            equal = float((labels(wanted) == labels(got)).double().mean())
            classes = len(torch.unique(labels(wanted)))
            print(f"{name} {h}x{w}: gap {gap:.2e} of the largest logit, argmax equal on {100 * equal:.4f} % "
                  f"({classes} classes)")


if sys.argv[1:2] == ["write"]:
    write(sys.argv[2], sys.argv[3:])
elif sys.argv[1:2] == ["compare"]:
    compare(sys.argv[2])
else:
    write_cases(__file__, [formula_case(name) for name in MODELS if name != "deeplab_v3_resnet101"])
