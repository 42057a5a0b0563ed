"""Random weights under the published names, written by the tools whose formats they are, for a comparison by hand.

    python3 published_weights.py write FOLDER      TensorFlow checkpoints of slim's DeepLabs (pip install tensorflow-cpu)
                                                   and .caffemodel files of DeepLab v1 and v2 (pip install protobuf)
    convert FOLDER/NAME.ckpt (or .caffemodel) FOLDER/NAME.safetensors --model MODEL --width 0.25, for each printed line
    python3 published_weights.py compare FOLDER    every number that was written is in the checkpoint, in our layout

The names and shapes here are written out from the published definitions, apart from the tables of the library: a name
that either side lacks ends `convert` with 1, and a tensor that was turned wrongly is missed by `compare`.
"""

import hashlib
import json
import os
import struct
import sys

import numpy as np

WIDTH = 0.25
random = np.random.default_rng(1)


def scaled(channels):
    return max(1, int(channels * WIDTH + 0.5))


def to_8(channels):
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class Slim:
    """Variables of TensorFlow's slim, by name."""

    def __init__(self):
        self.variables = {"global_step": np.int64(30000)}

    def put(self, name, shape, low=-1.0, high=1.0):
        self.variables[name] = random.uniform(low, high, shape).astype(np.float32)

    def norm(self, scope, channels):
        for leaf, low in [("gamma", -1.0), ("beta", -1.0), ("moving_mean", -1.0), ("moving_variance", 0.5)]:
            self.put(f"{scope}/BatchNorm/{leaf}", [channels], low)

    def conv(self, scope, taps, inputs, outputs):
        self.put(scope + "/weights", [taps, taps, inputs, outputs])
        self.norm(scope, outputs)

    def depthwise(self, scope, channels):
        self.put(scope + "/depthwise_weights", [3, 3, channels, 1])
        self.norm(scope, channels)

    def separable(self, scope, inputs, outputs):
        self.depthwise(scope + "_depthwise", inputs)
        self.conv(scope + "_pointwise", 1, inputs, outputs)

    def mobilenet(self):
        self.conv("MobilenetV2/Conv", 3, 3, scaled(32))
        channels, block = scaled(32), 0
        for expansion, out, count in [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]:
            for _ in range(count):
                scope = "MobilenetV2/expanded_conv" + (f"_{block}" if block else "")
                wide = channels if expansion == 1 else to_8(channels * expansion)
                if expansion > 1:
                    self.conv(scope + "/expand", 1, channels, wide)
                self.depthwise(scope + "/depthwise", wide)
                self.conv(scope + "/project", 1, wide, scaled(out))
                channels, block = scaled(out), block + 1
        return channels

    def xception(self, depth):
        root = f"xception_{depth}/"
        self.conv(root + "entry_flow/conv1_1", 3, 3, scaled(32))
        self.conv(root + "entry_flow/conv1_2", 3, scaled(32), scaled(64))
        channels = scaled(64)

        def unit(scope, outs, shortcut):
            nonlocal channels
            inputs = channels
            for i, out in enumerate(outs):
                self.separable(f"{root}{scope}/xception_module/separable_conv{i + 1}", channels, scaled(out))
                channels = scaled(out)
            if shortcut:
                self.conv(f"{root}{scope}/xception_module/shortcut", 1, inputs, channels)

        entry = [128, 256, 728] if depth < 71 else [128, 256, 256, 728, 728]
        for i, out in enumerate(entry):
            unit(f"entry_flow/block{i + 1}/unit_1", [out] * 3, True)
        for i in range(8 if depth == 41 else 16):
            unit(f"middle_flow/block1/unit_{i + 1}", [728] * 3, False)
        unit("exit_flow/block1/unit_1", [728, 1024, 1024], True)
        unit("exit_flow/block2/unit_1", [1536, 1536, 2048], False)
        return channels

    def resnet(self, depth):
        root = f"resnet_v1_{depth}/"
        for i, (inputs, out) in enumerate([(3, 64), (64, 64), (64, 128)]):
            self.conv(f"{root}conv1_{i + 1}", 3, inputs if i == 0 else scaled(inputs), scaled(out))
        channels = scaled(128)
        for b, units in enumerate([3, 4, 23 if depth == 101 else 6, 3]):
            inner, out = scaled(64 << b), 4 * scaled(64 << b)
            for u in range(units):
                scope = f"{root}block{b + 1}/unit_{u + 1}/bottleneck_v1/"
                if u == 0:
                    self.conv(scope + "shortcut", 1, channels, out)
                self.conv(scope + "conv1", 1, channels, inner)
                self.conv(scope + "conv2", 3, inner, inner)
                self.conv(scope + "conv3", 1, inner, out)
                channels = out
        return channels

    def head(self, channels, branches, low=0):
        """branches: none (mobile), plain or separable; low: channels of the decoder's low-level features."""
        self.conv("image_pooling", 1, channels, 256)
        self.conv("aspp0", 1, channels, 256)
        for k in (1, 2, 3):
            if branches == "plain":
                self.conv(f"aspp{k}", 3, channels, 256)
            if branches == "separable":
                self.separable(f"aspp{k}", channels, 256)
        self.conv("concat_projection", 1, 512 if branches == "none" else 1280, 256)
        if low:
            self.conv("decoder/feature_projection0", 1, low, 48)
            self.separable("decoder/decoder_conv0", 304, 256)
            self.separable("decoder/decoder_conv1", 256, 256)
        self.put("logits/semantic/weights", [1, 1, 256, 21])
        self.put("logits/semantic/biases", [21])


def slim_models():
    for name, model in [
        ("mobile", "deeplab_v3_mobilenet_v2"),
        ("xception_41", "deeplab_v3plus_xception41"),
        ("xception_65", "deeplab_v3plus_xception65"),
        ("xception_71", "deeplab_v3plus_xception71"),
        ("resnet101_beta", "deeplab_v3_resnet101_beta"),
    ]:
        slim = Slim()
        if name == "mobile":
            slim.head(slim.mobilenet(), "none")
        elif name.startswith("xception"):
            slim.head(slim.xception(int(name[-2:])), "separable", scaled(256))
        else:
            slim.head(slim.resnet(101), "plain")
        yield name, model, slim.variables


def caffe_models():
    """name, model, layers: {name: [blobs]}"""
    random_of = lambda *shape: random.uniform(-1, 1, shape).astype(np.float32)

    def conv(layers, name, taps, inputs, outputs, bias=True):
        layers[name] = [random_of(outputs, inputs, taps, taps)] + ([random_of(outputs)] if bias else [])

    def vgg(fc6_taps, fc, branches):
        layers, channels = {}, 3
        for stage, (out, count) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
            for i in range(count):
                conv(layers, f"conv{stage + 1}_{i + 1}", 3, channels, scaled(out))
                channels = scaled(out)
        for end in [f"_{b + 1}" for b in range(branches)] if branches > 1 else [""]:
            conv(layers, "fc6" + end, fc6_taps, channels, fc)
            conv(layers, "fc7" + end, 1, fc, fc)
            conv(layers, "fc8_voc12" + end, 1, fc, 21)
        return layers

    def resnet101():
        layers = {}

        def unit(name, taps, inputs, outputs):
            conv(layers, name if name == "conv1" else "res" + name, taps, inputs, outputs, bias=False)
            norm = "bn_conv1" if name == "conv1" else "bn" + name
            scale = "scale_conv1" if name == "conv1" else "scale" + name
            layers[norm] = [random_of(outputs), abs(random_of(outputs)), np.float32([4])]
            layers[scale] = [random_of(outputs), random_of(outputs)]

        unit("conv1", 7, 3, scaled(64))
        channels = scaled(64)
        for stage, count in enumerate([3, 4, 23, 3]):
            inner, out = scaled(64 << stage), 4 * scaled(64 << stage)
            for u in range(count):
                block = "abc"[u] if count == 3 else ("a" if u == 0 else f"b{u}")
                if u == 0:
                    unit(f"{stage + 2}{block}_branch1", 1, channels, out)
                unit(f"{stage + 2}{block}_branch2a", 1, channels, inner)
                unit(f"{stage + 2}{block}_branch2b", 3, inner, inner)
                unit(f"{stage + 2}{block}_branch2c", 1, inner, out)
                channels = out
        for b in range(4):
            conv(layers, f"fc1_voc12_c{b}", 3, channels, 21)
        for name in list(layers):  # the other scales' layers share their weights
            for end in ("_res075", "_res05"):
                layers[name + end] = layers[name]
        return layers

    yield "v1_largefov", "deeplab_v1_vgg16", vgg(3, 1024, 1)
    yield "v2_vgg16", "deeplab_v2_vgg16", vgg(3, 1024, 4)
    yield "v2_resnet101", "deeplab_v2_resnet101_msc", resnet101()


def write(folder):
    import tensorflow as tf

    from weight_files import caffe_messages

    os.makedirs(folder, exist_ok=True)
    for name, model, variables in slim_models():
        tf.raw_ops.SaveV2(
            prefix=os.path.join(folder, name + ".ckpt"),
            tensor_names=list(variables),
            shape_and_slices=[""] * len(variables),
            tensors=[tf.constant(v) for v in variables.values()],
        )
        print(f"convert {folder}/{name}.ckpt {folder}/{name}.safetensors --model {model} --width {WIDTH}")
    for name, model, layers in caffe_models():
        net = caffe_messages(True)(name=name)
        for layer_name, blobs in layers.items():
            layer = net.layer.add(name=layer_name)
            for values in blobs:
                blob = layer.blobs.add()
                blob.data.extend(values.ravel().tolist())
                blob.shape.dim.extend(values.shape)
        with open(os.path.join(folder, name + ".caffemodel"), "wb") as f:
            f.write(net.SerializeToString())
        print(f"convert {folder}/{name}.caffemodel {folder}/{name}.safetensors --model {model} --width {WIDTH}")


def fingerprint(values):
    return hashlib.sha256(np.ascontiguousarray(values, np.float32).tobytes()).hexdigest()


def checkpoint_fingerprints(path):
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        begin = 8 + length
        prints = []
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            f.seek(begin + entry["data_offsets"][0])
            data = np.frombuffer(f.read(entry["data_offsets"][1] - entry["data_offsets"][0]), np.float32)
            prints.append((name, fingerprint(data)))
        return prints


def compare(folder):
    """Both sides as multisets of tensors: the same number of each."""

    def report(name, wanted):
        got = [p for _, p in checkpoint_fingerprints(os.path.join(folder, name + ".safetensors"))]
        missed = len(set(wanted) - set(got))
        print(f"{name}: {len(wanted)} tensors written, {len(got)} in the checkpoint, {missed} of them nowhere in it")

    for name, _, variables in slim_models():
        report(name, [fingerprint(v) for key, v in variables.items() if key != "global_step"])
    for name, _, layers in caffe_models():
        wanted = []
        for layer, blobs in layers.items():
            if layer.endswith(("_res075", "_res05")):
                continue
            if layer.startswith("bn"):
                wanted += [fingerprint(blobs[0] / blobs[2]), fingerprint(blobs[1] / blobs[2])]
            else:
                wanted += [fingerprint(b.transpose(2, 3, 1, 0) if b.ndim == 4 else b) for b in blobs]
        report(name, wanted)


if sys.argv[1:2] == ["write"]:
    write(sys.argv[2])
elif sys.argv[1:2] == ["compare"]:
    compare(sys.argv[2])
else:
    sys.exit(__doc__)
