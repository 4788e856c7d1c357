"""Causes of lost time planted in the networks of ``planted``, with times that are given, not taken.

What an operator takes follows from what it computes and moves, on a core that does 30 operations
and moves 10 bytes in a nanosecond and needs a microsecond for a call. What a cause slows down is
then made slower by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from planted import (
    NETS,
    How,
    Net,
    drawn,
    insert,
    quantized,
    set_weight,
    store,
    stored,
    task_of,
)

from packlight.diagnosis import Subject
from packlight.model import Model
from packlight.profiling import profile
from packlight.records import Measurement, OperatorCost, Profile

CALL, OPERATIONS, BYTES = 1e-6, 30e9, 10e9
PAIRS = ("QuantizeLinear", "DequantizeLinear")
MANY = 40
"""Small operators in a row."""

MEMORY, HEAVY = 8192, 1024
"""Inner width of a pair of products: so wide that memory bounds them, and not so wide."""


@dataclass(frozen=True)
class Slow:
    """A pair with what each operator of the variant takes more than it would."""

    reference: Model
    variant: Model
    net: Net
    more: Callable[[OperatorCost], float] = lambda one: 0.0

    def subject(self):
        """The pair with its given times."""
        shape = {"x": self.net.shape}
        plain = [profile(model, shape) for model in (self.reference, self.variant)]
        before, after = timed(plain[0], lambda one: 0.0), timed(plain[1], self.more)
        value = whole(after) / whole(before)
        ratio = Measurement(value, "1", 0.98 * value, 1.02 * value, "measured", 100)
        return Subject(
            self.reference, self.variant, task_of(drawn(self.net)), limit=2,
            profiles=(before, after), ratio=ratio,
        )  # fmt: skip


def timed(found, more):
    operators = [
        one if one.at_load or not one.runs else replace(
            one, placement="kernel",
            latency=exactly(takes(one) + more(one)),
        )
        for one in found.operators
    ]  # fmt: skip
    return replace(found, operators=tuple(operators))


def exactly(seconds):
    return Measurement(seconds, "s", seconds, seconds, "measured", 100)


def takes(one):
    """Seconds of an operator: a call, and the longer of its arithmetic and its bytes."""
    work = (one.macs or 0) + (one.other_ops or 0)
    moved = (one.activation_bytes or 0) + one.loaded_bytes
    return CALL + max(work / OPERATIONS, moved / BYTES)


def whole(found: Profile):
    return sum(one.latency.value for one in found.operators if one.latency is not None)


def hidden(graph, net):
    return next(v for node in graph.graph for v in node.outputs if v.name == net.hidden)


def rounded(graph, value, name):
    """A pair behind a value."""
    grid = [store(graph, f"{name}.scale", np.array(0.05, np.float32)),
            store(graph, f"{name}.zero", np.array(128, np.uint8))]  # fmt: skip
    codes = insert(graph, value, "QuantizeLinear", *grid, name=f"{name}.q")
    return insert(graph, codes, "DequantizeLinear", *grid, name=f"{name}.dq")


def pairs_take(seconds):
    """Each Q/DQ takes so much more."""
    return lambda one: seconds if one.op in PAIRS else 0.0


def without_kernel(net):
    """Pairs before operators that no runtime computes in integers."""
    graph = net.model.clone()
    value = hidden(graph, net)
    for place in range(3):
        value = insert(graph, value, "Sin", name=f"sine{place}")
    reference = Model(graph, net.model.name)
    variant = graph.clone()
    sines = [node for node in variant.graph if node.op_type == "Sin"]
    for node in sines:
        alone = node.inputs[0]
        rounded(variant, alone, f"{node.name}.in")
    return Slow(reference, Model(variant, "rounded"), net, pairs_take(3e-5))


def unfused(net):
    """Pairs around operators that would compute in integers, and here do not."""
    slower = pairs_take(2e-5)
    return Slow(net.model, quantized(net.model, drawn(net)), net, slower)


def unpacked(net):
    """Weights that are restored at every run."""
    variant = quantized(net.model, drawn(net), How(activations=False))
    return Slow(net.model, variant, net, pairs_take(5e-5))


def small(net):
    """Many operators on a few numbers."""
    graph = net.model.clone()
    value = hidden(graph, net)
    for place in range(MANY):
        value = insert(graph, value, "Neg", name=f"sign{place}")
    reference = Model(graph, net.model.name)
    return Slow(reference, restored_at_load(reference), net)


def restored_at_load(model, skipped=()):
    """The model with weights of 8 bits that are plain floats when it runs."""
    graph = model.clone()
    for node in graph.graph:
        chosen = node.op_type in ("Conv", "MatMul") and node.name not in skipped
        if chosen and node.inputs[1].const_value is not None:
            weight = stored(graph, node.inputs[1])
            scale = np.abs(weight).max() / 127
            set_weight(graph, node, 1, np.rint(weight / scale) * scale)
    return Model(graph, f"{model.name}-8")


def widened(net, width):
    """The network with two more products before its last, through so many numbers."""
    graph = net.model.clone()
    last = [node for node in graph.graph if node.op_type == "MatMul"][-1]
    count = last.inputs[1].const_value.shape[0]
    random = np.random.default_rng(8)
    value = last.inputs[0]
    for name, shape in (("up", (count, width)), ("down", (width, count))):
        weight = random.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(shape[0]))
        value = insert_before(graph, last, value, store(graph, name, weight), name)
    return Model(graph, net.model.name)


def insert_before(graph, last, value, weight, name):
    import onnx_ir as ir

    node = ir.node("MatMul", [value, weight], name=f"{name}.product")
    node.outputs[0].name = f"{name}.out"
    graph.graph.insert_before(last, node)
    last.replace_input_with(0, node.outputs[0])
    return node.outputs[0]


def bound_by_memory(net):
    """Products that move more than they compute."""
    reference = widened(net, MEMORY)
    return Slow(reference, restored_at_load(reference), net)


def left_alone(net):
    """All but the heaviest products compressed."""
    reference = widened(net, HEAVY)
    kept = ("up.product", "down.product")
    heavy = lambda one: 1e-4 if one.name in kept else 0.0  # noqa: E731
    return Slow(reference, restored_at_load(reference, kept), net, heavy)


SLOW: Mapping[str, Callable[[Net], Slow]] = {
    "no-integer-kernel": without_kernel,
    "unfused-pairs": unfused,
    "weights-unpacked-at-every-run": unpacked,
    "small-operators": small,
    "memory-bound": bound_by_memory,
    "untouched-operators": left_alone,
}
"""By cause, what plants it."""

__all__ = ["NETS", "SLOW", "Slow"]
