"""How a model computes as it is: which operators run in integers already, and which not at all.

Operators of integers say so by their types. Others do where they stand between DequantizeLinear and
QuantizeLinear as ONNX Runtime's rules want it, which the models of measured devices follow too;
those of other runtimes differ in single operators.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from packlight.backends.onnxruntime.fusion import codes, cut_off, integers
from packlight.backends.onnxruntime.graph_view import Fusion
from packlight.compression.sites.weight_sites import SMALLEST
from packlight.model import nodes, stored_tensor
from packlight.profiling import parameters
from packlight.profiling.activation_arena import arena_bytes
from packlight.profiling.counts import names
from packlight.profiling.load_time import constants
from packlight.profiling.rows import bytes_of
from packlight.records.profile import OperatorCost, Profile
from packlight.records.variant import Refusal

CODED = names(
    "ConvInteger DynamicQuantizeLSTM DynamicQuantizeMatMul MatMulInteger MatMulIntegerToFloat "
    "QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat "
    "QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMatMul QLinearMul "
    "QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere"
)
"""Operators that read codes, or make them for themselves; what they move is counted as it is."""

PAIRS = names("QuantizeLinear DequantizeLinear")
RESTORE = "DequantizeLinear"


@dataclass(frozen=True, slots=True)
class Present:
    """How the operators of a model compute, by their names.

    Attributes:
        coded: those that compute in integers by their type.
        grouped: those that do so for what stands around them.
        gone: those that have no kernel of their own then.
        arena: bytes for activations; NaN where they are not known.
    """

    coded: frozenset[str]
    grouped: frozenset[str]
    gone: frozenset[str]
    arena: float

    @property
    def integer(self) -> frozenset[str]:
        """All that compute in integers, or are part of what does."""
        return self.coded | self.grouped | self.gone


def present(graph: ir.Model, profile: Profile) -> Present:
    """How a model computes.

    Args:
        graph: of the model; it stays as it is.
        profile: of it.
    """
    every = list(nodes(graph))
    coded = frozenset(str(node.name) for node in every if node.op_type in CODED)
    needed = profile.totals.get("arena_bytes") or profile.totals.get("peak_activation_bytes")
    arena = needed.value if needed else math.nan
    if not any(node.op_type in PAIRS for node in every):
        return Present(coded, frozenset(), frozenset(), arena)
    found = grouped(graph, every)
    if found.integer and not math.isnan(arena):
        arena = min(arena, in_codes(graph, profile, found))
    inside, gone = ({str(node.name) for node in which} for which in (found.integer, found.gone))
    return Present(coded, frozenset(inside), frozenset(gone), arena)


def grouped(graph: ir.Model, every: list[ir.Node]) -> Fusion:
    """Operators with the pairs around them that become one kernel."""
    main = graph.graph
    stored = set(main.initializers) - {str(value.name) for value in main.inputs}
    constant = constants(main, stored)
    active = [node for node in every if not all(value in constant for value in node.outputs)]
    shapes = [value.shape for value in main.inputs if value.name not in stored]
    fixed = all(shape is not None and shape.is_static() for shape in shapes)
    found = Fusion(active, constant, fixed=fixed)
    for rule in (integers, codes, cut_off):
        for node in active:
            if node not in found.gone:
                rule(found, node)
    return found


def in_codes(graph: ir.Model, profile: Profile, found: Fusion) -> float:
    """Bytes for activations where what is between operators of integers stays in codes.

    Codes are needed until the last operator reads what they are restored to. Either may stand
    beside the operator that reads it, so both lives are looked at, and the larger need counts.
    """
    sizes = sizes_of(graph, profile)
    restores = [node for node in found.gone if node.op_type == RESTORE and node.inputs]
    restored = {node.outputs[0]: node.inputs[0] for node in restores}
    lost = {value for node in found.gone for value in node.outputs}
    lost |= {value for node in found.last for value in node.outputs}
    lost -= set(found.last.values())
    kept = {value: size for value, size in sizes.items() if value not in lost}
    later = {value: sizes[source] for value, source in restored.items() if source in sizes}
    others = {value: size for value, size in kept.items() if value not in restored.values()}
    return max(arena_bytes(graph.graph, each) for each in (kept, {**others, **later}))


def sizes_of(graph: ir.Model, profile: Profile) -> dict[ir.Value, int]:
    """Bytes of inputs and of what operators give; several results count as the first of them."""
    costs: Mapping[str, OperatorCost] = {one.name: one for one in profile.operators}
    sizes = {
        value: bytes_of(value) or 0
        for value in graph.graph.inputs
        if value.name not in graph.graph.initializers
    }
    for node in nodes(graph):
        cost = costs.get(str(node.name))
        if cost is not None and cost.runs and node.outputs:
            sizes[node.outputs[0]] = (cost.activation_bytes_out or 0) // cost.runs
    return sizes


BLOCKS = names("GatherBlockQuantized MatMulBnb4 MatMulNBits QMoE")
"""Operators that restore blocks of codes themselves."""


def quantized(graph: ir.Model, integer: Collection[str]) -> Mapping[str, Refusal]:
    """Operators with nothing left to quantize, by name, with the reason.

    Args:
        graph: of the model.
        integer: names of products that compute in integers.
    """
    found = {}
    for node in nodes(graph):
        name = str(node.name)
        if name in integer:
            reason = "it computes in 8-bit integers already"
            found[name] = Refusal(name, "already-integer", reason)
        elif node.op_type in BLOCKS or any(map(restored, node.inputs)):
            reason = "its weight is stored in codes already"
            found[name] = Refusal(name, "already-quantized", reason)
    return found


def restored(value: ir.Value | None) -> bool:
    """Whether a value is made from stored codes, and not too few of them for any method."""
    maker = None if value is None else value.producer()
    read = [] if maker is None else [stored_tensor(one) for one in maker.inputs if one is not None]
    tensors = [tensor for tensor in read if tensor is not None]
    whole = bool(read) and len(tensors) == len(read)
    return whole and any(one.dtype in parameters.CODES and one.size >= SMALLEST for one in tensors)
