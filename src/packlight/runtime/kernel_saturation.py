"""Where a model goes wrong on x86 processors without VNNI, told on any machine.

There ONNX Runtime adds products of 8-bit codes in pairs of 16 bits, which saturate. The graph is
taken as ONNX Runtime fuses it, so models of any tool can be looked at; the sums of every kernel
that may saturate are computed as that instruction does, on the codes of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from packlight.model import Model, nodes, stored_tensor
from packlight.records.session import SessionOptions
from packlight.runtime.calls import Steps, started
from packlight.runtime.exact_products import given
from packlight.runtime.kernel_sums import Operands, matrices, operands
from packlight.runtime.kernel_times import GRAPH, readable
from packlight.runtime.options import native_options
from packlight.runtime.pair_sums import LARGEST, Codes, Weights, exact_product, lost, risky
from packlight.runtime.taps import stream

Array = NDArray[np.generic]
Energies = NDArray[np.float64]
OPTIONS = SessionOptions()
PLACES = 64
"""Rows of each matrix that are computed at each call; neighbours in an image tell little new."""

BEHIND = ("QuantizeLinear", "DequantizeLinear", "Relu", "Clip")
"""What lies between an operator and the output of the kernel that it becomes."""


@dataclass(frozen=True, slots=True)
class Saturation:
    """How one operator fares on x86 processors without VNNI.

    Attributes:
        operator: name in the model given, or of the kernel where that has none there.
        kernel: type of the kernel that it becomes.
        pairs: of neighbouring weights.
        risky: how many of them leave 16 bits for some codes; with 0 it is safe on any input.
        sums: computed on samples; 0 where none were looked at.
        saturated: how many of them lost something.
        noise: energy of what they lost, relative to the energy of the exact sums about their mean.
    """

    operator: str
    kernel: str
    pairs: int
    risky: int
    sums: int = 0
    saturated: int = 0
    noise: float = 0.0

    @property
    def safe(self) -> bool:
        """Whether nothing saturates, whatever the model is fed."""
        return self.risky == 0

    @property
    def share(self) -> float:
        """Share of the sums on samples that lost something; 0 where none were looked at."""
        return self.saturated / self.sums if self.sums else 0.0


def saturation(
    model: Model,
    samples: Sequence[Steps] = (),
    state: Mapping[str, str] | None = None,
    options: SessionOptions = OPTIONS,
    *,
    places: int = PLACES,
) -> tuple[Saturation, ...]:
    """How every operator that computes in integers fares on x86 processors without VNNI.

    Args:
        model: of any tool, as it would be shipped.
        samples: whose codes are added up; without any, only what is possible is told.
        state: by output, the input that it feeds at the next step.
        options: of the session that gives the codes, whose arithmetic is the runtime's.
        places: rows of each matrix that are computed at each call; 0 computes all.

    Returns:
        One for each kernel whose sums saturate for some weights and codes, in the order of the
        graph; none for a model that does not compute in integers.

    Raises:
        ModelError: ONNX Runtime does not take the model.
        TaskError: a sample does not fit.
    """
    graph = fused(model, options)
    names = named(model.graph, graph.graph)
    products = [
        Product(node, names[index], read)
        for index, node in enumerate(nodes(graph.graph))
        for read in operands(node)
    ]
    watched = list(dict.fromkeys(name for one in products for name in one.names()))
    if products and samples:
        for seen in stream(graph, watched, samples, state or {}, options):
            for product in products:
                product.update(seen, places)
    return tuple(product.result() for product in products)


def fused(model: Model, options: SessionOptions) -> Model:
    """The model with the integer kernels that ONNX Runtime makes of it.

    Operators are fused and nothing is laid out for this processor, so it runs on others too.
    """
    told = native_options(options)
    told.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with TemporaryDirectory(prefix="packlight-") as name:
        folder = Path(name)
        told.optimized_model_filepath = str(folder / GRAPH)
        started(readable(model, folder), model.name, options, told)
        graph = ir.from_proto(onnx.load(folder / GRAPH))
    return Model(graph, model.name)


def named(before: ir.Model, after: ir.Model) -> dict[int, str]:
    """The operator of a model that each kernel computes, by the kernel's place."""
    made = {value.name: node for node in nodes(before) for value in node.outputs}
    known = {node.name for node in nodes(before)}
    found = {}
    for index, node in enumerate(nodes(after)):
        first = made.get(node.outputs[0].name)
        while first is not None and first.op_type in BEHIND:
            source = first.inputs[0]
            first = None if source is None else source.producer()
        own = str(node.name or node.outputs[0].name)
        found[index] = own if first is None or own in known else str(first.name)
    return found


@dataclass(slots=True, eq=False)
class Product:
    """One kernel and what was seen of it.

    Attributes:
        node: the kernel.
        operator: that it computes.
        read: which of its inputs are multiplied.
        pairs: of its weights, by whether they are risky.
        sums: computed.
        saturated: how many of them lost something.
        energies: of what was lost and of what the sums are about their mean.
    """

    node: ir.Node
    operator: str
    read: Operands
    pairs: list[int] = field(default_factory=lambda: [0, 0])
    sums: int = 0
    saturated: int = 0
    energies: Energies = field(default_factory=lambda: np.zeros(2))

    def __post_init__(self) -> None:
        weight = self.array(self.read.weight, {})
        if weight is not None:
            self.count_pairs(self.read.layout(self.node, weight))

    def names(self) -> Iterator[str]:
        """Of the values that have to be looked at."""
        for index in (self.read.codes, self.read.weight, self.read.zero):
            value = given(self.node, index) if index >= 0 else None
            if value is not None and stored_tensor(value) is None:
                yield str(value.name)

    def array(self, index: int, seen: Mapping[str, Array]) -> Array | None:
        """One of its inputs at a call; None where it is not given, or was not computed."""
        value = given(self.node, index) if index >= 0 else None
        if value is None:
            return None
        tensor = stored_tensor(value)
        return seen.get(str(value.name)) if tensor is None else tensor.numpy()

    def count_pairs(self, weight: Weights) -> None:
        """Count the pairs of weights (groups, in, out)."""
        masks = [risky(part) for part in weight]
        bad = sum(int(np.count_nonzero(mask)) for mask in masks)
        self.pairs = [sum(mask.size for mask in masks) - bad, bad]

    def update(self, seen: Mapping[str, Array], places: int) -> None:
        """Compute the sums of one call."""
        codes, weight = self.array(self.read.codes, seen), self.array(self.read.weight, seen)
        zero = self.array(self.read.zero, seen)
        if codes is None or weight is None or codes.dtype == np.int8:
            return
        turned = self.read.layout(self.node, weight)
        if not any(self.pairs):
            self.count_pairs(turned)
        if self.read.floats:
            codes = coded(np.asarray(codes, np.float32))
        point = 0 if zero is None else int(zero.reshape(-1)[0])
        rows = matrices(self.node, codes, weight, point, places)
        for group in range(max(len(rows), len(turned))):
            self.add(rows[group % len(rows)], turned[group % len(turned)])

    def add(self, rows: Codes, weight: Weights) -> None:
        """Compute the sums of one matrix."""
        change, count = lost(rows, weight)
        total = exact_product(rows, weight).astype(np.float64)
        self.sums += total.size
        self.saturated += int(np.count_nonzero(count))
        middle = total.mean(axis=0) if len(total) > 1 else total.mean()
        apart = total - middle  # of one row there is no mean for each column
        self.energies += [np.square(change, dtype=np.float64).sum(), np.square(apart).sum()]

    def result(self) -> Saturation:
        """What was found."""
        gone, kept = self.energies
        noise = float(gone / kept) if kept else float(gone > 0)
        kernel, (good, bad) = self.node.op_type, self.pairs
        return Saturation(self.operator, kernel, good + bad, bad, self.sums, self.saturated, noise)


def coded(value: NDArray[np.float32]) -> Codes:
    """Codes of a float activation by its own range, as DynamicQuantizeLinear gives them."""
    low, high = min(float(value.min()), 0.0), max(float(value.max()), 0.0)
    scale = np.float32((high - low) / LARGEST) or np.float32(1)
    zero = np.rint(-low / scale)
    return np.asarray(np.clip(np.rint(value / scale) + zero, 0, LARGEST), np.uint8)
