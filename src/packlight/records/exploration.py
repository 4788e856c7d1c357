"""How a search chose: its samples, trade-off curve, choices by site, predictions and stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

Goal = Literal["balance", "size", "latency", "quality", "energy"]
"""What a search seeks within the budgets: least size times latency, size, latency, energy, or the
best quality."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of the predicted trade-off curve.

    Attributes:
        size: bytes of the file.
        snr: predicted signal to noise of the outputs, in dB.
    """

    size: int
    snr: float


@dataclass(frozen=True, slots=True)
class SiteReason:
    """The form that is chosen for one operator's weights, and why.

    Attributes:
        operator: its name.
        form: as recipes write it; ``keep`` where the weights stay as they are.
        numbers: in its weights.
        before: bytes of the weights as they are.
        after: bytes of codes, scales and tables.
        share: of the predicted noise of the outputs.
        next_form: the next larger form; empty where there is none.
        saves: bytes that the choice saves against it.
        costs: dB of predicted signal to noise that the choice costs against it.
    """

    operator: str
    form: str
    numbers: int
    before: int
    after: int
    share: float
    next_form: str = ""
    saves: int = 0
    costs: float = 0.0


@dataclass(frozen=True, slots=True)
class Prediction:
    """A mix of forms, predicted and measured on the samples that steer the search.

    Attributes:
        name: of the mix.
        size: bytes of its file, counted before it was made.
        made_size: bytes of the file that was made.
        snr: predicted signal to noise of the outputs, in dB.
        measured_snr: in dB.
        drop: measured drop of the task's metric.
    """

    name: str
    size: int
    made_size: int
    snr: float
    measured_snr: float
    drop: float


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage of a search.

    Attributes:
        name: ``no data``, ``calibrated``, ``sensitivity``, ``mixed`` or ``combined``.
        reason: why it was entered, or left out.
        expected: seconds that were expected; 0 where it was left out.
        took: seconds.
        memory: bytes that were expected at most, beside the model itself.
    """

    name: str
    reason: str
    expected: float = 0.0
    took: float = 0.0
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Exploration:
    """How a search chose.

    Attributes:
        goal: what it sought within the budgets.
        steering: samples that steered it.
        judging: samples that decide the verdict; none of them steered, unless all did.
        shared: whether the same samples did both, because there are too few to split.
        curve: the predicted trade-off, smallest file first.
        sites: the chosen mix, operator by operator.
        checks: mixes that were really evaluated.
        stages: in order.
        advice: what would have to change to meet a missed budget.
    """

    VERSION: ClassVar[int] = 1

    goal: Goal
    steering: int
    judging: int
    shared: bool
    curve: tuple[CurvePoint, ...] = ()
    sites: tuple[SiteReason, ...] = ()
    checks: tuple[Prediction, ...] = ()
    stages: tuple[StageRecord, ...] = ()
    advice: tuple[str, ...] = ()
