"""Forms of operators that are not computed here, though others of their type are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from packlight.model import optional_input, stored_tensor
from packlight.torch.operators.fused_activations import KNOWN_ACTIVATIONS
from packlight.torch.operators.learned import AGGREGATES, POST_TRANSFORMS
from packlight.torch.values import DTYPES, Operator

Limit = Callable[[Operator, ir.Node], str | None]
"""Tells what is not computed, or None."""


def _no_training(op: Operator, _node: ir.Node) -> str | None:
    return "training_mode=1" if op.flag("training_mode") else None


def _no_dropping(_op: Operator, node: ir.Node) -> str | None:
    """Dropout drops where its third input is true."""
    training = optional_input(node, 2)
    tensor = stored_tensor(training)
    if training is None or (tensor is not None and not tensor.numpy().any()):
        return None
    return "training_mode"


def _known_type(op: Operator, _node: ir.Node) -> str | None:
    kind = ir.DataType(op.integer("to", int(ir.DataType.FLOAT)))
    return None if kind in DTYPES else f"to={kind.name}"


def _known_activations(op: Operator, _node: ir.Node) -> str | None:
    names = [str(name) for name in op.attributes.get("activations", ())]
    unknown = sorted({*names, op.text("activation", "")} - KNOWN_ACTIVATIONS)
    return f"activation {unknown[0]}" if unknown else None


def _one_output(op: Operator, _node: ir.Node) -> str | None:
    return "a cache of the past" if op.output_count > 1 else None


def _newer_scan(op: Operator, _node: ir.Node) -> str | None:
    return "opset 8" if op.opset < 9 else None  # noqa: PLR2004  it had batches then


def _known_trees(op: Operator, node: ir.Node) -> str | None:
    if op.text("aggregate_function", "SUM") not in AGGREGATES:
        return f"aggregate_function={op.text('aggregate_function', '')}"
    return _known_transform(op, node)


def _known_transform(op: Operator, _node: ir.Node) -> str | None:
    name = op.text("post_transform", "NONE")
    return None if name in POST_TRANSFORMS else f"post_transform={name}"


LIMITS: Mapping[tuple[str, str], Limit] = {
    ("", "BatchNormalization"): _no_training,
    ("", "Cast"): _known_type,
    ("", "Dropout"): _no_dropping,
    ("", "GRU"): _known_activations,
    ("", "LSTM"): _known_activations,
    ("", "RNN"): _known_activations,
    ("", "Scan"): _newer_scan,
    ("ai.onnx.ml", "LinearRegressor"): _known_transform,
    ("ai.onnx.ml", "TreeEnsembleRegressor"): _known_trees,
    ("com.microsoft", "Attention"): _one_output,
    ("com.microsoft", "FusedConv"): _known_activations,
    ("com.microsoft", "FusedGemm"): _known_activations,
    ("com.microsoft", "MultiHeadAttention"): _one_output,
}


def missing_form(op: Operator, node: ir.Node) -> str | None:
    """Name what of an operator is not computed here; None where all of it is."""
    limit = LIMITS.get((node.domain, node.op_type))
    if limit is None:
        return None
    return limit(op, node)
