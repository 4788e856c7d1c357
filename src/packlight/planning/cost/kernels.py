"""Time on a measured device: kernel by kernel, for every choice of how operators compute.

Each kernel is priced once as it is, once between codes of 8 bits and, where it is a product, once
with a weight in blocks of 4 bits; so are the conversions where codes and floats would meet. A
choice is then a sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.backends.capabilities import capabilities, policy
from packlight.backends.onnxruntime.kernel_call import (
    BYTES,
    blocked_call,
    conversion_call,
    integer_call,
)
from packlight.benchmarking import named_kernel_calls
from packlight.benchmarking.latency import CallLatencies
from packlight.model import Model, nodes
from packlight.records.device import Device
from packlight.records.measurement import Measurement
from packlight.records.profile import Profile

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

NOWHERE = -1
"""The place of what belongs to no operator; it computes in floats."""


@dataclass(frozen=True, slots=True)
class Value:
    """A computed value between operators.

    Attributes:
        numbers: in it.
        maker: place of the operator that gives it.
        readers: places of those that read it.
        opens: whether its maker gives floats of its own accord where nobody reads codes.
    """

    numbers: float
    maker: int
    readers: tuple[int, ...]
    opens: bool


class Kernels:
    """Times of the kernels of one model on a measured device.

    Args:
        model: simplified.
        profile: of it.
        device: with curves.
        names: of the operators; places count in them.

    Raises:
        ModelError: a shape is not known.
    """

    def __init__(
        self, model: Model, profile: Profile, device: Device, names: Sequence[str]
    ) -> None:
        places = {name: place for place, name in enumerate(names)}
        made = named_kernel_calls(model, profile)
        calls = [call for _, call, _ in made]
        self.place = np.array([places.get(name, NOWHERE) for name, _, _ in made], np.int64)
        self.times = np.array([times for _, _, times in made], np.float64)
        self.carriers = list(carriers(model, places))
        self.values = list(values(model, profile, places))
        around = sum(call.moved * times for _, call, times in made)
        meetings = [conversion_call(value.numbers, around, to_floats=to_floats)
                    for to_floats in (False, True) for value in self.values]  # fmt: skip
        rows = [*calls, *map(integer_call, calls), *map(blocked_call, calls), *meetings]
        alike = {call: place for place, call in enumerate(dict.fromkeys(rows))}
        self.which = np.array([alike[call] for call in rows], np.int64)
        self.priced = CallLatencies(list(alike), device)

    def latency(self, codes: Flags, blocks: Flags) -> Measurement:
        """Seconds of one run.

        Args:
            codes: (operators,) whether each product computes between codes of 8 bits.
            blocks: (operators,) whether each product restores blocks of 4 bits itself.
        """
        spread = [*map(bool, codes), False]  # the last is that of NOWHERE
        for place, makers in self.carriers:
            spread[place] = all(spread[maker] for maker in makers)
        in_code = np.array(spread)[self.place]
        in_block = np.append(blocks, False)[self.place] & ~in_code
        chosen = [self.times * which for which in (~in_code & ~in_block, in_code, in_block)]
        times = np.concatenate([*chosen, *self.met(spread)])
        return self.priced.total(np.bincount(self.which, times).astype(np.float64))

    def met(self, codes: Sequence[bool]) -> tuple[Floats, Floats]:
        """Whether each value is converted to codes, and to floats."""
        into, back = np.zeros(len(self.values)), np.zeros(len(self.values))
        for place, value in enumerate(self.values):
            read = [codes[reader] for reader in value.readers]
            into[place] = not codes[value.maker] and any(read)
            back[place] = codes[value.maker] and not value.opens and not all(read)
        return into, back


def carriers(model: Model, places: Mapping[str, int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Operators that pass codes on, in the order they run, with what they read."""
    pairs = policy("onnxruntime")
    carrying = {*pairs.integer_operators, *pairs.code_movers, *pairs.runtime.clipping}
    for node in nodes(model.graph):
        makers = [maker_of(value, places) for value in node.inputs if is_computed(value)]
        if node.op_type in carrying and makers and str(node.name) in places:
            yield places[str(node.name)], tuple(makers)


def values(model: Model, profile: Profile, places: Mapping[str, int]) -> Iterator[Value]:
    """Values that some operators read, of float numbers."""
    costs = {one.name: one for one in profile.operators}
    float_outputs = capabilities("onnxruntime").float_outputs
    found: dict[int, ir.Value] = {}
    for node in nodes(model.graph):
        found |= {id(value): value for value in node.inputs if value and is_computed(value)}
    for value in found.values():
        maker = value.producer()
        readers = [str(reader.name) for reader in value.consumers()]
        moved = (
            costs[readers[0]].activation_bytes_in
            if maker is None or str(maker.name) not in costs
            else costs[str(maker.name)].activation_bytes_out
        )
        if moved and value.dtype in (None, ir.DataType.FLOAT):
            yield Value(
                moved / BYTES["float32"],
                maker_of(value, places),
                tuple(places.get(reader, NOWHERE) for reader in readers),
                maker is not None and maker.op_type in float_outputs,
            )


def is_computed(value: ir.Value | None) -> bool:
    """Whether a value differs from run to run."""
    return value is not None and value.const_value is None


def maker_of(value: ir.Value | None, places: Mapping[str, int]) -> int:
    """The place of the operator that gives a value."""
    maker = None if value is None else value.producer()
    return places.get(str(maker.name), NOWHERE) if maker is not None else NOWHERE
