"""Apply a recipe to a model."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from packlight.compression import AppliedRecipe, uses_data
from packlight.compression import compress as apply_recipe
from packlight.compression.compress import NO_DATA
from packlight.compression.recipe_text import read_recipe, recipe_name
from packlight.errors import RecipeError
from packlight.model import Model, file_size
from packlight.model.save import check_output, write_model
from packlight.presentation.numbers import show_bytes
from packlight.records import (
    Recipe,
    SessionOptions,
    Variant,
    digest,
    variant_id,
)
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, silent
from packlight.search.bench import environment
from packlight.search.calibrate import calibration
from packlight.sources.opening import AnyModel, AnyTask, source_of, task_for


@dataclass(frozen=True, slots=True, eq=False)
class Compressed:
    """A compressed model with its record.

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

    def __repr__(self) -> str:
        sizes = f"{show_bytes(self.before)} -> {show_bytes(self.after)}"
        counts = f"{len(self.variant.changes)} changes, {len(self.variant.refusals)} refusals"
        return f"Compressed({self.variant.name!r}, {sizes}, {counts})"


def compress(
    model: AnyModel,
    recipe: str | Recipe,
    out: str | Path | None = None,
    *,
    task: AnyTask | None = None,
    options: SessionOptions = DEFAULT_SESSION,
    seed: int = 0,
    progress: Progress = silent,
) -> Compressed:
    """Apply a recipe.

    Args:
        model: stays as it is.
        recipe: in short, the path of its TOML or JSON file, or a value.
        out: where to write the new model; nowhere where there is none.
        task: whose calibration samples methods may look at.
        options: of the sessions that run them.
        seed: of everything random; a recipe that is a value has its own.
        progress: told what is being done.

    Raises:
        InputError: the model, the recipe or the task cannot be used, or ``out`` not be written.
    """
    steps = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, seed)
    if task is None and uses_data(steps):
        raise RecipeError(
            f"'{recipe if isinstance(recipe, str) else recipe.text()}' learns from calibration "
            "samples, and no task is given: name data with --task, as in --task data.npz, or leave "
            "out what learns, as rounding=gptq, mixed=, range=moments or static; quick8 and quick4 "
            "need no data"
        )
    source = source_of(model, runs=task is not None)
    target = None if out is None else Path(out)
    if target is not None:
        check_output(target, source.files)
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
    name = steps.text() if isinstance(recipe, Recipe) else recipe_name(recipe)
    seen = data.calibration_digest if data is not None and uses_data(steps) else ""
    variant = record(source.model, made, name, seen)
    where, took = "" if target is None else str(target), time.perf_counter() - start
    return Compressed(made.model, replace(variant, file=where, took=took), source.size, after)


def record(source: Model, made: AppliedRecipe, name: str, calibration: str) -> Variant:
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
