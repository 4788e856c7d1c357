"""Latency on a measured device, kernel by kernel, for every precision of the operators.

Each kernel is priced once as it is, once between codes of 8 bits and, where it is a product, once
with a weight in blocks of 4 bits; so is each conversion between codes and floats. The latency is
then a sum.
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
"""Row of what belongs to no operator; it computes in floats."""


@dataclass(frozen=True, slots=True)
class OperatorValue:
    """A computed value between operators.

    Attributes:
        numbers: in it.
        maker: row of the operator that computes it.
        readers: rows of the operators that read it.
        opens: whether its maker gives floats of its own accord where nobody reads codes.
    """

    numbers: float
    maker: int
    readers: tuple[int, ...]
    opens: bool


class Kernels:
    """Latencies of the kernels of one model on a measured device.

    Args:
        model: simplified.
        profile: of the model.
        device: with curves.
        names: of the operators, in the order of rows.

    Raises:
        ModelError: a shape is not known.
    """

    def __init__(
        self, model: Model, profile: Profile, device: Device, names: Sequence[str]
    ) -> None:
        rows = {name: row for row, name in enumerate(names)}
        named = named_kernel_calls(model, profile)
        calls = [call for _, call, _ in named]
        self.rows = np.array([rows.get(name, NOWHERE) for name, _, _ in named], np.int64)
        self.times = np.array([times for _, _, times in named], np.float64)
        self.code_movers = list(code_movers(model, rows))
        self.values = list(operator_values(model, profile, rows))
        moved = sum(call.moved * times for _, call, times in named)
        conversions = [conversion_call(value.numbers, moved, to_floats=to_floats)
                       for to_floats in (False, True) for value in self.values]  # fmt: skip
        candidates = [*calls, *map(integer_call, calls), *map(blocked_call, calls), *conversions]
        index = {call: i for i, call in enumerate(dict.fromkeys(candidates))}
        self.indices = np.array([index[call] for call in candidates], np.int64)
        self.priced = CallLatencies(list(index), device)

    def latency(self, codes: Flags, blocks: Flags) -> Measurement:
        """Seconds of one run.

        Args:
            codes: (operators,) whether each product computes between codes of 8 bits.
            blocks: (operators,) whether each product restores blocks of 4 bits itself.
        """
        spread = [*map(bool, codes), False]  # the last is that of NOWHERE
        for row, makers in self.code_movers:
            spread[row] = all(spread[maker] for maker in makers)
        in_code = np.array(spread)[self.rows]
        in_block = np.append(blocks, False)[self.rows] & ~in_code
        kernels = [self.times * used for used in (~in_code & ~in_block, in_code, in_block)]
        times = np.concatenate([*kernels, *self.conversions(spread)])
        return self.priced.total(np.bincount(self.indices, times).astype(np.float64))

    def conversions(self, codes: Sequence[bool]) -> tuple[Floats, Floats]:
        """(values,) 1 where a value is converted to codes, and the same for floats."""
        to_codes = np.zeros(len(self.values))
        to_floats = np.zeros(len(self.values))
        for i, value in enumerate(self.values):
            read = [codes[reader] for reader in value.readers]
            to_codes[i] = not codes[value.maker] and any(read)
            to_floats[i] = codes[value.maker] and not value.opens and not all(read)
        return to_codes, to_floats


def code_movers(model: Model, rows: Mapping[str, int]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Operators that pass codes on, in the order they run, with the rows that they read."""
    pairs = policy("onnxruntime")
    types = {*pairs.integer_operators, *pairs.code_movers, *pairs.runtime.clipping}
    for node in nodes(model.graph):
        makers = [maker_row(value, rows) for value in node.inputs if is_computed(value)]
        if node.op_type in types and makers and str(node.name) in rows:
            yield rows[str(node.name)], tuple(makers)


def operator_values(
    model: Model, profile: Profile, rows: Mapping[str, int]
) -> Iterator[OperatorValue]:
    """Values of float numbers that some operators read."""
    costs = {cost.name: cost for cost in profile.operators}
    float_outputs = capabilities("onnxruntime").float_outputs
    computed: dict[int, ir.Value] = {}
    for node in nodes(model.graph):
        computed |= {id(value): value for value in node.inputs if value and is_computed(value)}
    for value in computed.values():
        maker = value.producer()
        readers = [str(reader.name) for reader in value.consumers()]
        if maker is None or str(maker.name) not in costs:
            moved = costs[readers[0]].activation_bytes_in
        else:
            moved = costs[str(maker.name)].activation_bytes_out
        if moved and value.dtype in (None, ir.DataType.FLOAT):
            yield OperatorValue(
                moved / BYTES["float32"],
                maker_row(value, rows),
                tuple(rows.get(reader, NOWHERE) for reader in readers),
                maker is not None and maker.op_type in float_outputs,
            )


def is_computed(value: ir.Value | None) -> bool:
    """Check that a value differs from run to run."""
    return value is not None and value.const_value is None


def maker_row(value: ir.Value | None, rows: Mapping[str, int]) -> int:
    """Row of the operator that computes a value."""
    maker = value and value.producer()
    return rows.get(str(maker.name), NOWHERE) if maker else NOWHERE
