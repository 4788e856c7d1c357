"""What every compression method supplies, and the statistics it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.records.configs import MethodConfig
from packlight.records.variant import Change, Refusal

C = TypeVar("C", bound=MethodConfig)
S = TypeVar("S", bound="Place")


class Place(Protocol):
    """A site: a place in a model that one method can change."""

    @property
    def operator(self) -> str:
        """Name of the operator, as it is shown and as ``where`` matches it."""


class Statistic(Protocol):
    """What is kept of a stream of values; its memory does not grow with their number."""

    def update(self, value: NDArray[np.generic]) -> None:
        """Take in the value of one call of the model."""


class Comparison(Protocol):
    """What is kept of values beside those of another graph, call by call."""

    def compare(self, value: NDArray[np.generic], meant: NDArray[np.generic]) -> None:
        """Take in the value of one call, and what the other graph has there."""


@dataclass(frozen=True, slots=True)
class Original:
    """What a model was before steps that only replaced weights.

    Attributes:
        graph: before the first of them; its values are those that the values of the same names were
            meant to be.
        settled: operators whose weights made up for those before them as these steps replaced them.
    """

    graph: ir.Model
    settled: frozenset[str] = frozenset()


class Look(Protocol):
    """Lets a method look at calibration samples."""

    @property
    def carried(self) -> Collection[str]:
        """Outputs that the model is fed again at the next call of a sample."""

    @property
    def imagined(self) -> bool:
        """Whether nothing is looked at, because only the size of what is made is asked for."""

    @property
    def original(self) -> Original | None:
        """What the model was before the steps ahead of this one that, like it, replaced weights.

        None where the step finds it as it was.
        """

    def __call__(
        self, graph: ir.Model, statistics: Mapping[str, Sequence[Statistic]], most: int = 0
    ) -> None:
        """Stream values through a graph as it stands, samples always in the same order.

        Args:
            graph: what to run.
            statistics: by the name of the value that they are made of.
            most: samples, spread evenly over all of them; 0 takes all.

        Raises:
            RecipeError: there are no calibration samples.
        """

    def beside(
        self, graph: ir.Model, other: ir.Model, comparisons: Mapping[str, Sequence[Comparison]]
    ) -> None:
        """Stream values through two graphs at once, call by call.

        Args:
            graph: what to run.
            other: what to run beside it; values of the same names are compared.
            comparisons: by the name of the value.

        Raises:
            RecipeError: there are no calibration samples.
        """


def sound(site: object) -> str:
    """What a method says of weights that it can take as they are."""
    del site
    return ""


def looks_at_nothing(config: object) -> bool:
    """Whether a method that needs no data looks at any."""
    del config
    return False


@dataclass(frozen=True, slots=True)
class Method(Generic[C, S]):
    """One way to compress.

    Deciding and doing are apart: ``sites`` is pure and returns data; ``apply`` edits the graph.

    Attributes:
        summary: one line for people.
        config: the class of its configs.
        opset: the least opset that can express what the method stores.
        sites: the places it can change, in the order they run, and the refusals.
        uses_data: whether a config looks at calibration samples.
        apply: looks at the calibration samples where it uses data, as often as it wants; changes
            the sites in place; says what it did and what turned out impossible.
        inspect: reads a site's weights and says what is wrong with them; empty when nothing is.
        replaces: all it does is to store other weights, so that every value that is computed from
            inputs keeps its name and what it stands for. Steps of such methods one after the other
            are a run, and target the graph before the first of them.
        makes_up: whether by a config each weight makes up for what those before it lost.
    """

    summary: str
    config: type[C]
    opset: Callable[[C], int]
    sites: Callable[[ir.Model, C], Iterable[S | Refusal]]
    apply: Callable[[ir.Model, Sequence[S], Look, C], list[Change | Refusal]]
    uses_data: Callable[[C], bool] = looks_at_nothing
    inspect: Callable[[S], str] = sound
    replaces: bool = False
    makes_up: Callable[[C], bool] = looks_at_nothing

    @property
    def name(self) -> str:
        """The method's name, as recipes write it."""
        return self.config.kind

    @property
    def whole(self) -> bool:
        """Whether it works on the model as a whole, so that ``where`` makes no sense."""
        return self.config.whole_model
