"""Search for the best variant of a model that keeps every budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packlight.compression.recipe_text import AnyRecipe
from packlight.model import stored_files
from packlight.model.save import check_output, write_model
from packlight.records import Budget, Device, SessionOptions, parse_budget
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, notebook_progress
from packlight.search.fit import OnResult, ignore_result
from packlight.search.fit import fit as search
from packlight.search.study import Study
from packlight.sources.device_unit import device_and_unit
from packlight.sources.opening import AnyModel, AnyTask, at_hand, task_for


def fit(
    model: AnyModel,
    task: AnyTask,
    budget: Sequence[str] | Budget,
    project: str | Path | None = None,
    *,
    out: str | Path | None = None,
    recipes: Sequence[AnyRecipe] = (),
    device: str | Path | Device = "",
    unit: str = "",
    options: SessionOptions = DEFAULT_SESSION,
    allow_slower: bool = False,
    seed: int = 0,
    seconds: float = 2.0,
    progress: Progress | None = None,
    on_result: OnResult = ignore_result,
) -> Study:
    """Try recipes from free to costly, measure all, and choose the best that keeps every budget.

    The same call on the same project measures only what is missing, and gives the same ids.

    Args:
        model: the original.
        task: that measures quality.
        budget: limits, as ``["size<=0.3x", "drop<=1%"]``.
        project: folder, new or of an earlier call; ``MODEL-packlight`` by default.
        out: path of a copy of the chosen variant, ``.onnx``; none is written where no variant may
            keep every budget.
        recipes: each as ``compress`` takes it; the built-in ladder where there are none.
        device: name, alias or file of a device: latency, memory and energy are predicted for it as
            ``plan`` does, budgets on them are about it, its own limits hold, and recipes that it
            cannot run are left out.
        unit: of the device, that computes.
        options: of every session.
        allow_slower: whether a variant measured slower than the original may be chosen.
        seed: of everything random.
        seconds: to spend on the latency of one variant.
        progress: told what is being done, steps finished and steps in all; by default a progress
            bar in a notebook, else nothing.
        on_result: called with each finished variant, its number from 1, and how many there will be.

    Raises:
        InputError: the model, the task, a recipe or a budget cannot be used.
    """
    target = None
    if device:
        target, unit = device_and_unit(device, unit)
    limits = budget if isinstance(budget, Budget) else parse_budget(budget)
    with at_hand(model) as (opened,), notebook_progress(progress) as shown:
        if out is not None:
            check_output(Path(out), stored_files(opened.path))
        folder = Path(project or f"{opened.model.name}-packlight")
        study = search(
            opened,
            task_for(task, opened.model),
            limits,
            folder,
            recipes=recipes,
            device=target,
            unit=unit,
            options=options,
            allow_slower=allow_slower,
            seed=seed,
            seconds=seconds,
            progress=shown,
            on_result=on_result,
        )
        if out is not None and study.best is not None:
            write_model(study.best.model(), Path(out), stored_files(opened.path))
    return study
