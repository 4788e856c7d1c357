"""A method applied to a network, with everything that the laws check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression import AppliedRecipe, compress
from packlight.model import Model, graphs, to_bytes
from packlight.records import Recipe, SessionOptions
from packlight.runtime import Feeds
from packlight.runtime.calibration import Calibrator

Random = np.random.Generator
CALLS = 6
OPEN = 2
"""Size of an open dimension."""

TOKENS = 16
"""Integer inputs stay below this."""

EXACT = SessionOptions(arithmetic="exact", matmul_accuracy=1)


@dataclass(frozen=True, slots=True)
class Case:
    """A recipe and its result on a network.

    Attributes:
        recipe: of one step.
        model: the network.
        content: its bytes before the recipe was applied.
        result: the compressed network.
        calls: inputs to try and to calibrate with.
    """

    recipe: Recipe
    model: Model
    content: bytes
    result: AppliedRecipe
    calls: tuple[Feeds, ...]

    def again(self, recipe: Recipe) -> AppliedRecipe:
        """Apply a recipe to the network with the same calls."""
        return apply_recipe(self.model, recipe, self.calls)


def make_case(model: Model, recipe: Recipe) -> Case:
    """Apply a recipe to a network."""
    content = to_bytes(model)
    calls = sample_calls(model)
    return Case(recipe, model, content, apply_recipe(model, recipe, calls), calls)


def apply_recipe(model: Model, recipe: Recipe, calls: Sequence[Feeds]) -> AppliedRecipe:
    """Apply a recipe, with each call as a calibration sample."""
    return compress(model, recipe, Calibrator([[feeds] for feeds in calls], EXACT))


def sample_calls(model: Model, count: int = CALLS, seed: int = 0) -> tuple[Feeds, ...]:
    """Random inputs for a network; truth values alternate, so that both bodies of an If run."""
    random = np.random.default_rng(seed)
    return tuple(dict(feeds(model, index, random)) for index in range(count))


def feeds(model: Model, index: int, random: Random) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """The inputs of one call, by name."""
    for name, value in model.inputs().items():
        assert value.shape is not None
        assert value.dtype is not None
        shape = [size if isinstance(size, int) else OPEN for size in value.shape]
        yield name, DRAW[value.dtype](index, shape, random)


def normal(index: int, shape: Sequence[int], random: Random) -> NDArray[np.generic]:
    """Normal numbers in float32."""
    del index
    return random.standard_normal(shape, np.float32)


DRAW: dict[ir.DataType, Callable[[int, Sequence[int], Random], NDArray[np.generic]]] = {
    ir.DataType.FLOAT: normal,
    ir.DataType.INT64: lambda _, shape, random: random.integers(0, TOKENS, shape),
    ir.DataType.BOOL: lambda index, shape, _: np.full(shape, index % 2 == 0),
}
"""Random inputs by type."""


def stored_parts(model: Model, weight: str) -> dict[str, ir.TensorProtocol]:
    """Stored tensors of a compressed weight by part name; empty if it is stored whole."""
    for graph in graphs(model.graph):
        for node in graph:
            if node.outputs[0].name == weight:
                stem = str(node.name).split(".", maxsplit=1)[0] + "."
                return {
                    name.removeprefix(stem): value.const_value
                    for name, value in graph.initializers.items()
                    if name.startswith(stem) and value.const_value is not None
                }
    return {}
