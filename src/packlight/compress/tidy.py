"""Take out what a model does not need: exact in real numbers, and a rounding apart in float32.

Batch normalisations fold into the convolution or product before them, and constants added to
channels into the bias of the convolution before; constant expressions are computed, equal weights
are stored once, and what nobody reads is dropped. Compressed weights of earlier steps are left as
they are.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from packlight.compress import added, batchnorm
from packlight.compress.added import Added
from packlight.compress.batchnorm import BatchNorm
from packlight.compress.names import Names, values
from packlight.compress.roles import is_standard, stored
from packlight.method import Look, Method
from packlight.model import graphs, initializers, nodes, release
from packlight.records.variant import Change, Refusal

GROWTH = 1024
"""Numbers up to which the result of a growing operator is stored."""

UNLIMITED = 2**40
"""For the optimizer, whose limit by size is replaced by ours by operator."""

FEW = 64
"""Numbers up to which a narrow tensor is an index or a shape, not a compressed weight."""

WIDE = (
    ir.DataType.FLOAT,
    ir.DataType.DOUBLE,
    ir.DataType.INT32,
    ir.DataType.INT64,
    ir.DataType.UINT32,
    ir.DataType.UINT64,
    ir.DataType.BOOL,
    ir.DataType.STRING,
)


@dataclass(frozen=True, slots=True)
class Tidy:
    """Take out what a model does not need."""


@dataclass(frozen=True, slots=True)
class Constant:
    """An operator whose inputs are all stored."""

    node: ir.Node

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return str(self.node.name)


Site = BatchNorm | Added | Constant


def sites(graph: ir.Model, config: Tidy) -> Iterator[Site | Refusal]:
    """Batch normalisations and sums that fold, and operators that can be computed now."""
    del config
    yield from batchnorm.sites(graph)
    yield from added.sites(graph)
    for node in nodes(graph):
        if node.op_type != "Constant" and node.inputs and foldable(node):
            yield Constant(node)


@contextmanager
def silent(module: str) -> Iterator[None]:
    """Let a module log nothing: what it leaves as it is, is nothing that a person can change."""
    logger = logging.getLogger(module)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def foldable(node: ir.Node) -> bool:
    """Whether all an operator reads is stored, and none of it compressed."""
    tensors = [stored(value) for value in node.inputs if value is not None]
    return all(tensor is not None and not compressed(tensor) for tensor in tensors)


def compressed(tensor: ir.TensorProtocol) -> bool:
    """Whether a stored tensor is a weight in a narrow type."""
    return tensor.dtype not in WIDE and tensor.size > FEW


def apply(
    graph: ir.Model, found: Sequence[Site], look: Look, config: Tidy
) -> list[Change | Refusal]:
    """Fold, compute, share and drop, in this order."""
    del look, config
    constant, names = any(isinstance(site, Constant) for site in found), Names(graph)
    before = {str(node.name) for node in nodes(graph)}
    changes: list[Change | Refusal] = [
        batchnorm.fold(site, names) for site in found if isinstance(site, BatchNorm)
    ]
    changes += added.folded(graph, names)
    if constant:
        fold_constants(graph)
    drop_identities(graph)
    with silent(common.DeduplicateInitializersPass.__module__):
        common.DeduplicateInitializersPass()(graph)
    drop_unused(graph)
    drop_notes(graph)
    after = {str(node.name) for node in nodes(graph)}
    folded = {change.operator for change in changes}
    gone = sorted(before - after - folded)
    return changes + [Change(name, "tidy", "computed or dropped") for name in gone]


def fold_constants(graph: ir.Model) -> None:
    """Compute what is constant, where that does not make the file larger by much."""
    from onnxscript import optimizer  # noqa: PLC0415  takes long to load

    outside = [value.const_value for value in initializers(graph) if value.const_value]
    optimizer.fold_constants(
        graph,
        input_size_limit=GROWTH,
        output_size_limit=UNLIMITED,
        should_fold=should_fold,
    )
    common.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=FEW)(graph)
    take_in_views(graph)
    for tensor in outside:
        release(tensor)


def take_in_views(graph: ir.Model) -> None:
    """Copy what was stored as a view of external data, as a Transpose of it is.

    A view would keep the file open, and show what becomes of it.
    """
    for value in initializers(graph):
        tensor = value.const_value
        if isinstance(tensor, ir.Tensor) and shows_file(tensor.numpy()):
            copy = np.array(tensor.numpy(), order="C")
            value.const_value = ir.Tensor(copy, tensor.dtype, name=tensor.name)


def shows_file(array: object) -> bool:
    """Whether the numbers of an array lie in a memory map."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array.obj if isinstance(array, memoryview) else array, mmap)


def should_fold(node: ir.Node) -> bool | None:
    """Whether what is constant is computed now; None leaves it to the optimizer's own rules."""
    tensors = [stored(value) for value in node.inputs if value is not None]
    known = [tensor for tensor in tensors if tensor is not None]
    if any(compressed(tensor) for tensor in known):
        return False
    if len(known) < len(tensors):
        return None
    return node.op_type not in GROWING or is_small(node.outputs[0])


def is_small(value: ir.Value) -> bool:
    """Whether a value is known to have few numbers."""
    shape = value.shape
    return shape is not None and shape.is_static() and math.prod(shape.numpy()) <= GROWTH


GROWING = ("Expand", "Tile", "ConstantOfShape", "Range", "Gather", "OneHot", "Pad", "Resize")
"""Operators whose result can be much larger than what they read."""


def drop_identities(graph: ir.Model) -> None:
    """Let readers of a copy read the original; a copy that is a graph's output stays."""
    for node in list(nodes(graph)):
        if is_standard(node, "Identity") and not node.outputs[0].is_graph_output():
            source = node.inputs[0]
            assert source is not None
            node.outputs[0].replace_all_uses_with(source)


def drop_unused(graph: ir.Model) -> None:
    """Drop operators and opsets that nobody needs, and so the readers of weights."""
    common.RemoveUnusedNodesPass()(graph)
    detach_removed(graph)
    common.RemoveUnusedOpsetsPass()(graph)


def drop_notes(graph: ir.Model) -> None:
    """Take off what exporters and passes note down and no runtime reads.

    What the model says of itself stays, as do descriptions of its inputs and outputs: people and
    programs that use it read these.
    """
    functions = graph.functions.values()
    own = [body for one in functions for body in (one.graph, *one.subgraphs())]
    for body in (*graphs(graph), *own):
        inner = body is not graph.graph
        body.metadata_props.clear()
        body.doc_string = None if inner else body.doc_string
        for node in body:
            node.metadata_props.clear()
            node.doc_string = None
        for value in values(body):
            value.metadata_props.clear()
            if inner or not (value.is_graph_input() or value.is_graph_output()):
                value.doc_string = None
    unname_constants(graph)


def unname_constants(graph: ir.Model) -> None:
    """Take the names off tensors in Constants: the value has one."""
    for node in nodes(graph):
        if node.op_type == "Constant" and "value" in node.attributes:
            node.attributes["value"].as_tensor().name = None


def detach_removed(graph: ir.Model) -> None:
    """Let operators of bodies that went with their If or Loop no longer count as readers."""
    live = set(map(id, nodes(graph)))
    for value in initializers(graph):
        for node, index in list(value.uses()):
            if id(node) not in live:
                node.replace_input_with(index, None)


METHOD: Method[Tidy, Site] = Method(
    name="tidy",
    summary="fold batch norms, biases and constants, drop what nobody reads",
    config=Tidy,
    opset=lambda _: 1,
    whole=True,
    sites=sites,
    apply=apply,
)
