"""Errors of a model on x86 processors without VNNI, predicted on any machine.

There ONNX Runtime adds products of 8-bit codes in pairs of 16 bits, which saturate. The graph is
the one that ONNX Runtime fuses, so models of any tool can be checked; the sums of every kernel that
may saturate are emulated on the codes of samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from packlight.disk import scratch_folder
from packlight.model import Model, nodes, optional_input, producer_of, stored_tensor
from packlight.model.map_types import from_proto
from packlight.records.session import SessionOptions
from packlight.runtime.calls import Steps, native_options, start_with_options
from packlight.runtime.kernel_sums import (
    LARGEST_CODE,
    Codes,
    Operands,
    Weights,
    code_matrices,
    exact_product,
    may_saturate,
    saturating_operands,
    saturation_losses,
)
from packlight.runtime.kernel_times import GRAPH_FILE, session_source
from packlight.runtime.taps import stream

Array = NDArray[np.generic]
Energies = NDArray[np.float64]
OPTIONS = SessionOptions()
MAX_ROWS = 64
"""Rows of each matrix to compute at each call; neighbors in an image are redundant."""

PASSED_THROUGH = ("QuantizeLinear", "DequantizeLinear", "Relu", "Clip")
"""Operators between an operator and the output of the kernel that it becomes."""


@dataclass(frozen=True, slots=True)
class Saturation:
    """Saturation of one operator on x86 processors without VNNI.

    Attributes:
        operator: name in the original model, or of the kernel where it has none there.
        kernel: type of the kernel that it becomes.
        pairs: of neighboring weights.
        risky: number of pairs that leave 16 bits for some codes; with 0 any input is safe.
        sums: computed on samples; 0 without samples.
        saturated: number of sums that saturated.
        noise: energy of the error, relative to the energy of the exact sums about their mean.
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
        """True if nothing saturates on any input."""
        return self.risky == 0

    @property
    def share(self) -> float:
        """Share of the sums on samples that saturated; 0 without samples."""
        return self.saturated / max(1, self.sums)


def saturation(
    model: Model,
    samples: Sequence[Steps] = (),
    state: Mapping[str, str] | None = None,
    options: SessionOptions = OPTIONS,
    *,
    max_rows: int = MAX_ROWS,
) -> tuple[Saturation, ...]:
    """Predict the saturation of every integer operator on x86 processors without VNNI.

    Args:
        model: of any tool, in the form that is shipped.
        samples: to compute sums on; without any, only risky pairs are counted.
        state: by output, the input that it feeds at the next step.
        options: of the session that computes the codes, with the runtime's arithmetic.
        max_rows: rows of each matrix to compute at each call; 0 computes all.

    Returns:
        One record for each kernel whose sums can saturate, in the order of the graph; none for a
        model that does not compute in integers.

    Raises:
        ModelError: ONNX Runtime does not take the model.
        TaskError: a sample does not fit.
    """
    graph = fused(model, options)
    names = operators_of_kernels(model.graph, graph.graph)
    products = [
        Product(node, names[index], read)
        for index, node in enumerate(nodes(graph.graph))
        for read in saturating_operands(node)
    ]
    streamed = list(dict.fromkeys(name for product in products for name in product.names()))
    if products and samples:
        for values in stream(graph, streamed, samples, state or {}, options):
            for product in products:
                product.update(values, max_rows)
    return tuple(product.result() for product in products)


def fused(model: Model, options: SessionOptions) -> Model:
    """The model with the integer kernels that ONNX Runtime fuses.

    No layout is chosen for this processor, so the model runs on any.
    """
    native = native_options(options)
    native.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    with scratch_folder() as folder:
        native.optimized_model_filepath = str(folder / GRAPH_FILE)
        start_with_options(session_source(model, folder), model.name, options, native)
        graph = from_proto(onnx.load(folder / GRAPH_FILE))
    return Model(graph, model.name)


def operators_of_kernels(before: ir.Model, after: ir.Model) -> dict[int, str]:
    """Name of the operator that each kernel computes, by the kernel's index."""
    producers = {value.name: node for node in nodes(before) for value in node.outputs}
    names = {node.name for node in nodes(before)}
    operators = {}
    for index, node in enumerate(nodes(after)):
        operator = producers.get(node.outputs[0].name)
        while operator is not None and operator.op_type in PASSED_THROUGH:
            operator = producer_of(operator.inputs[0])
        operators[index] = str(node.name or node.outputs[0].name)
        if operator is not None and operators[index] not in names:
            operators[index] = str(operator.name)
    return operators


@dataclass(slots=True, eq=False)
class Product:
    """One kernel and its sums so far.

    Attributes:
        node: the kernel.
        operator: that it computes.
        read: the inputs that it multiplies.
        pairs: counts of its safe and risky pairs of weights.
        sums: computed.
        saturated: number of sums that saturated.
        energies: of the error, and of the exact sums about their mean.
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
        """Names of the computed values that it reads."""
        for index in (self.read.codes, self.read.weight, self.read.zero):
            value = optional_input(self.node, index)
            if value is not None and stored_tensor(value) is None:
                yield str(value.name)

    def array(self, index: int, values: Mapping[str, Array]) -> Array | None:
        """Array of one of its inputs at a call; None where it is left out or not computed."""
        value = optional_input(self.node, index)
        if value is None:
            return None
        tensor = stored_tensor(value)
        if tensor is None:
            return values.get(str(value.name))
        return tensor.numpy()

    def count_pairs(self, weight: Weights) -> None:
        """Count the pairs of weights (groups, in, out)."""
        masks = [may_saturate(part) for part in weight]
        bad = sum(int(np.count_nonzero(mask)) for mask in masks)
        self.pairs = [sum(mask.size for mask in masks) - bad, bad]

    def update(self, values: Mapping[str, Array], max_rows: int) -> None:
        """Compute the sums of one call."""
        codes = self.array(self.read.codes, values)
        weight = self.array(self.read.weight, values)
        zero = self.array(self.read.zero, values)
        if codes is None or weight is None or codes.dtype == np.int8:
            return
        weights = self.read.layout(self.node, weight)
        if not any(self.pairs):
            self.count_pairs(weights)
        if self.read.floats:
            codes = _quantize_by_range(np.asarray(codes, np.float32))
        zero_point = 0 if zero is None else int(zero.reshape(-1)[0])
        rows = code_matrices(self.node, codes, weight, zero_point, max_rows)
        for group in range(max(len(rows), len(weights))):
            self.add(rows[group % len(rows)], weights[group % len(weights)])

    def add(self, rows: Codes, weight: Weights) -> None:
        """Compute the sums of one matrix."""
        change, count = saturation_losses(rows, weight)
        total = exact_product(rows, weight).astype(np.float64)
        self.sums += total.size
        self.saturated += int(np.count_nonzero(count))
        # one row has no mean for each column
        deviation = total - (total.mean(axis=0) if len(total) > 1 else total.mean())
        self.energies += [np.square(change, dtype=np.float64).sum(), np.square(deviation).sum()]

    def result(self) -> Saturation:
        """The record of all sums so far."""
        error, signal = self.energies
        noise = float(error / signal) if signal else float(error > 0)
        return Saturation(
            self.operator, self.node.op_type, sum(self.pairs), self.pairs[1],
            self.sums, self.saturated, noise,
        )  # fmt: skip


def _quantize_by_range(value: NDArray[np.float32]) -> Codes:
    low = min(float(value.min()), 0.0)
    high = max(float(value.max()), 0.0)
    scale = np.float32((high - low) / LARGEST_CODE) or np.float32(1)
    zero = np.rint(-low / scale)
    return np.asarray(np.clip(np.rint(value / scale) + zero, 0, LARGEST_CODE), np.uint8)
