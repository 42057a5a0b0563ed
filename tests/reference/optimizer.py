"""Reference numbers for kernels/optimizer: the weights after each of several steps of PyTorch's optimisers."""

import torch

from reference import array_of, make_input, write_cases

SIZE, STEPS = 37, 5


def steps_of(op, name, make, **options):
    weight = torch.nn.Parameter(make_input([SIZE], 1))
    optimizer = make([weight])
    history = {}
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = options["learning_rate"] / step  # a schedule: each step has its own rate
        weight.grad = make_input([SIZE], 10 + step, 0.5)
        optimizer.step()
        history["weight %d" % step] = array_of(weight)
    return {
        "op": op,
        "name": name,
        "options": options,
        "inputs": [],
        "output": history["weight %d" % STEPS],
        "gradients": {},
        "further": history,
    }


def sgd_case(name, **o):
    return steps_of(
        "sgd",
        name,
        lambda p: torch.optim.SGD(
            p, o["learning_rate"], o["momentum"], weight_decay=o["weight_decay"], nesterov=o["nesterov"]
        ),
        **o,
    )


def adamw_case(name, **o):
    return steps_of(
        "adamw",
        name,
        lambda p: torch.optim.AdamW(
            p, o["learning_rate"], (o["beta1"], o["beta2"]), o["epsilon"], o["weight_decay"]
        ),
        **o,
    )


write_cases(
    __file__,
    [
        sgd_case("plain", learning_rate=0.1, momentum=0.0, weight_decay=0.0, nesterov=False),
        sgd_case("decay", learning_rate=0.1, momentum=0.0, weight_decay=0.05, nesterov=False),
        sgd_case("momentum and decay", learning_rate=0.1, momentum=0.9, weight_decay=0.05, nesterov=False),
        sgd_case("nesterov", learning_rate=0.1, momentum=0.9, weight_decay=0.05, nesterov=True),
        adamw_case("defaults", learning_rate=0.01, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0),
        adamw_case("decay, large epsilon", learning_rate=0.05, beta1=0.8, beta2=0.95, epsilon=0.1, weight_decay=0.3),
    ],
)
