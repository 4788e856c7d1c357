"""Refusals of stored weights that a step left as they are and that nothing else speaks of.

So no weight is passed over in silence: its bytes are changed or refused.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from packlight.compression.sites.stored_codes import CodesBehind, belongs_to_codes
from packlight.compression.sites.table_sites import IN_CODES, reads_codes, stored_floats
from packlight.compression.sites.weight_sites import MIN_WEIGHT_SIZE
from packlight.model import nodes
from packlight.records.variant import Refusal


@dataclass(frozen=True, slots=True)
class StoredFloats:
    """A stored value before a step.

    Attributes:
        kind: type and shape.
        readers: names of the operators that read it.
        in_codes: whether it belongs to codes that are stored already.
    """

    kind: tuple[ir.DataType, tuple[int, ...]]
    readers: tuple[str, ...]
    in_codes: bool


FLOAT_ATTRIBUTES = (ir.AttributeType.FLOATS, ir.AttributeType.TENSOR, ir.AttributeType.TENSORS)
OTHER_STEP = "store it by one more step: weights, palette or float16"
TREES = "retrain with fewer or smaller trees"
LINEAR = "export it as MatMul and Add"
REMEDIES = {"Tree": TREES, "Linear": LINEAR, "SVM": "retrain with fewer support vectors"}
"""What helps, by the beginning of the operator's type."""


def floats_before(graph: ir.Model, least: int) -> dict[str, StoredFloats]:
    """Values of so many numbers at least that a step may change, by name."""
    known: CodesBehind = {}
    return {
        str(value.name): StoredFloats(
            _kind(tensor),
            tuple(str(node.name) for node in value.consumers()),
            belongs_to_codes(value, MIN_WEIGHT_SIZE, known)
            or any(map(reads_codes, value.consumers())),
        )
        for value, tensor in stored_floats(graph, least)
    }


def _kind(tensor: ir.TensorProtocol) -> tuple[ir.DataType, tuple[int, ...]]:
    return tensor.dtype, tuple(tensor.shape.numpy())


def unchanged_weights(
    graph: ir.Model, before: Mapping[str, StoredFloats], named: Collection[str], least: int
) -> Iterator[Refusal]:
    """Refusals of what is stored as before by operators that no refusal names.

    Args:
        graph: after the step.
        before: what was stored before it.
        named: operators that refusals name.
        least: numbers from which the method stores a weight in fewer bytes.
    """
    for value, tensor in stored_floats(graph, least):
        old = before.get(str(value.name))
        if old is None or old.kind != _kind(tensor) or not old.readers:
            continue
        if not set(old.readers).isdisjoint(named):
            continue
        if old.in_codes:
            yield Refusal(old.readers[0], "already-quantized", IN_CODES)
        else:
            reason = "no integer kernel reads what it stores, which stays as it is"
            yield Refusal(old.readers[0], "no-kernel", reason, OTHER_STEP)


def attribute_weights(graph: ir.Model, named: Collection[str], least: int) -> Iterator[Refusal]:
    """Refusals of operators whose numbers are attributes, as those of trees are."""
    for node in nodes(graph):
        if node.op_type == "Constant" or str(node.name) in named:
            continue
        if max(map(_float_count, node.attributes.values()), default=0) >= least:
            kind = next((kind for kind in REMEDIES if node.op_type.startswith(kind)), "")
            what = (
                f"trees ({node.op_type})" if kind == "Tree" else f"the attributes of {node.op_type}"
            )
            reason = f"{what} cannot be compressed: no operator restores attributes"
            yield Refusal(str(node.name), "attribute", reason, REMEDIES.get(kind, ""))


def _float_count(attribute: ir.Attr) -> int:
    if attribute.is_ref() or attribute.type not in FLOAT_ATTRIBUTES:
        return 0
    if attribute.type == ir.AttributeType.FLOATS:
        return len(attribute.as_floats())
    if attribute.type == ir.AttributeType.TENSOR:
        return _float_size(attribute.as_tensor())
    return sum(map(_float_size, attribute.as_tensors()))


def _float_size(tensor: ir.TensorProtocol) -> int:
    return math.prod(tensor.shape.numpy()) if tensor.dtype.is_floating_point() else 0
