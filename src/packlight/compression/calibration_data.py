"""Samples that steps learn from: the task's, with changed copies, or made from the model."""

from __future__ import annotations

from collections.abc import Sequence

from packlight.compression.methods.table import METHODS
from packlight.compression.synthetic_samples import synthetic_samples
from packlight.errors import RecipeError
from packlight.model import Model
from packlight.records.method_config import CalibratedConfig, CalibrationData, MethodConfig
from packlight.records.recipe import Recipe, Step
from packlight.records.variant import MadeCalibration
from packlight.runtime.calibration import Calibrator
from packlight.task.augmentation import augmented_inputs, augmented_samples


def data_of(config: MethodConfig) -> CalibrationData:
    """The samples that a config names; the task's where it learns from none."""
    if isinstance(config, CalibratedConfig):
        return config.calibration
    return "samples"


def uses_data(recipe: Recipe) -> bool:
    """Tell whether a step of the recipe needs calibration samples."""
    return any(map(step_uses_data, recipe.steps))


def learns_without_data(recipe: Recipe) -> bool:
    """Tell whether a step learns and none needs samples that somebody collected."""
    return any(map(step_learns, recipe.steps)) and not uses_data(recipe)


def step_learns(step: Step) -> bool:
    """Tell whether a step learns from samples, collected or made."""
    return METHODS[step.method].uses_data(step.config)


def step_uses_data(step: Step) -> bool:
    """Tell whether a step needs calibration samples that somebody collected."""
    return step_learns(step) and data_of(step.config) != "synthetic"


class StepData:
    """Calibrators of the steps of a recipe, each made at its first use.

    Args:
        calibrator: runs the task's samples, if there are any.
        model: that the recipe starts from.

    Attributes:
        made: the samples that were made, by their name in recipes.
    """

    def __init__(self, calibrator: Calibrator, model: Model) -> None:
        self.model = model
        self.made: dict[CalibrationData, MadeCalibration] = {}
        self._calibrators: dict[CalibrationData, Calibrator] = {"samples": calibrator}

    def calibrator_for(self, steps: Sequence[Step]) -> Calibrator:
        """The calibrator of steps that learn in one pass.

        Raises:
            RecipeError: they name different samples, or these cannot be made.
        """
        names = list(dict.fromkeys(data_of(step.config) for step in steps))
        if len(names) > 1:
            raise RecipeError(
                "steps that round weights in one pass learn from the same samples; these have "
                f"calibration={' and calibration='.join(names)}: give all of them the same"
            )
        collected = self._calibrators["samples"]
        if not names or collected.sizes_only:
            return collected
        data = names[0]
        if data not in self._calibrators:
            self._calibrators[data] = self._make(data)
        return self._calibrators[data]

    def _make(self, data: CalibrationData) -> Calibrator:
        collected = self._calibrators["samples"]
        count = len(collected.source)
        if data == "synthetic":
            synthetic = synthetic_samples(self.model, collected.options, collected.seed)
            made = MadeCalibration(data, len(synthetic.samples), 0, synthetic.kinds)
            self.made[data] = made
            return collected.with_samples(synthetic.samples)
        if not count:
            return collected  # which refuses to observe without samples
        inputs = augmented_inputs(collected.source, collected.state)
        if not inputs.kinds:
            raise RecipeError(
                "calibration=augmented changes images, sound and rows of token ids; the samples "
                "have none of these: leave it out"
            )
        samples = augmented_samples(collected.source, collected.state, collected.seed)
        self.made[data] = MadeCalibration(data, len(samples), count, inputs.names)
        return collected.with_samples(samples)
