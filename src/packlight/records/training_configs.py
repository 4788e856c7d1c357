"""Configs of the methods that learn weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from packlight.errors import RecipeError
from packlight.records.method_config import CalibratedConfig, MethodConfig

BATCH_BYTES = 400 * 2**20
"""Values that a batch may hold for its gradients."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Distill(CalibratedConfig):
    """Learn what earlier steps stored, against the float model, on calibration samples.

    Codes, tables, scales, weights, biases and norms change and keep their storage, so that the file
    has as many bytes as before. No labels are needed.

    Attributes:
        minutes: to learn; the number of steps follows from the time that the first ones take.
        steps: of learning, in place of ``minutes``; 0 sets none. A number of steps gives the same
            file again.
        rate: factor of all learning rates.
        batch: samples of a step.
    """

    kind: ClassVar[str] = "distill"
    whole_model: ClassVar[bool] = True

    minutes: float = 5.0
    steps: int = 0
    rate: float = 1.0
    batch: int = 32

    def __post_init__(self) -> None:
        MethodConfig.__post_init__(self)
        if not 0 < self.minutes <= MOST_MINUTES:
            raise RecipeError(f"distill,minutes= is above 0 and at most a week; got {self.minutes}")
        if self.steps < 0:
            raise RecipeError(f"distill,steps= is a number of steps; got {self.steps}")
        if self.rate <= 0:
            raise RecipeError(f"distill,rate= is a factor above 0; got {self.rate}")
        if self.batch < 1:
            raise RecipeError(f"distill,batch= is at least 1; got {self.batch}")


MOST_MINUTES = 7 * 24 * 60
