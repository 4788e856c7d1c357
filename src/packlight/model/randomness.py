"""Operators that draw random numbers, so that two runs of a model give different outputs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import onnx_ir as ir

from packlight.model.model import Model, nodes, operators, stored_tensor

RANDOM = frozenset({
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
    "Multinomial",
})  # fmt: skip
"""Standard operators whose outputs differ from run to run."""

TRAINING_MODE = 2
"""Input of Dropout that turns it on."""

STREAMS = 2**16
"""Seeds of one draw; ``seed`` is a float32, which holds whole numbers up to 2**24."""


def random_operators(model: ir.Model) -> Iterator[ir.Node]:
    """Operators that draw random numbers, in subgraphs and functions too."""
    yield from filter(is_random, nodes(model))
    for function in model.functions.values():
        yield from filter(is_random, operators(function.graph))


def is_random(node: ir.Node) -> bool:
    """Test whether an operator draws random numbers at every run."""
    if node.domain not in ("", "ai.onnx"):
        return False
    return node.op_type in RANDOM or (node.op_type == "Dropout" and _is_training(node))


def _is_training(dropout: ir.Node) -> bool:
    """Test whether a Dropout may drop: its mode is stored as true, or computed."""
    if len(dropout.inputs) <= TRAINING_MODE or dropout.inputs[TRAINING_MODE] is None:
        return False
    mode = dropout.inputs[TRAINING_MODE]
    assert mode is not None
    tensor = stored_tensor(mode)
    return tensor is None or bool(tensor.numpy().any())


def with_seeds(model: Model, draw: int) -> Model:
    """The model with a fixed seed at every random operator; itself where there is none.

    Two models with an operator of the same name draw the same numbers there for the same ``draw``,
    as long as they run as often, and other numbers for another one.

    Args:
        model: stays as it is.
        draw: number of the draw, below 2**8.
    """
    if not any(random_operators(model.graph)):
        return model
    clone = model.clone()
    for node in random_operators(clone):
        stream = zlib.crc32(str(node.outputs[0].name).encode()) % STREAMS
        seed = draw * STREAMS + stream
        if node.op_type == "Dropout":
            node.attributes["seed"] = ir.AttrInt64("seed", seed)
        else:
            node.attributes["seed"] = ir.AttrFloat32("seed", float(seed))
    return Model(clone, model.name)
