"""The one way from calibration samples to observers.

A sample comes out of ``disk_cache``, runs through a graph in ``taps``, from where the last pass
ended (``resume``), and its values reach observers here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar, cast

import onnx_ir as ir

from packlight import runtime
from packlight.errors import RecipeError
from packlight.model import Model
from packlight.records.session import DEFAULT_SESSION, SessionOptions
from packlight.runtime.calibration.observer import Observer, PairObserver
from packlight.runtime.calibration.resume import ResumableRuns, Values
from packlight.runtime.disk_cache import CACHE_BYTES, SampleCache
from packlight.runtime.progress import Progress, silent

if TYPE_CHECKING:
    from packlight.runtime.calls import Steps

T = TypeVar("T")
END: Final = object()
MOST_OBSERVED = 2048
"""Samples that observers see, at most: more change statistics less than their spread over others,
and cost time in proportion. Learning takes all."""

STATELESS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FloatReference:
    """A model before the steps that only replaced its weights.

    Attributes:
        graph: before the first of them; its values are the targets of those of the same names.
        compensated: operators whose weights made up for errors of those before them in these steps.
    """

    graph: ir.Model
    compensated: frozenset[str] = frozenset()


class Calibrator:
    """Runs calibration samples through graphs and shows the values to observers.

    Args:
        samples: each a sequence of calls of the model; made once, and cached on disk.
        options: of the sessions.
        progress: is called before every sample.
        state: by output, the input that it feeds at the next call of a sample.
        sizes_only: whether nothing is observed, because only the size of a file is asked for.
        cache_bytes: room for samples on disk, and for values between passes.

    Attributes:
        model_name: of the model, for errors.
        method: name of the method that observes, for errors.
        reference: the model before the steps ahead that, like this one, replace weights; None where
            the step finds it as it was.
        original: the model that the recipe started from, where the step compares with it.
        progress: told what is being done.
        seed: of everything random in the recipe.
    """

    def __init__(
        self,
        samples: Sequence[Steps] = (),
        options: SessionOptions = DEFAULT_SESSION,
        progress: Progress = silent,
        *,
        state: Mapping[str, str] = STATELESS,
        sizes_only: bool = False,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.options = options
        self.state = state
        self.sizes_only = sizes_only
        self.model_name = ""
        self.method = ""
        self.reference: FloatReference | None = None
        self.original: Model | None = None
        self.progress = progress
        self.seed = 0
        self.cache_bytes = cache_bytes
        self._collected: Calibrator | None = None
        self._set_samples(samples)

    def _set_samples(self, samples: Sequence[Steps]) -> None:
        self._samples = SampleCache(samples, self.cache_bytes)
        self._read = partial(evenly_spread, self._samples, self.progress)
        self._resumable = ResumableRuns(
            partial(self._read, 0), self.options, self.progress, self.cache_bytes
        )

    @property
    def collected(self) -> Calibrator:
        """Runs the samples alone that others were made from; itself where none were made."""
        return self._collected or self

    @property
    def source(self) -> Sequence[Steps]:
        """The calibration samples, cached once they were made; empty where there are none."""
        return cast("Sequence[Steps]", self._samples)

    def with_samples(self, samples: Sequence[Steps]) -> Calibrator:
        """A calibrator with samples that were made from these, and caches of its own."""
        made = copy(self)
        made._collected = self if len(self._samples) else None
        made._set_samples(samples)
        return made

    def for_recipe(self, seed: int) -> Calibrator:
        """A calibrator of a recipe, with these samples and caches."""
        recipe = copy(self)
        recipe.seed = seed
        return recipe

    def for_step(
        self,
        model_name: str,
        method: str,
        reference: FloatReference | None,
        original: Model | None = None,
    ) -> Calibrator:
        """A calibrator of one step of a recipe, with these samples and caches."""
        step = copy(self)
        step.model_name = model_name
        step.method = method
        step.reference = reference
        step.original = original
        return step

    @property
    def samples(self) -> SampleCache:
        """The calibration samples, in their order.

        Raises:
            RecipeError: there are none.
        """
        self._check_count(len(self._samples))
        return self._samples

    @property
    def state_outputs(self) -> Collection[str]:
        """Outputs that the model is fed again at the next call of a sample."""
        return self.state.keys()

    def observe(
        self, graph: ir.Model, observers: Mapping[str, Sequence[Observer]], most: int = 0
    ) -> None:
        """Show observers the values of a graph as it stands, samples always in the same order.

        Args:
            graph: to run.
            observers: by the name of the value.
            most: samples, spread evenly over all of them; 0 takes ``MOST_OBSERVED``.

        Raises:
            RecipeError: there are no calibration samples.
        """
        calls = 0
        for values in self._values(graph, observers, most):
            calls += 1
            for name, value in values.items():
                for observer in observers[name]:
                    observer.update(value)
        self._check_calls(calls, observers)

    def observe_pair(
        self,
        graph: ir.Model,
        reference: ir.Model,
        observers: Mapping[str, Sequence[PairObserver]],
    ) -> None:
        """Show observers the values of two graphs, call by call; those in both.

        Args:
            graph: to run.
            reference: to run beside it; values of the same names are compared.
            observers: by the name of the value.

        Raises:
            RecipeError: there are no calibration samples.
        """
        calls = 0
        runs = self._values(graph, observers), self._values(reference, observers)
        for values, targets in zip(*runs, strict=True):
            calls += 1
            for name in values.keys() & targets.keys():
                for observer in observers[name]:
                    observer.update_pair(values[name], targets[name])
        self._check_calls(calls, observers)

    def _values(self, graph: ir.Model, names: Collection[str], most: int = 0) -> Iterator[Values]:
        """Values of each call; the next call runs while one is observed."""
        if not self._samples:
            return iter(())
        model = Model(graph, self.model_name)
        if most or self.state:
            samples = self._read(most)
            run = runtime.stream(model, list(names), samples, self.state, self.options)
            return prefetched(run)
        return prefetched(self._resumable.values(model, list(names)))

    def _check_calls(self, calls: int, observers: Mapping[str, object]) -> None:
        if observers:
            self._check_count(calls)

    def _check_count(self, count: int) -> None:
        if not count:
            raise RecipeError(
                f"'{self.method}' looks at calibration samples and the task has none; "
                "give it calibration data (in an .npz: calibration_INPUT), or choose a method that "
                "needs none, as 'weights'"
            )


def evenly_spread(samples: SampleCache, progress: Progress, most: int) -> Iterator[Steps]:
    """At most so many samples, and never more than ``MOST_OBSERVED``; 0 takes these."""
    total = len(samples)
    count = min(most or MOST_OBSERVED, MOST_OBSERVED, total)
    for index in range(count):
        progress("calibrating", index, count)
        yield samples[index * total // count]


def prefetched(values: Iterator[T]) -> Iterator[T]:
    """Values in their order, each computed in a thread while the last one is used.

    No more than one waits. An error in the thread is raised here, after the values before it.
    """
    with ThreadPoolExecutor(1) as worker:
        future = worker.submit(next, values, END)
        while (value := future.result()) is not END:
            future = worker.submit(next, values, END)
            yield cast("T", value)
