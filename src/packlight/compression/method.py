"""Contract of every compression method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import onnx_ir as ir

from packlight.records.method_config import MethodConfig
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

if TYPE_CHECKING:
    from packlight.compression.methods.stored_weights import WeightStorage

C = TypeVar("C", bound=MethodConfig)
S = TypeVar("S", bound="Site")


class Site(Protocol):
    """Part of a model that one method can change."""

    @property
    def operator(self) -> str:
        """Name of the operator, as it is shown and as ``where`` matches it."""


def sound(site: object) -> Refusal | None:
    """No refusal, for a method that can take all weights as they are."""
    del site
    return None


def _never(config: object) -> bool:
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
        uses_data: whether a config needs calibration samples.
        apply: observes calibration samples where it uses data, as often as it needs; changes the
            sites in place; returns its changes and refusals.
        inspect: reads a site's weights and says why they cannot be used; None where they can.
        replaces: all it does is to store other weights, so that every value that is computed from
            inputs keeps its name and what it stands for. Steps of such methods one after the other
            are a run; their targets are the values of the graph before the first of them.
        makes_up: whether by a config each weight makes up for what those before it lost.
        least_size: numbers from which it stores a weight in fewer bytes; 0 if it stores none.
        storage: how it stores weights, where several such methods can share one pass over them.
        learns: whether it learns what earlier steps stored, so that it compares with the model that
            the recipe started from, and with the one before the run that it ends.
    """

    summary: str
    config: type[C]
    opset: Callable[[C], int]
    sites: Callable[[ir.Model, C], Iterable[S | Refusal]]
    apply: Callable[[ir.Model, Sequence[S], Calibrator, C], list[Change | Refusal]]
    uses_data: Callable[[C], bool] = _never
    inspect: Callable[[S], Refusal | None] = sound
    replaces: bool = False
    makes_up: Callable[[C], bool] = _never
    least_size: int = 0
    storage: WeightStorage[Any, Any, Any] | None = None
    learns: bool = False

    @property
    def name(self) -> str:
        """The method's name, as recipes write it."""
        return self.config.kind

    @property
    def whole(self) -> bool:
        """True if it works on the model as a whole, so that ``where`` makes no sense."""
        return self.config.whole_model
