"""Open and run every new file once, and name the step of the recipe that breaks one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from packlight.compression import compress as apply_recipe
from packlight.compression.recipe_text import recipe_name
from packlight.disk import scratch_folder
from packlight.errors import RecipeError
from packlight.model import Model, save
from packlight.records import Recipe
from packlight.runtime.calibration import Calibrator
from packlight.runtime.first_run import Feeds, FirstRun, confined_first_run, first_run

TROUBLE = {"closed": "open", "opened": "run"}
"""Next thing that a file does not do, by the stage that it reached."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Check of the files that a recipe makes of one model.

    Attributes:
        original: the model.
        recipe: all its steps.
        calibrator: runs the calibration samples, if there are any.
        feeds: inputs of one call, if a task gives any.
        trusted: whether files are opened in this process, not in a child with limits.
    """

    original: Model
    recipe: Recipe
    calibrator: Calibrator | None
    feeds: Feeds | None
    trusted: bool

    def check(self, path: Path) -> FirstRun:
        """Open and run a new file.

        A model that ONNX Runtime does not open or run with these inputs need not become one that it
        does.

        Raises:
            RecipeError: ONNX Runtime gets less far with it than with the original.
        """
        result = self._run(path)
        if result.stage == "ran":
            return result
        with _written(self.original) as before:
            expected = self._run(before)
        if result.reaches(expected):
            return result
        number = self._first_bad_step(expected)
        step = recipe_name(replace(self.recipe, steps=self.recipe.steps[number - 1 : number]))
        raise RecipeError(
            f"step {number} of the recipe, '{step}', makes a file that does not "
            f"{TROUBLE[result.stage]}: {result.error.rstrip('.')}. Leave the step out, or let it "
            "skip the operator named; --no-verify (verify=False) writes the file all the same"
        )

    def _run(self, path: Path) -> FirstRun:
        if self.trusted:
            return first_run(path, self.feeds)
        return confined_first_run(path, self.feeds)

    def _first_bad_step(self, expected: FirstRun) -> int:
        """Number of the first step, from 1, after which ONNX Runtime gets less far: a bisection."""
        good = 0
        bad = len(self.recipe.steps)
        while bad - good > 1:
            middle = (good + bad) // 2
            steps = replace(self.recipe, steps=self.recipe.steps[:middle])
            applied = apply_recipe(self.original, steps, self.calibrator)
            with _written(applied.model) as path:
                reached = self._run(path).reaches(expected)
            if reached:
                good = middle
            else:
                bad = middle
        return bad


@contextmanager
def _written(model: Model) -> Iterator[Path]:
    with scratch_folder() as folder:
        path = folder / "model.onnx"
        save(model, path)
        yield path
