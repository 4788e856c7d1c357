"""Operators that compute in integers as the model is, that store codes, or that use rare types.

Operators of integers say so by their types. Others do where they stand between DequantizeLinear and
QuantizeLinear as ONNX Runtime's rules want it, which the models of measured devices follow too;
those of other runtimes differ in single operators.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx
import onnx_ir as ir

from packlight.backends.capabilities import capabilities
from packlight.backends.onnxruntime.fusion import Fusion, fuse_qdq
from packlight.backends.onnxruntime.qdq import SECOND_ONWARD
from packlight.compression.sites.weight_sites import MIN_WEIGHT_SIZE
from packlight.errors import InputError
from packlight.model import Model, initializers, nodes, producer_of, stored_tensor
from packlight.model.shapes import without_large_weights
from packlight.profiling import parameters
from packlight.profiling.activation_arena import arena_bytes
from packlight.profiling.load_time import constants
from packlight.profiling.profile import profile
from packlight.profiling.rows import bytes_of
from packlight.records.profile import OperatorCost, Profile
from packlight.records.variant import Refusal

RESTORE = "DequantizeLinear"
PAIRS = ("QuantizeLinear", RESTORE)


@dataclass(frozen=True, slots=True)
class IntegerOperators:
    """Operators of a model that compute in integers as it is, by their names.

    Attributes:
        by_type: those that compute in integers by their type.
        by_pairs: those that do so for the pairs around them.
        gone: those that have no kernel of their own then.
        arena: bytes for activations; NaN where they are not known.
    """

    by_type: frozenset[str]
    by_pairs: frozenset[str]
    gone: frozenset[str]
    arena: float

    @property
    def all(self) -> frozenset[str]:
        """Operators that compute in integers, or are part of one that does."""
        return self.by_type | self.by_pairs | self.gone


def integer_operators(graph: ir.Model, profile: Profile) -> IntegerOperators:
    """Name the operators that compute in integers.

    Args:
        graph: of the model; it stays as it is.
        profile: of it.
    """
    operators = list(nodes(graph))
    types = capabilities("onnxruntime").code_operators
    by_type = frozenset(str(node.name) for node in operators if node.op_type in types)
    needed = profile.totals.get("arena_bytes") or profile.totals.get("peak_activation_bytes")
    arena = needed.value if needed else math.nan
    if not any(node.op_type in PAIRS for node in operators):
        return IntegerOperators(by_type, frozenset(), frozenset(), arena)
    fusion = fused_pairs(graph, operators)
    if fusion.integer and not math.isnan(arena):
        arena = min(arena, arena_in_codes(graph, profile, fusion))
    by_pairs = frozenset(str(node.name) for node in fusion.integer)
    gone = frozenset(str(node.name) for node in fusion.gone)
    return IntegerOperators(by_type, by_pairs, gone, arena)


def fused_pairs(graph: ir.Model, operators: list[ir.Node]) -> Fusion:
    """Fuse operators with the pairs around them."""
    main = graph.graph
    stored = set(main.initializers) - {str(value.name) for value in main.inputs}
    constant = constants(main, stored)
    active = [node for node in operators if not all(value in constant for value in node.outputs)]
    shapes = [value.shape for value in main.inputs if value.name not in stored]
    fixed = all(shape is not None and shape.is_static() for shape in shapes)
    return fuse_qdq(active, constant, fixed=fixed)


def arena_in_codes(graph: ir.Model, profile: Profile, fusion: Fusion) -> float:
    """Bytes for activations where what is between operators of integers stays in codes.

    Codes are needed until the last operator reads what they are restored to. Either may stand
    before the operator that reads it, so both lives are looked at, and the larger need counts.
    """
    sizes = value_bytes(graph, profile)
    restores = [node for node in fusion.gone if node.op_type == RESTORE and node.inputs]
    restored = {node.outputs[0]: node.inputs[0] for node in restores}
    absent = {value for node in (*fusion.gone, *fusion.last) for value in node.outputs}
    absent -= {*fusion.last.values(), *fusion.codes}
    early = {value: size for value, size in sizes.items() if value not in absent}
    late = {value: size for value, size in early.items() if value not in restored.values()}
    late |= {value: sizes[source] for value, source in restored.items() if source in sizes}
    return max(arena_bytes(graph.graph, early), arena_bytes(graph.graph, late))


def value_bytes(graph: ir.Model, profile: Profile) -> dict[ir.Value, int]:
    """Bytes of inputs and of what operators give; several results count as the first of them."""
    costs: Mapping[str, OperatorCost] = {cost.name: cost for cost in profile.operators}
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


def already_quantized(graph: ir.Model, integer: Collection[str]) -> Mapping[str, Refusal]:
    """Operators with nothing left to quantize, by name, with the refusal to quantize them again.

    Args:
        graph: of the model.
        integer: names of products that compute in integers.
    """
    refusals = {}
    blocked = capabilities("onnxruntime").block_operators
    for node in nodes(graph):
        name = str(node.name)
        if name in integer:
            reason = "it computes in 8-bit integers already"
            refusals[name] = Refusal(name, "already-integer", reason)
        elif node.op_type in blocked or any(map(is_restored, node.inputs)):
            reason = "its weight is stored in codes already"
            refusals[name] = Refusal(name, "already-quantized", reason)
    return refusals


def quantized_count(model: Model) -> int:
    """Number of operators that have nothing left to quantize, as a plan counts them."""
    graph = model.graph
    runtime = capabilities("onnxruntime")
    kinds = (*runtime.code_operators, *runtime.block_operators, *PAIRS)
    if not any(node.op_type in kinds for node in nodes(graph)):
        return 0
    try:
        costs = profile(model, {})
    except InputError:  # its shapes disagree, which says nothing about its weights
        return len(already_quantized(graph, ()))
    products = {cost.name for cost in costs.operators if cost.macs}
    return len(already_quantized(graph, products & integer_operators(graph, costs).all))


def is_restored(value: ir.Value | None) -> bool:
    """Check that a value is made of stored codes, and not of too few for any method."""
    maker = producer_of(value)
    if maker is None:
        return False
    tensors = [stored_tensor(source) for source in maker.inputs if source is not None]
    stored = [tensor for tensor in tensors if tensor is not None]
    enough = [t for t in stored if t.dtype in parameters.CODES and t.size >= MIN_WEIGHT_SIZE]
    return len(stored) == len(tensors) and bool(enough)


RARE_TYPES = {ir.DataType.BFLOAT16: "bfloat16", ir.DataType.DOUBLE: "float64"}
"""Types that runtimes compute in by a part of their operators, as devices name them."""


def rare_types(graph: ir.Model) -> Mapping[str, str]:
    """Name the rare types that operators of the main graph compute in, by operator."""
    return dict(_rarely_typed(graph)) if _has_rare_type(graph) else {}


def _has_rare_type(graph: ir.Model) -> bool:
    read = (value.dtype for value in graph.graph.inputs)
    stored = (value.const_value.dtype for value in initializers(graph) if value.const_value)
    casts = (node.attributes.get_int("to", 0) for node in nodes(graph) if node.op_type == "Cast")
    cast = (ir.DataType(to) for to in casts)
    return any(dtype in RARE_TYPES for dtype in itertools.chain(read, stored, cast))


def _rarely_typed(graph: ir.Model) -> Iterator[tuple[str, str]]:
    inferred = onnx.shape_inference.infer_shapes(without_large_weights(graph)).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    types = {info.name: info.type.tensor_type.elem_type for info in values}
    types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for node in inferred.node:
        read = node.input[node.op_type in SECOND_ONWARD :][:1]
        dtype = ir.DataType(types.get(read[0], 0)) if read else ir.DataType.UNDEFINED
        if dtype in RARE_TYPES:
            yield node.name, RARE_TYPES[dtype]
