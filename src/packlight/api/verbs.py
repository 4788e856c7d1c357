"""The verbs as people call them, from Python and from the command line.

A model is a path, ``zoo:NAME`` or a ``Model``; a task is a text as for ``--task`` or a ``Task``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from packlight.compression import Compressed, uses_data
from packlight.compression import compress as apply_recipe
from packlight.compression.compress import NO_DATA
from packlight.compression.recipe_text import AnyRecipe, read_recipe, recipe_name
from packlight.errors import InputError, RecipeError
from packlight.model import Model, file_size, save
from packlight.model.write import check_target, write_model
from packlight.records import (
    Budget,
    Outcome,
    SessionOptions,
    Variant,
    digest,
    parse_budget,
    variant_id,
)
from packlight.runtime.progress import Progress, silent
from packlight.search.bench import environment
from packlight.search.calibrate import calibration
from packlight.search.fit import fit as search
from packlight.sources.opening import AnyModel, AnyTask, Opened, open_model, source_of, task_for
from packlight.task import init_task

OPTIONS = SessionOptions()
"""How models run where nothing else is said."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a recipe made.

    Attributes:
        model: the new model.
        variant: its record.
        before: bytes of the original's file, external data included.
        after: bytes of the new one.
    """

    model: Model
    variant: Variant
    before: int
    after: int


def load(model: str | Path) -> Model:
    """Read a model; what is not yet trusted is first opened in a child process.

    Args:
        model: path of an ONNX file, or ``zoo:NAME``.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    return open_model(model).model


@contextmanager
def at_hand(*models: AnyModel) -> Iterator[list[Opened]]:
    """Each model with a file; a value is written to a folder that goes when this is left."""
    with TemporaryDirectory(prefix="packlight-") as folder:
        yield [with_file(model, Path(folder) / f"{i}.onnx") for i, model in enumerate(models)]


def with_file(model: AnyModel, spare: Path) -> Opened:
    """A model with the file it came from, or written to ``spare``."""
    if not isinstance(model, Model):
        return open_model(model)
    save(model, spare)
    return Opened(model, spare)


def compress(
    model: AnyModel,
    recipe: AnyRecipe,
    out: str | Path | None = None,
    *,
    task: AnyTask | None = None,
    options: SessionOptions = OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> Made:
    """Apply a recipe.

    Args:
        model: stays as it is.
        recipe: in short, as ``simplify+weights:4,block=32``; the path of its TOML or JSON file; or
            configs in order, as ``[Simplify(), WeightOnly(bits=4, granularity=PerBlock(32))]``.
        out: where to write the new model; nowhere where there is none.
        task: whose calibration samples methods may look at.
        options: of the sessions that run them.
        seed: of everything random; a ``Recipe`` has its own.
        progress: told what is being done.

    Raises:
        InputError: the model, the recipe or the task cannot be used, or ``out`` not be written.
    """
    steps = read_recipe(recipe, seed)
    if task is None and uses_data(steps):
        raise RecipeError(
            f"'{recipe_name(recipe)}' learns from calibration "
            "samples, and no task is given: name data with --task, as in --task data.npz, or leave "
            "out what learns, as rounding=gptq, mixed=, range=moments or static; quick8 and quick4 "
            "need no data"
        )
    source = source_of(model, runs=task is not None)
    target = None if out is None else Path(out)
    if target is not None:
        check_target(target, source.files)
    data = None if task is None else task_for(task, source.model)
    start = time.perf_counter()
    made = apply_recipe(
        source.model, steps, NO_DATA if data is None else calibration(data, options, progress)
    )
    after = (
        file_size(made.model.graph)
        if target is None
        else write_model(made.model, target, source.files)
    )
    name = recipe_name(recipe)
    seen = data.calibration_digest if data is not None and uses_data(steps) else ""
    variant = record(source.model, made, name, seen)
    where, took = "" if target is None else str(target), time.perf_counter() - start
    return Made(made.model, replace(variant, file=where, took=took), source.size, after)


def record(source: Model, made: Compressed, name: str, calibration: str) -> Variant:
    """What was made of a model, under the id that ``fit`` gives it too."""
    parent = digest({"original": source.digest})
    return Variant(
        id=variant_id(parent, made.recipe, calibration),
        parent=parent,
        name=name,
        recipe=made.recipe,
        model=made.model.digest,
        calibration=calibration,
        changes=made.changes,
        refusals=made.refusals,
        environment=environment(),
    )


def fit(
    model: AnyModel,
    task: AnyTask,
    budget: Sequence[str] | Budget,
    project: str | Path,
    *,
    recipes: Sequence[AnyRecipe] = (),
    options: SessionOptions = OPTIONS,
    allow_slower: bool = False,
    seed: int = 0,
    seconds: float = 2.0,
    progress: Progress = silent,
) -> Outcome:
    """Try recipes from free to costly, measure all, and choose the best that keeps every budget.

    The same call on the same project measures only what is missing, and gives the same ids.

    Args:
        model: the original.
        task: how good a model is.
        budget: what it may cost and lose, as ``["size<=0.3x", "drop<=1%"]``.
        project: folder, new or of an earlier call.
        recipes: each as ``compress`` takes it; the built-in ladder where there are none.
        options: of every session.
        allow_slower: whether a variant measured slower than the original may be chosen.
        seed: of everything random.
        seconds: to spend on the latency of one variant.
        progress: told what is being done, steps finished and steps in all.

    Raises:
        InputError: the model, the task, a recipe or a budget cannot be used.
    """
    asked = budget if isinstance(budget, Budget) else parse_budget(budget)
    with at_hand(model) as (opened,):
        return search(
            opened,
            task_for(task, opened.model),
            asked,
            Path(project),
            recipes=recipes,
            options=options,
            allow_slower=allow_slower,
            seed=seed,
            seconds=seconds,
            progress=progress,
        )


def write_task(model: AnyModel, out: Path) -> str:
    """Write a commented task for a model, to fill in; what ``--task`` takes for it.

    Raises:
        InputError: the model cannot be used, the file is there already, or cannot be written.
    """
    with at_hand(model) as (opened,):
        text = init_task(opened.model, out.name)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"'{out}' is there already; name another file with -o") from error
    except OSError as error:
        raise InputError(f"'{out}' cannot be written: {error.strerror}") from error
    return f"{out}:task"
