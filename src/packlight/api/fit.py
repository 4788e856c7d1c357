"""Search for the best variant of a model that keeps every budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packlight.compression.recipe_text import AnyRecipe
from packlight.records import Budget, SessionOptions, parse_budget
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, silent
from packlight.search.fit import fit as search
from packlight.search.study import Study
from packlight.sources.opening import AnyModel, AnyTask, at_hand, task_for


def fit(
    model: AnyModel,
    task: AnyTask,
    budget: Sequence[str] | Budget,
    project: str | Path | None = None,
    *,
    recipes: Sequence[AnyRecipe] = (),
    options: SessionOptions = DEFAULT_SESSION,
    allow_slower: bool = False,
    seed: int = 0,
    seconds: float = 2.0,
    progress: Progress = silent,
) -> Study:
    """Try recipes from free to costly, measure all, and choose the best that keeps every budget.

    The same call on the same project measures only what is missing, and gives the same ids.

    Args:
        model: the original.
        task: that measures quality.
        budget: limits, as ``["size<=0.3x", "drop<=1%"]``.
        project: folder, new or of an earlier call; ``MODEL-packlight`` by default.
        recipes: each as ``compress`` takes it; the built-in ladder where there are none.
        options: of every session.
        allow_slower: whether a variant measured slower than the original may be chosen.
        seed: of everything random.
        seconds: to spend on the latency of one variant.
        progress: told what is being done, steps finished and steps in all.

    Raises:
        InputError: the model, the task, a recipe or a budget cannot be used.
    """
    limits = budget if isinstance(budget, Budget) else parse_budget(budget)
    with at_hand(model) as (opened,):
        folder = Path(project or f"{opened.model.name}-packlight")
        return search(
            opened,
            task_for(task, opened.model),
            limits,
            folder,
            recipes=recipes,
            options=options,
            allow_slower=allow_slower,
            seed=seed,
            seconds=seconds,
            progress=progress,
        )
