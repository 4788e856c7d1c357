"""Integer products whose activations are quantized by their own range when the model runs.

A MatMul or Gemm becomes DynamicQuantizeLinear, MatMulInteger and the product with both scales,
which ONNX Runtime fuses into one kernel. No samples are needed, and no range can be exceeded; each
call pays for looking at its activations. Source: the ONNX operators DynamicQuantizeLinear-11 and
MatMulInteger-10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from packlight.compression.encoding.stored_values import Array, StoredValues
from packlight.compression.method import Method
from packlight.compression.qdq.integer_weights import Codes, Reader, grow, nearest, rounded
from packlight.compression.sites.integer_sites import integer_sites
from packlight.compression.sites.weight_sites import weight_defect
from packlight.records.configs import DynamicInt8
from packlight.records.storage import IntegerArithmetic, Note
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

BIAS = 2
RECURRENT = "ONNX has no recurrent operator that computes in integers"
KEPT = {
    "Conv": "ConvInteger has no fast kernel in ONNX Runtime; 'static' has one",
    "ConvTranspose": "ONNX has no transposed convolution in integers",
    "Gather": "it looks up and multiplies nothing",
    "LSTM": RECURRENT,
    "GRU": RECURRENT,
    "RNN": RECURRENT,
}
"""Operators with weights that stay in float, and why."""


def sites(graph: ir.Model, config: DynamicInt8) -> Iterator[Reader | Refusal]:
    """Every operator with arithmetic on weights, or why it stays in float."""
    del config
    for found in integer_sites(graph, lambda node: KEPT.get(node.op_type, "")):
        yield found if isinstance(found, Refusal) else Reader(found[1], np.zeros(1, np.float32))


def apply(
    graph: ir.Model, found: Sequence[Reader], calibrator: Calibrator, config: DynamicInt8
) -> list[Change | Refusal]:
    """Round every weight, then put integer products in the place of all operators."""
    learns = config.rounding == "gptq"
    alone = [one for one in found if learns and len(one.weight.value.uses()) == 1]
    if learns and config.bias:
        grow(alone)
    own = {}
    if not calibrator.sizes_only:
        own = dict(zip(map(id, alone), rounded(graph, alone, calibrator, config), strict=True))
    maker, done = Products(StoredValues(graph)), list[Change | Refusal]()
    for reader in found:
        codes = own.get(id(reader)) or nearest(reader, config)
        maker.replace(reader, codes)
        size = reader.weight.tensor.nbytes
        storage = IntegerArithmetic(
            activation_bits=8,
            ranges="call",
            bits=config.bits,
            granularity=config.granularity,
            rounding="gptq" if id(reader) in own else "nearest",
            notes=(Note("int16-safe"),) if config.portable else (),
        )
        left = size // 4 + codes.scale.nbytes
        done.append(Change(reader.operator, "dynamic", storage, size, left))
    return done


class Products:
    """Puts integer products in the place of operators; a value is quantized once in each graph.

    Args:
        stock: keeps codes and scales.
    """

    def __init__(self, stock: StoredValues) -> None:
        self.stock = stock
        self.quantized: dict[tuple[int, int], Sequence[ir.Value]] = {}

    def replace(self, reader: Reader, made: Codes) -> None:
        """Let MatMulInteger compute what an operator computed."""
        node, stem = reader.node, str(reader.weight.value.name)
        graph, value = node.graph, node.inputs[0]
        assert isinstance(graph, ir.Graph)
        assert value is not None
        turned = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
        codes: Array = np.ascontiguousarray(made.codes.T if turned else made.codes)
        weight = self.stock.store(graph, f"{stem}.codes", codes)
        scale = self.stock.store(graph, f"{stem}.scale", made.scale)
        activation, step, zero = self.codes_of(value, node, graph)
        total = self.add(node, "MatMulInteger", [activation, weight, zero], "sum")
        real = self.add(node, "Cast", [total], "real", {"to": int(ir.DataType.FLOAT)})
        both = self.add(node, "Mul", [step, scale], "scales")
        result = self.add(node, "Mul", [real, both], "scaled")
        bias = node.inputs[BIAS] if len(node.inputs) > BIAS else None
        if bias is not None:
            result = self.add(node, "Add", [result, bias], "biased")
        self.finish(node, result)

    def codes_of(self, value: ir.Value, node: ir.Node, graph: ir.Graph) -> Sequence[ir.Value]:
        """Codes, scale and zero point of an activation, made where it is first needed."""
        key = (id(graph), id(value))
        if key not in self.quantized:
            made = ir.node(
                "DynamicQuantizeLinear", [value], num_outputs=3, name=f"{value.name}.quantize"
            )
            for output, part in zip(made.outputs, ("codes", "step", "zero"), strict=True):
                output.name = self.stock.fresh(f"{value.name}.{part}")
            graph.insert_before(node, made)
            self.quantized[key] = made.outputs
        return self.quantized[key]

    def add(
        self,
        near: ir.Node,
        kind: str,
        inputs: Sequence[ir.Value],
        part: str,
        attributes: dict[str, int] | None = None,
    ) -> ir.Value:
        """One operator in front of another; what it gives."""
        made = ir.node(kind, inputs, attributes, name=f"{near.name}.{part}")
        made.outputs[0].name = self.stock.fresh(f"{near.outputs[0].name}.{part}")
        assert isinstance(near.graph, ir.Graph)
        near.graph.insert_before(near, made)
        result: ir.Value = made.outputs[0]
        return result

    def finish(self, node: ir.Node, result: ir.Value) -> None:
        """Take an operator out, and give its output's name to what replaces it."""
        graph, output = node.graph, node.outputs[0]
        assert isinstance(graph, ir.Graph)
        name = str(output.name)
        result.type, result.shape = output.type, output.shape
        ir.convenience.replace_all_uses_with(output, result, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        output.name, result.name = f"{name}.before", name


def unfit(reader: Reader) -> Refusal | None:
    """Why the numbers of a weight cannot be used; None where they can."""
    return weight_defect(reader.weight)


METHOD = Method(
    summary="multiply in 8-bit integers, activations by their own range at every call",
    config=DynamicInt8,
    opset=lambda _: 13,
    sites=sites,
    apply=apply,
    uses_data=lambda config: config.rounding == "gptq",
    inspect=unfit,
)
"""Replace products with stored matrices by integer products."""
