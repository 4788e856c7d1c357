"""Resize without ``axes``, which graphs with integer convolutions cannot have in ONNX Runtime.

It puts channels last around integer convolutions and moves the transpositions through a Resize,
whose scales it then permutes as if there were one for each axis. The same Resize can be written
so: axes that are not named keep their size. Source: ONNX, Resize-18; ``HandleResize`` in
onnxruntime/core/optimizer/transpose_optimization.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.encoding.stored_values import UniqueNames
from packlight.compression.sites.weight_roles import is_standard, stored
from packlight.model import Model, Shape, infer_shapes, nodes

SCALES = 2
SIZES = 3

Floats = NDArray[np.float32]


def write_out_axes(graph: ir.Model) -> None:
    """Give each Resize a scale for every axis, in place, where its scales are known."""
    resizes = [n for n in nodes(graph) if is_standard(n, "Resize") and "axes" in n.attributes]
    if not resizes:
        return
    names = UniqueNames(graph)
    shapes = infer_shapes(Model(graph, ""), {})
    for node in resizes:
        shape = shapes.get(str(node.inputs[0].name))  # type: ignore[union-attr]
        scales = None if shape is None else _scales_of_all_axes(node, shape)
        if scales is not None:
            _replace_scales(node, scales, names)


def _scales_of_all_axes(node: ir.Node, shape: Shape) -> Floats | None:
    """A scale for every axis; None where one is unknown."""
    axes = [int(axis) for axis in node.attributes["axes"].as_ints()]
    scales = _stored_input(node, SCALES)
    sizes = _stored_input(node, SIZES)
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    region = len(node.inputs) > 1 and node.inputs[1] is not None
    if region or policy != "stretch":
        return None
    if scales is None and sizes is not None:
        scales = _exact_scales(sizes, [shape[axis] for axis in axes])
    if scales is None or scales.size != len(axes):
        return None
    full = np.ones(len(shape), np.float32)
    full[axes] = scales
    return full


def _stored_input(node: ir.Node, index: int) -> NDArray[np.generic] | None:
    tensor = stored(next(iter(node.inputs[index : index + 1]), None))
    if tensor is None or not tensor.size:
        return None
    return np.asarray(tensor.numpy())


def _exact_scales(sizes: NDArray[np.generic], before: Sequence[int | None]) -> Floats | None:
    """Scales that give these sizes; None where the sizes before are open or none gives them."""
    known = [size for size in before if size is not None]
    if len(known) != sizes.size or 0 in known:
        return None
    scales = np.asarray(sizes / np.array(known, np.float64), np.float32)
    if (np.floor(np.array(known, np.float32) * scales) != sizes).any():
        return None
    return scales


def _replace_scales(node: ir.Node, scales: Floats, names: UniqueNames) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    name = names.fresh(f"{node.name}.scales")
    value = ir.Value(name=name, const_value=ir.Tensor(scales, name=name))
    graph.register_initializer(value)
    node.resize_inputs(SIZES)
    node.replace_input_with(SCALES, value)
    del node.attributes["axes"]
