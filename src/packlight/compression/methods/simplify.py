"""Take out what a model does not need: exact in real numbers, and a rounding apart in float32.

Batch normalisations fold into the convolution or product before them, and constants added to
channels into the bias of the convolution before; constant expressions are computed, equal weights
are stored once, and what nobody reads is dropped. Compressed weights of earlier steps are left as
they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common

from packlight.compression.encoding.stored_values import UniqueNames, graph_values
from packlight.compression.folding.batch_norm import (
    AddedBias,
    BatchNorm,
    added_bias_sites,
    batch_norm_sites,
    fold_added_biases,
    fold_batch_norm,
)
from packlight.compression.folding.computable import is_foldable
from packlight.compression.folding.constants import fold_constants
from packlight.compression.folding.loop_values import read_loop_values_outside
from packlight.compression.method import Method
from packlight.compression.sites.weight_roles import is_standard
from packlight.model import graphs, initializers, nodes
from packlight.records.configs import Simplify
from packlight.records.storage import Removed
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator


@dataclass(frozen=True, slots=True)
class Constant:
    """An operator whose inputs are all stored."""

    node: ir.Node

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return str(self.node.name)


Site = BatchNorm | AddedBias | Constant


def sites(graph: ir.Model, config: Simplify) -> Iterator[Site | Refusal]:
    """Batch normalisations and sums that fold, and operators that can be computed now."""
    del config
    yield from batch_norm_sites(graph)
    yield from added_bias_sites(graph)
    for node in nodes(graph):
        if node.op_type != "Constant" and node.inputs and is_foldable(node):
            yield Constant(node)


@contextmanager
def silent(module: str) -> Iterator[None]:
    """Silence a module: nobody can change what it leaves as it is."""
    logger = logging.getLogger(module)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def apply(
    graph: ir.Model, sites: Sequence[Site], calibrator: Calibrator, config: Simplify
) -> list[Change | Refusal]:
    """Fold, compute, share and drop, in this order."""
    del calibrator, config
    names = UniqueNames(graph)
    read_loop_values_outside(graph)
    before = {str(node.name) for node in nodes(graph)}
    changes: list[Change | Refusal] = [
        fold_batch_norm(site, names) for site in sites if isinstance(site, BatchNorm)
    ]
    changes += fold_added_biases(graph, names)
    if any(isinstance(site, Constant) for site in sites):
        fold_constants(graph)
    _drop_identities(graph)
    with silent(common.DeduplicateInitializersPass.__module__):
        common.DeduplicateInitializersPass()(graph)
    _drop_unused(graph)
    _drop_notes(graph)
    after = {str(node.name) for node in nodes(graph)}
    folded = {change.operator for change in changes}
    gone = sorted(before - after - folded)
    return changes + [Change(name, "simplify", Removed()) for name in gone]


def _drop_identities(graph: ir.Model) -> None:
    for node in list(nodes(graph)):
        if is_standard(node, "Identity") and not node.outputs[0].is_graph_output():
            source = node.inputs[0]
            assert source is not None
            node.outputs[0].replace_all_uses_with(source)


def _drop_unused(graph: ir.Model) -> None:
    common.RemoveUnusedNodesPass()(graph)
    _detach_removed(graph)
    common.RemoveUnusedOpsetsPass()(graph)


def _drop_notes(graph: ir.Model) -> None:
    """Take off what exporters and passes note down and no runtime reads.

    What the model says of itself stays, as do descriptions of its inputs and outputs: people and
    programs that use it read these.
    """
    bodies = list(graphs(graph))
    for function in graph.functions.values():
        bodies += [function.graph, *function.subgraphs()]
    for body in bodies:
        inner = body is not graph.graph
        body.metadata_props.clear()
        if inner:
            body.doc_string = None
        for node in body:
            node.metadata_props.clear()
            node.doc_string = None
        for value in graph_values(body):
            value.metadata_props.clear()
            if inner or not (value.is_graph_input() or value.is_graph_output()):
                value.doc_string = None
    _unname_constants(graph)


def _unname_constants(graph: ir.Model) -> None:
    for node in nodes(graph):
        if node.op_type == "Constant" and "value" in node.attributes:
            node.attributes["value"].as_tensor().name = None


def _detach_removed(graph: ir.Model) -> None:
    live = set(map(id, nodes(graph)))
    for value in initializers(graph):
        for node, index in list(value.uses()):
            if id(node) not in live:
                node.replace_input_with(index, None)


METHOD: Method[Simplify, Site] = Method(
    summary="fold batch norms, biases and constants, drop what nobody reads",
    config=Simplify,
    opset=lambda _: 1,
    sites=sites,
    apply=apply,
)
