"""A model as the calls of kernels that one run of it makes."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Mapping
from types import MappingProxyType

import onnx_ir as ir

from packlight.backends.onnxruntime.fusion import Fusion, fuse
from packlight.backends.onnxruntime.kernel_call import BYTES, RUN, Call, Dtype
from packlight.backends.onnxruntime.layout import reorders
from packlight.backends.onnxruntime.operator_kernels import KernelOperator, kernel
from packlight.model import Model, Shape
from packlight.profiling.counting import Counter
from packlight.profiling.expanded_graph import expand
from packlight.profiling.load_time import constants
from packlight.profiling.shape_values import sizes_of
from packlight.records.profile import Profile

COPIES = ("Identity", "Dropout")
NOTHING: Mapping[str, Shape] = MappingProxyType({})


def kernel_calls(
    model: Model, profile: Profile, seen_shapes: Mapping[str, Shape] = NOTHING
) -> Mapping[Call, int]:
    """Calls of kernels in one run of a model, each with how often it comes.

    Args:
        model: the model.
        profile: of it, which says for what shapes of inputs.
        seen_shapes: shapes of values that a run showed.

    Raises:
        ModelError: a shape is not known.
    """
    tally: Tally[Call] = Tally()
    for _, call, times in named_kernel_calls(model, profile, seen_shapes):
        tally[call] += times
    return tally


def named_kernel_calls(
    model: Model, profile: Profile, seen_shapes: Mapping[str, Shape] = NOTHING
) -> list[tuple[str, Call, int]]:
    """Calls of kernels one by one, with the operator that each is called for.

    What is fused counts at the operator that it is fused into, and what lays a value out anew at
    the one that wants it so; the last is what a run takes beyond its kernels, under no name.

    Args:
        model: the model.
        profile: of it, which says for what shapes of inputs.
        seen_shapes: shapes of values that a run showed.

    Raises:
        ModelError: a shape is not known.
    """
    inputs = {name: tuple(n or 1 for n in sizes) for name, sizes in profile.inputs.items()}
    expanded = expand(model, inputs, seen_shapes)
    main = model.graph.graph
    stored = set(main.initializers) - {value.name for value in main.inputs}
    constant = constants(expanded.graph.graph, stored)
    runs = Counter(expanded, constant).runs
    for node in expanded.origin:
        _pass_through(node)
    active = [node for node in expanded.origin if runs.get(node) and _is_read(node)]
    fusion = fuse(active, constant, fixed=_is_fixed(model))
    kernel_calls = [(node, kernel(_kernel_operator(fusion, node))) for node in fusion.kernels()]
    kernel_calls += reorders(fusion)
    moved_in_run = sum(call.moved * runs[node] for node, call in kernel_calls)
    named = [(str(expanded.origin[node].name), call.within(moved_in_run), runs[node])
             for node, call in kernel_calls]  # fmt: skip
    return [*named, ("", RUN, 1)]


def _is_fixed(model: Model) -> bool:
    shapes = [value.shape for value in model.inputs().values()]
    return all(shape is not None and shape.is_static() for shape in shapes)


def _pass_through(node: ir.Node) -> None:
    if node.op_type not in COPIES:
        return
    value = node.inputs[0]
    copy = node.outputs[0]
    if value is not None and not copy.is_graph_output():
        copy.replace_all_uses_with(value)
        node.replace_input_with(0, None)


def _is_read(node: ir.Node) -> bool:
    return any(value.is_graph_output() or value.uses() for value in node.outputs)


def _kernel_operator(fusion: Fusion, node: ir.Node) -> KernelOperator:
    named = fusion.named.get(node, "")
    dtype: Dtype = "float32"
    if node in fusion.integer:
        dtype = "int8"
    weights = dtype
    if named == "MatMulNBits":
        named = "MatMul"
        weights = "int4"
    extra = sum(math.prod(sizes_of(value) or ()) for value in fusion.read.get(node, []))
    return KernelOperator(node, dtype, weights, extra * BYTES[dtype], named)
