"""Small files of weights for tests/io/weight_file_test.cpp, written by the tools whose formats they are.

    python3 weight_files.py           torch.pth and its variants (PyTorch 1.13)
    python3 weight_files.py tools     TensorFlow checkpoint, TFLite and Caffe files
                                      (pip install tensorflow-cpu protobuf tflite flatbuffers)

Every file holds the same tensors, as far as its format can: element i of a tensor is start + i / 4.
"""

import collections
import os
import sys

import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "weight_files")


def ramp(shape, start, dtype=np.float32):
    return (start + np.arange(int(np.prod(shape))) / 4).reshape(shape).astype(dtype)


def write_torch():
    import torch

    def tensor(shape, start, dtype=torch.float32):
        return torch.from_numpy(ramp(shape, start, np.float64)).to(dtype)

    conv = tensor([2, 3, 1, 2], 1)
    state = collections.OrderedDict(
        [
            ("conv.weight", conv),
            ("conv.second", conv[1]),  # shares the storage, from an offset on
            ("turned", tensor([3, 4], 0).t()),  # strides
            ("parameter", torch.nn.Parameter(tensor([2], 5))),
            ("half", tensor([4], -2, torch.float16)),
            ("brain", tensor([3], 1, torch.bfloat16)),
            ("double", tensor([2, 2], 3, torch.float64)),
            ("count", torch.tensor(7)),
            ("none", torch.zeros(0, 3)),
        ]
    )
    state._metadata = collections.OrderedDict([("", {"version": 1})])  # as modules leave it
    torch.save(state, os.path.join(FOLDER, "torch.pth"))
    training = {"cur_itrs": 3, "best_score": np.float64(0.5), "lr": 0.01, "model_state": state, "scheduler_state": None}
    torch.save(training, os.path.join(FOLDER, "torch_training.pth"))
    torch.save({"a": conv}, os.path.join(FOLDER, "torch_old.pth"), _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Conv2d(1, 1, 1), os.path.join(FOLDER, "torch_module.pth"))


def write_tensorflow():
    import tensorflow as tf

    names = ["aspp0/weights", "aspp0/BatchNorm/gamma", "double", "half", "brain", "global_step", "integers"]
    tensors = [
        tf.constant(ramp([1, 1, 2, 3], 1)),
        tf.constant(ramp([3], 5)),
        tf.constant(ramp([2, 2], 3, np.float64)),
        tf.constant(ramp([4], -2, np.float16)),
        tf.cast(tf.constant(ramp([3], 1)), tf.bfloat16),
        tf.constant(7, tf.int64),
        tf.constant([1, -2], tf.int32),
    ]
    parts = []
    for i, chosen in enumerate([slice(0, 4), slice(4, None)]):  # two shards
        parts.append(os.path.join(FOLDER, f"part{i}"))
        tf.raw_ops.SaveV2(
            prefix=parts[-1],
            tensor_names=names[chosen] + (["text"] if i else []),
            shape_and_slices=[""] * len(names[chosen]) + ([""] if i else []),
            tensors=tensors[chosen] + ([tf.constant("words")] if i else []),
        )
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=os.path.join(FOLDER, "tensorflow.ckpt"), delete_old_dirs=False
    )


def write_tflite():
    """A convolution, a depthwise one and a resize: names as TensorFlow 1's converter (TOCO) wrote them."""
    import flatbuffers
    import tflite

    builder = flatbuffers.Builder(1024)

    def vector(values, start, prepend):
        start(builder, len(values))
        for v in reversed(values):
            prepend(v)
        return builder.EndVector()

    def numbers(values, start):
        return vector(values, start, builder.PrependInt32)

    def tables(values, start):
        return vector(values, start, builder.PrependUOffsetTRelative)

    buffers = [None]
    tensors = []

    def tensor(name, shape, data=None):
        if data is None:
            index = 0
        else:
            index = len(buffers)
            buffers.append(data)
        text = builder.CreateString(name)
        sizes = numbers(shape, tflite.TensorStartShapeVector)
        tflite.TensorStart(builder)
        tflite.TensorAddShape(builder, sizes)
        kinds = {"float32": 0, "int32": tflite.TensorType.INT32}
        tflite.TensorAddType(builder, kinds[str(data.dtype)] if data is not None else 0)
        tflite.TensorAddBuffer(builder, index)
        tflite.TensorAddName(builder, text)
        tensors.append(tflite.TensorEnd(builder))
        return len(tensors) - 1

    image = tensor("image", [1, 9, 9, 3])
    w0 = tensor("first/weights", [2, 1, 1, 3], ramp([2, 1, 1, 3], 1))
    b0 = tensor("first/Conv2D_bias", [2], ramp([2], 5))
    y0 = tensor("first/Relu6", [1, 5, 5, 2])
    w1 = tensor("second/depthwise_weights", [1, 1, 2, 2], ramp([1, 1, 2, 2], 3))
    b1 = tensor("second/depthwise_bias", [2], ramp([2], -2))
    y1 = tensor("second/Relu6", [1, 5, 5, 2])
    size = tensor("size", [2], np.array([9, 9], np.int32))
    y2 = tensor("resized", [1, 9, 9, 2])

    def operator(code, inputs, outputs):
        i = numbers(inputs, tflite.OperatorStartInputsVector)
        o = numbers(outputs, tflite.OperatorStartOutputsVector)
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, code)
        tflite.OperatorAddInputs(builder, i)
        tflite.OperatorAddOutputs(builder, o)
        return tflite.OperatorEnd(builder)

    operators = tables(
        [operator(0, [image, w0, b0], [y0]), operator(1, [y0, w1, b1], [y1]), operator(2, [y1, size], [y2])],
        tflite.SubGraphStartOperatorsVector,
    )
    all_tensors = tables(tensors, tflite.SubGraphStartTensorsVector)
    inputs, outputs = numbers([image], tflite.SubGraphStartInputsVector), numbers([y2], tflite.SubGraphStartOutputsVector)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, all_tensors)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operators)
    graphs = tables([tflite.SubGraphEnd(builder)], tflite.ModelStartSubgraphsVector)

    def code(value):
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, value)
        return tflite.OperatorCodeEnd(builder)

    kinds = tflite.BuiltinOperator
    codes = tables(
        [code(k) for k in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D, kinds.RESIZE_BILINEAR)],
        tflite.ModelStartOperatorCodesVector,
    )
    made = []
    for data in buffers:
        bytes_at = builder.CreateByteVector(data.tobytes()) if data is not None else None
        tflite.BufferStart(builder)
        if bytes_at is not None:
            tflite.BufferAddData(builder, bytes_at)
        made.append(tflite.BufferEnd(builder))
    all_buffers = tables(made, tflite.ModelStartBuffersVector)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, all_buffers)
    builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
    with open(os.path.join(FOLDER, "small.tflite"), "wb") as f:
        f.write(builder.Output())


def caffe_messages(packed):
    """The part of caffe.proto that holds weights, as classes of Google's protobuf."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    F = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"caffe_{packed}.proto", package=f"caffe{packed:d}", syntax="proto2")

    def message(name, *fields):
        m = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            f = m.field.add(name=field, number=number)
            f.label = F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL
            if isinstance(kind, str):
                f.type, f.type_name = F.TYPE_MESSAGE, f".caffe{packed:d}.{kind}"
            else:
                f.type = kind
                if repeated and kind != F.TYPE_STRING:
                    f.options.packed = packed

    message("BlobShape", (1, "dim", F.TYPE_INT64, True))
    message(
        "BlobProto",
        *[(i + 1, n, F.TYPE_INT32, False) for i, n in enumerate(["num", "channels", "height", "width"])],
        (5, "data", F.TYPE_FLOAT, True),
        (7, "shape", "BlobShape", False),
        (8, "double_data", F.TYPE_DOUBLE, True),
    )
    message("LayerParameter", (1, "name", F.TYPE_STRING, False), (2, "type", F.TYPE_STRING, False), (7, "blobs", "BlobProto", True))
    message("V1LayerParameter", (4, "name", F.TYPE_STRING, False), (5, "type", F.TYPE_INT32, False), (6, "blobs", "BlobProto", True))
    message(
        "NetParameter",
        (1, "name", F.TYPE_STRING, False),
        (2, "layers", "V1LayerParameter", True),
        (100, "layer", "LayerParameter", True),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe{packed:d}.NetParameter"))


def write_caffe():
    def put(blob, values, legacy=False, double=False):
        (blob.double_data if double else blob.data).extend(values.ravel().tolist())
        if legacy:
            sizes = [1] * (4 - values.ndim) + list(values.shape)
            blob.num, blob.channels, blob.height, blob.width = sizes
        else:
            blob.shape.dim.extend(values.shape)

    blobs = {
        "conv1": [ramp([2, 3, 1, 1], 1), ramp([2], 5)],
        "bn_conv1": [ramp([2], 3), ramp([2], 1), ramp([1], 4)],
        "scale_conv1": [ramp([2], -2), ramp([2], 0)],
    }
    for name, packed, legacy in [("caffe.caffemodel", True, False), ("caffe_v1.caffemodel", False, True)]:
        net = caffe_messages(packed)(name="net")
        for layer_name, arrays in blobs.items():
            layer = (net.layers if legacy else net.layer).add(name=layer_name)
            for array in arrays:
                put(layer.blobs.add(), array, legacy, double=layer_name == "scale_conv1")
        with open(os.path.join(FOLDER, name), "wb") as f:
            f.write(net.SerializeToString())


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    if sys.argv[1:] == ["tools"]:
        write_tensorflow()
        write_tflite()
        write_caffe()
    else:
        write_torch()
