"""Rows of atrous_bench on a CPU, read from their names: conv3x3/h33w33c2048k256r6b1t2/forward, model/<name>h513w513k21b1t2."""
import dataclasses
import re

NETWORK = re.compile(r"(?P<kind>model|train)/(?P<network>.+?)h(?P<h>\d+)w(?P<w>\d+)k(?P<k>\d+)b(?P<b>\d+)t(?P<t>\d+)$")
LAYER = re.compile(r"(?P<family>[a-z]+)(?P<side>\d+)?(x\d+)?/h(?P<h>\d+)w(?P<w>\d+)c(?P<c>\d+)(k(?P<k>\d+))?(f(?P<f>\d+))?"
                   r"(o(?P<o>\d+))?(r(?P<r>\d+))?(s(?P<s>\d+))?b(?P<b>\d+)t(?P<t>\d+)$")
FAMILIES = ("conv", "dw", "sep", "aspp", "deconv", "bilinear", "bn", "bnadd", "maxpool", "avgpool", "gap", "scale", "hswish", "xent", "upxent", "upargmax")


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer or network at one batch and number of threads; sizes as bench/support/shapes.h has them."""
    name: str
    family: str
    h: int
    w: int
    channels: int
    filters: int
    taps: int
    stride: int
    rate: int
    out: int      # side of the result of bilinear and the fused heads
    batch: int
    threads: int
    network: str = ""

    @property
    def padding(self):
        return (self.taps - self.stride) // 2 if self.family == "deconv" else self.rate * (self.taps - 1) // 2

    def out_side(self, side):
        if self.family == "deconv":
            return (side - 1) * self.stride - 2 * self.padding + self.taps
        return (side + 2 * self.padding - self.rate * (self.taps - 1) - 1) // self.stride + 1


def parse(name):
    """The row of a name without its direction; ValueError for one that is none."""
    if found := NETWORK.match(name):
        n = {k: int(v) for k, v in found.groupdict().items() if k not in ("kind", "network")}
        return Row(name, found["kind"], n["h"], n["w"], 3, n["k"], 0, 0, 0, n["h"], n["b"], n["t"], found["network"])
    found = LAYER.match(name)
    if not found or found["family"] not in FAMILIES:
        raise ValueError(f"no row of atrous_bench: {name}")

    def number(key, default):
        return int(found[key]) if found[key] else default

    channels = number("c", 0)
    taps = 3 if found["family"] == "aspp" else number("f", number("side", 1))
    return Row(name, found["family"], number("h", 0), number("w", 0), channels, number("k", channels), taps, number("s", 1), number("r", 1),
               number("o", 0), number("b", 1), number("t", 1))
