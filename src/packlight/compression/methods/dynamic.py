"""Integer products whose activations are quantized by their own range when the model runs.

A MatMul or Gemm becomes DynamicQuantizeLinear, MatMulInteger and the product with both scales,
which ONNX Runtime fuses into one kernel. No samples are needed, and no range can be exceeded; each
call pays for looking at its activations. An LSTM becomes ONNX Runtime's own DynamicQuantizeLSTM.
Source: the ONNX operators DynamicQuantizeLinear-11 and MatMulInteger-10; ContribOperators.md of
ONNX Runtime (com.microsoft.DynamicQuantizeLSTM).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx_ir as ir

from packlight.compression.encoding.stored_values import StoredValues
from packlight.compression.method import Method
from packlight.compression.qdq.integer_lstm import lstm_refusal, recurrence_weights, replace_lstm
from packlight.compression.qdq.integer_weights import (
    Codes,
    Reader,
    add_biases,
    round_by_samples,
    round_to_nearest,
    weight_granularity,
)
from packlight.compression.qdq.shared_weights import refuse_divided_weights
from packlight.compression.sites.integer_sites import integer_sites
from packlight.compression.sites.weight_sites import MIN_WEIGHT_SIZE, Weight, weight_defect
from packlight.model import owning_graph
from packlight.records.configs import DynamicInt8
from packlight.records.storage import IntegerArithmetic, Note, RoundingMethod
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

BIAS = 2
LSTM = "LSTM"
NO_GRU = (
    "ONNX Runtime has no GRU in integers; as a Scan of integer products one of 128 numbers took "
    "2.9 times the time of float, one of 256 numbers 1.1 times; from about 512 numbers on it would "
    "gain (0.53 times), which packlight does not write yet"
)
NO_RNN = "neither ONNX nor ONNX Runtime has an RNN in integers"
ONNX_LSTM = "ONNX has no recurrent operator that computes in integers"
FLOAT_OPERATORS = {
    "Conv": "ConvInteger has no fast kernel in ONNX Runtime; 'static' has one",
    "ConvTranspose": "ONNX has no transposed convolution in integers",
    "Gather": "it looks up and multiplies nothing",
    "GRU": NO_GRU,
    "RNN": NO_RNN,
}
"""Operators with weights that stay in float, and why."""


@dataclass(frozen=True, slots=True)
class Site:
    """An operator that can multiply in integers.

    Attributes:
        readers: it with each of its weights; an LSTM has two.
    """

    readers: tuple[Reader, ...]

    @property
    def node(self) -> ir.Node:
        """The operator."""
        return self.readers[0].node

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return str(self.node.name)


def sites(graph: ir.Model, config: DynamicInt8) -> Iterator[Site | Refusal]:
    """Every operator with arithmetic on weights, and refusals of those that stay in float."""
    recurrences = recurrence_weights(graph)
    for site in integer_sites(graph, partial(_float_reason, config)):
        if isinstance(site, Refusal):
            yield site
            continue
        node, weight = site
        recurrence: Weight | Refusal = weight
        if node.op_type == LSTM:
            recurrence = lstm_refusal(node) or recurrences[id(node)]
        if isinstance(recurrence, Refusal):
            yield recurrence
        else:
            yield Site(tuple(map(_reader, dict.fromkeys((weight, recurrence)))))


def _float_reason(config: DynamicInt8, node: ir.Node) -> str:
    if node.op_type == LSTM and config.runtime == "onnx":
        return ONNX_LSTM
    return FLOAT_OPERATORS.get(node.op_type, "")


def _reader(weight: Weight) -> Reader:
    return Reader(weight, np.zeros(1, np.float32))


def _defect(site: Site) -> Refusal | None:
    """Reason why the numbers of a weight cannot be used; None where all can."""
    defects = (weight_defect(reader.weight) for reader in site.readers)
    return next((defect for defect in defects if defect is not None), None)


def apply(
    graph: ir.Model, sites: Sequence[Site], calibrator: Calibrator, config: DynamicInt8
) -> list[Change | Refusal]:
    """Round every weight, then put integer products in the place of all operators."""
    sites, divided = _undivided(sites)
    learns = config.rounding == "gptq"
    readers = [reader for site in sites for reader in site.readers]
    observed = [reader for reader in readers if learns and reader.has_own_inputs]
    if learns and config.bias:
        add_biases(observed)
    learned = round_by_samples(graph, observed, calibrator, config)
    products = Products(StoredValues(graph))
    changes: list[Change | Refusal] = [*divided]
    counted: set[int] = set()
    for site in sites:
        rounded = [
            learned.get(reader) or round_to_nearest(reader, config) for reader in site.readers
        ]
        if site.node.op_type == LSTM:
            replace_lstm(graph, site.readers, rounded, products.stock)
        else:
            products.replace(site.readers[0], rounded[0])
        for reader, codes in zip(site.readers, rounded, strict=True):
            rounding: RoundingMethod = "gptq" if reader in learned else "nearest"
            change = _change(reader, codes, rounding, config)
            if id(reader.weight.value) in counted:  # stored once for all its readers
                change = replace(change, before=0, after=0)
            counted.add(id(reader.weight.value))
            changes.append(change)
    return changes


def _undivided(sites: Sequence[Site]) -> tuple[list[Site], list[Refusal]]:
    """Sites whose weights nobody reads in float too, and refusals of the remaining ones."""
    readers = [reader for site in sites for reader in site.readers]
    kept, refusals = refuse_divided_weights(readers)
    whole = set(map(id, kept))
    return [site for site in sites if all(id(r) in whole for r in site.readers)], refusals


def _change(reader: Reader, codes: Codes, rounding: RoundingMethod, config: DynamicInt8) -> Change:
    storage = IntegerArithmetic(
        activation_bits=8,
        ranges="call",
        bits=config.bits,
        granularity=weight_granularity(config, reader.node),
        rounding=rounding,
        notes=(Note("int16-safe"),) * config.portable,
    )
    before = reader.weight.tensor.nbytes
    return Change(reader.operator, "dynamic", storage, before, before // 4 + codes.scale.nbytes)


class Products:
    """Puts integer products in the place of operators; a value is quantized once in each graph.

    Args:
        stock: keeps codes and scales.
    """

    def __init__(self, stock: StoredValues) -> None:
        self.stock = stock
        self.quantized: dict[tuple[int, int], Sequence[ir.Value]] = {}

    def replace(self, reader: Reader, rounded: Codes) -> None:
        """Let MatMulInteger compute what an operator computed."""
        node = reader.node
        stem = reader.weight.value.name
        graph = node.graph
        value = node.inputs[0]
        assert isinstance(graph, ir.Graph)
        assert value is not None
        codes = rounded.codes
        if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
            codes = codes.T
        home = owning_graph(reader.weight.value)
        weight = self.stock.store(home, f"{stem}.codes", np.ascontiguousarray(codes))
        scale = self.stock.store(home, f"{stem}.scale", rounded.scale)
        activation, step, zero = self.codes_of(value, node, graph)
        total = self.add(node, "MatMulInteger", [activation, weight, zero], "sum")
        real = self.add(node, "Cast", [total], "real", {"to": int(ir.DataType.FLOAT)})
        scales = self.add(node, "Mul", [step, scale], "scales")
        result = self.add(node, "Mul", [real, scales], "scaled")
        for bias in node.inputs[BIAS:]:
            if bias is not None:
                result = self.add(node, "Add", [result, bias], "biased")
        self.finish(node, result)

    def codes_of(self, value: ir.Value, node: ir.Node, graph: ir.Graph) -> Sequence[ir.Value]:
        """Codes, scale and zero point of an activation, made where it is first needed."""
        key = (id(graph), id(value))
        if key not in self.quantized:
            quantizer = ir.node(
                "DynamicQuantizeLinear", [value], num_outputs=3, name=f"{value.name}.quantize"
            )
            for output, part in zip(quantizer.outputs, ("codes", "step", "zero"), strict=True):
                output.name = self.stock.fresh(f"{value.name}.{part}")
            graph.insert_before(node, quantizer)
            self.quantized[key] = quantizer.outputs
        return self.quantized[key]

    def add(
        self,
        successor: ir.Node,
        kind: str,
        inputs: Sequence[ir.Value],
        part: str,
        attributes: dict[str, int] | None = None,
    ) -> ir.Value:
        """Add an operator in front of another, and give its result."""
        node = ir.node(kind, inputs, attributes, name=f"{successor.name}.{part}")
        node.outputs[0].name = self.stock.fresh(f"{successor.outputs[0].name}.{part}")
        assert isinstance(successor.graph, ir.Graph)
        successor.graph.insert_before(successor, node)
        result: ir.Value = node.outputs[0]
        return result

    def finish(self, node: ir.Node, result: ir.Value) -> None:
        """Take an operator out, and give its output's name to what replaces it."""
        graph = node.graph
        output = node.outputs[0]
        assert isinstance(graph, ir.Graph)
        name = str(output.name)
        result.type = output.type
        result.shape = output.shape
        ir.convenience.replace_all_uses_with(output, result, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        output.name = f"{name}.before"
        result.name = name


METHOD = Method(
    summary="multiply in 8-bit integers, activations by their own range at every call",
    config=DynamicInt8,
    opset=lambda _: 13,
    sites=sites,
    apply=apply,
    uses_data=lambda config: config.rounding == "gptq",
    inspect=_defect,
    least_size=MIN_WEIGHT_SIZE,
)
"""Replace products with stored matrices by integer products."""
