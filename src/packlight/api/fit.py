"""Search for the best variant of a model that meets every budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packlight.compression.recipe_text import AnyRecipe
from packlight.model import stored_files
from packlight.model.save import check_output, write_model
from packlight.records import Budget, Device, SessionOptions, parse_budget
from packlight.records.budget import parse_duration
from packlight.records.exploration import Goal
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, notebook_progress
from packlight.search.fit import SearchSettings
from packlight.search.fit import fit as search
from packlight.search.parallel import Backend
from packlight.search.study import Study
from packlight.search.trials import OnResult, ignore_result
from packlight.sources.device_unit import device_and_unit
from packlight.sources.opening import AnyModel, AnyTask, at_hand, task_for

AnyDevice = str | Path | Device


def fit(
    model: AnyModel,
    task: AnyTask,
    budget: Sequence[str] | Budget,
    project: str | Path | None = None,
    *,
    out: str | Path | None = None,
    recipes: Sequence[AnyRecipe] = (),
    device: AnyDevice | Sequence[AnyDevice] = "",
    unit: str = "",
    goal: Goal | None = None,
    time: str | float = 0.0,
    jobs: int = 1,
    backend: Backend = "loky",
    options: SessionOptions = DEFAULT_SESSION,
    allow_slower: bool = False,
    seed: int = 0,
    seconds: float = 2.0,
    progress: Progress | None = None,
    on_result: OnResult = ignore_result,
) -> Study:
    """Find the form of every weight, measure what is promising, and choose the best that fits.

    The same call on the same project measures only what is missing, and gives the same ids.

    Args:
        model: the original.
        task: that measures quality.
        budget: limits, as ``["size<=0.3x", "drop<=1%"]``.
        project: folder, new or of an earlier call; ``MODEL-packlight`` by default.
        out: path of a copy of the chosen variant, ``.onnx``; none is written where no variant may
            meet every budget.
        recipes: each as ``compress`` takes it, to try in place of a search.
        device: name, alias or file of a device, or several: latency, memory and energy are
            predicted for it as ``plan`` does, budgets on them are about it, its own limits hold,
            and forms and recipes that it cannot run are left out. Several must fit all.
        unit: of the devices, that computes.
        goal: what is sought within the budgets: the smallest ``size`` or ``latency`` or ``energy``,
            the best ``quality``, or the least ``balance`` of size times latency; by default the
            best quality where no floor is set, else the balance.
        time: seconds, or a text as ``10m``, that the search may take; 0 for as long as it needs.
        jobs: variants that are made and evaluated at a time; the result is the same.
        backend: that runs them: ``loky``, processes of this machine; ``ray`` or ``dask``, the
            cluster that is connected, or a local one. All need the project's folder.
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
    named = [device] if isinstance(device, str | Path | Device) else list(device)
    targets = [device_and_unit(one, unit) for one in named if one]
    seconds_allowed = parse_duration(time) if isinstance(time, str) else float(time)
    limits = parse_budget(budget)
    with at_hand(model) as (opened,), notebook_progress(progress) as shown:
        if out is not None:
            check_output(Path(out), stored_files(opened.path))
        folder = Path(project or f"{opened.model.name}-packlight")
        settings = SearchSettings(
            recipes=recipes,
            devices=targets,
            goal=goal,
            options=options,
            allow_slower=allow_slower,
            seed=seed,
            seconds=seconds,
            time=seconds_allowed,
            jobs=jobs,
            backend=backend,
            progress=shown,
            on_result=on_result,
        )
        study = search(opened, task_for(task, opened.model), limits, folder, settings)
        if out is not None and study.best is not None:
            write_model(study.best.model(), Path(out), stored_files(opened.path))
    return study
