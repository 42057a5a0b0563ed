"""What the reference files of all families share: inputs made by a formula, cases, and the file format.

A file <family>.py lists cases and writes <family>.json beside itself; the tests read it through
tests/support/reference_file.h. Run it again only when a case is added: /usr/bin/python3 elementwise.py (torch 1.13 made
the numbers; nothing here is needed to build or to test).

Inputs are not stored. Both sides compute element i of the input with seed s as hash(i, s) / 2^31 - 1, rounded to float,
times `scale` plus `offset`; integer inputs (labels) are hash(i, s) mod `classes`. Outputs and gradients are computed in
float64. The gradients are those of sum(v * y), where v is make_input(y.shape, 99): a plain sum hides mistakes.

Tensors keep atrous's axes ([N, H, W, C], weights [R, S, C, K]); a case's function permutes to torch's inside, so that
the gradients come out in atrous's axes.
"""

import json
import os

import numpy as np
import torch

OUTPUT_SEED = 99


def hashes(count, seed):
    """count 32-bit words; the same arithmetic is in tests/support/reference_file.cpp."""
    mask = np.uint64(0xFFFFFFFF)
    h = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed * 40503 + 12345)) & mask
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(2246822519)) & mask
    h ^= h >> np.uint64(13)
    return h


def make_input(shape, seed, scale=1.0, offset=0.0):
    """float64 numbers that are exactly representable as float32: uniform in offset +- scale."""
    unit = (hashes(int(np.prod(shape, dtype=np.int64)), seed) / 2.0**31 - 1).astype(np.float32)
    values = (unit.astype(np.float64) * scale + offset).astype(np.float32)
    return torch.from_numpy(values.astype(np.float64)).reshape(tuple(shape))


def make_labels(shape, seed, classes):
    """int64 numbers in 0..classes-1."""
    h = hashes(int(np.prod(shape, dtype=np.int64)), seed) % np.uint64(classes)
    return torch.from_numpy(h.astype(np.int64)).reshape(tuple(shape))


def given(shape, seed, scale=1.0, offset=0.0, grad=True):
    """An input of a case: numbers by the formula."""
    return {"shape": list(shape), "seed": seed, "scale": scale, "offset": offset, "grad": grad}


def labels(shape, seed, classes):
    """An input of a case: integers by the formula."""
    return {"shape": list(shape), "seed": seed, "classes": classes, "grad": False}


def stored(values, grad=True):
    """An input of a case: numbers that matter, stored as they are. Integers become labels."""
    t = torch.as_tensor(values)
    kind = {} if t.is_floating_point() else {"classes": 1}
    return {"shape": list(t.shape), "values": t.flatten().tolist(), "grad": grad and t.is_floating_point(), **kind}


def tensor_of(entry):
    if "values" in entry:
        integer = "classes" in entry
        return torch.tensor(entry["values"], dtype=torch.int64 if integer else torch.float64).reshape(entry["shape"])
    if "classes" in entry:
        return make_labels(entry["shape"], entry["seed"], entry["classes"])
    return make_input(entry["shape"], entry["seed"], entry["scale"], entry["offset"])


def array_of(t):
    """Rounded to 12 digits: a thousand times finer than the tolerance of the tests."""
    values = [float("%.12g" % v) for v in t.detach().to(torch.float64).flatten().tolist()]
    return {"shape": list(t.shape), "values": values}


def case(op, name, inputs, function, **options):
    """Runs function(role=tensor, ...) and its backward. `inputs` maps roles to given(), labels() or stored(). The
    function returns the output, or (output, {name: tensor}) with further results that the test looks up by name."""
    tensors = {role: tensor_of(entry) for role, entry in inputs.items()}
    for role, entry in inputs.items():
        if entry["grad"]:
            tensors[role].requires_grad_(True)
    result = function(**tensors)
    y, further = result if isinstance(result, tuple) else (result, {})
    if y.requires_grad:
        (y * make_input(y.shape, OUTPUT_SEED)).sum().backward()
    return {
        "op": op,
        "name": name,
        "options": options,
        "inputs": [{"role": role, **entry} for role, entry in inputs.items()],
        "output": array_of(y),
        "gradients": {
            role: array_of(t.grad) for role, t in tensors.items() if t.requires_grad and t.grad is not None
        },
        "further": {key: array_of(t) for key, t in further.items()},
    }


def to_nchw(x):
    return x.permute(0, 3, 1, 2)


def to_nhwc(x):
    return x.permute(0, 2, 3, 1)


def write_cases(script, cases):
    """Writes the cases beside `script` (__file__) as <stem>.json, one line a case."""
    path = os.path.splitext(os.path.abspath(script))[0] + ".json"
    with open(path, "w") as out:
        out.write('{"source": "torch %s, float64", "cases": [\n' % torch.__version__.split("+")[0])
        out.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
        out.write("\n]}\n")
    print("%s: %d cases, %d bytes" % (os.path.basename(path), len(cases), os.path.getsize(path)))
