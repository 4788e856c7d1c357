"""Variants that are made and evaluated ahead of the search, by several processes or machines.

The search goes its way alone and finds in the project what others have made: so it chooses the
same, however many work for it. What a killed worker leaves undone the search does itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from packlight.errors import InputError, ModelError, RecipeError, TaskError
from packlight.model import load
from packlight.records import Budget, Measurement, Recipe, SessionOptions
from packlight.search.bench import Bench
from packlight.search.steering import Steering
from packlight.sources.opening import Opened
from packlight.store import Store
from packlight.task import Task

Backend = Literal["loky", "ray", "dask"]
"""Back ends of joblib: processes of this machine, or a cluster."""

NAMES: Mapping[Backend, str] = {"loky": "joblib", "ray": "ray", "dask": "distributed"}
"""Packages of the back ends."""

EXTRAS: Mapping[Backend, str] = {"loky": "parallel", "ray": "ray", "dask": "dask"}
"""Extras of packlight that install them."""


FAILURES = (ModelError, RecipeError, TaskError)
"""Of a recipe, which the search meets again and records."""


@dataclass(frozen=True, slots=True)
class BenchParts:
    """What a worker makes a bench of.

    Attributes:
        folder: of the project.
        model: path of the original.
        name: of the original.
        task: samples.
        options: of every session.
        seed: of everything random.
    """

    folder: Path
    model: Path
    name: str
    task: Task
    options: SessionOptions
    seed: int

    @classmethod
    def of(cls, bench: Bench) -> BenchParts:
        """The parts of a bench."""
        opened = bench.opened
        return cls(
            bench.store.folder.resolve(), opened.path.resolve(), opened.model.name, bench.task,
            bench.options, bench.seed,
        )  # fmt: skip

    @contextmanager
    def bench(self) -> Iterator[Bench]:
        """A bench with the same project."""
        model = replace(load(self.model), name=self.name)
        with Store.open(self.folder) as store:
            yield Bench(store, Opened(model, self.model), self.task, self.options, self.seed)


@dataclass(frozen=True, slots=True)
class SteeringParts:
    """What a worker needs to evaluate on the samples that steer.

    Attributes:
        parts: of the bench.
        budget: whose floors are sought.
        judging: samples that will decide.
        original: measurements of the original.
    """

    parts: BenchParts
    budget: Budget
    judging: int
    original: Mapping[str, Measurement]


def make_and_steer(work: SteeringParts, name: str, recipe: Recipe) -> None:
    """Make a variant and evaluate it on the samples that steer; all is kept in the project."""
    with work.parts.bench() as bench:
        steering = Steering(bench, work.parts.task, work.budget, work.judging, work.original)
        with suppress(*FAILURES):
            steering.evaluate(steering.bench.variant(name, recipe))


def make_and_judge(parts: BenchParts, name: str, recipe: Recipe) -> None:
    """Make a variant and evaluate it on the samples of the verdict; all is kept in the project."""
    with parts.bench() as bench, suppress(*FAILURES):
        bench.quality(bench.variant(name, recipe))


@dataclass
class Workers:
    """Workers of a search.

    Attributes:
        jobs: variants that are made at a time.
        backend: where they are made.
        warnings: of work that was lost.
    """

    jobs: int = 1
    backend: Backend = "loky"
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.backend not in NAMES:
            raise InputError(f"back ends are {', '.join(NAMES)}; got '{self.backend}'")
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray starts; nothing is sent
        if self.jobs < 2 and self.backend == "loky":  # noqa: PLR2004 - nothing to share
            return
        for package in ("joblib", NAMES[self.backend]):
            try:
                import_module(package)
            except ImportError as error:
                raise InputError(
                    f"searching with several jobs on {self.backend} needs '{package}': "
                    f"pip install 'packlight[{EXTRAS[self.backend]}]'"
                ) from error

    @property
    def are_several(self) -> bool:
        """True if work can be shared."""
        return self.jobs > 1

    def steer(self, steering: Steering, recipes: Sequence[tuple[str, Recipe]]) -> None:
        """Make and evaluate variants on the samples that steer."""
        parts = BenchParts.of(steering.bench)
        work = SteeringParts(parts, steering.budget, steering.judging, dict(steering.original))
        self._share(make_and_steer, work, recipes)

    def judge(self, bench: Bench, recipes: Sequence[tuple[str, Recipe]]) -> None:
        """Make and evaluate variants on the samples of the verdict."""
        self._share(make_and_judge, BenchParts.of(bench), recipes)

    def _share(
        self, function: Callable[..., None], work: object, recipes: Sequence[tuple[str, Recipe]]
    ) -> None:
        if not self.are_several or len(recipes) < 2:  # noqa: PLR2004 - alone it is done here
            return
        joblib = import_module("joblib")
        calls = [joblib.delayed(function)(work, name, recipe) for name, recipe in recipes]
        try:
            with _backend(self.backend, joblib, self.jobs):
                joblib.Parallel(n_jobs=self.jobs)(calls)
        except Exception as error:  # whatever a cluster raises, the work is then done here
            kind = type(error).__name__
            message = f"A worker was lost ({kind}); what it had not finished was made again here."
            if message not in self.warnings:
                self.warnings.append(message)


@contextmanager
def _backend(name: Backend, joblib: Any, jobs: int) -> Iterator[None]:
    """The back end of joblib; a cluster that is connected is used, else one on this machine, which
    ends with the work."""
    if name == "loky":
        with joblib.parallel_config("loky"):
            yield
    elif name == "ray":
        ray = import_module("ray")
        is_connected = ray.is_initialized()
        import_module("ray.util.joblib").register_ray()
        try:
            with joblib.parallel_config("ray"):
                yield
        finally:
            if not is_connected:
                ray.shutdown()
    else:
        distributed = import_module("distributed")
        try:
            client = distributed.get_client()
        except ValueError:
            with (
                distributed.Client(n_workers=jobs, threads_per_worker=1),
                joblib.parallel_config("dask"),
            ):
                yield
            return
        with client.as_current(), joblib.parallel_config("dask"):
            yield
