"""Several models that share the budgets of one app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from packlight.records.budget import Budget
from packlight.records.measurement import Measurement, Meets
from packlight.records.outcome import Verdict


@dataclass(frozen=True, slots=True)
class AppPart:
    """One model of an app, and the variant of it that is chosen.

    Attributes:
        name: of the model in the app.
        project: folder with its variants.
        chosen: id of the variant, the original where that is chosen.
        variant: name of that variant.
        file: its path, relative to the project.
        verdict: of the model's own budgets.
        metrics: measurements of the variant.
    """

    name: str
    project: str
    chosen: str
    variant: str
    file: str
    verdict: Verdict
    metrics: Mapping[str, Measurement]


@dataclass(frozen=True, slots=True)
class AppOutcome:
    """Result of ``fit`` for an app.

    Attributes:
        verdict: of the shared budgets and of every model's own.
        budget: that the models share.
        meets: each shared budget by its text.
        originals: size, download and peak memory of all originals together.
        totals: of all chosen variants together.
        parts: the models, in the order of the app's file.
        advice: what would have to change to meet a missed budget.
        project: folder with a project for each model.
    """

    VERSION: ClassVar[int] = 1

    verdict: Verdict
    budget: Budget
    meets: Mapping[str, Meets]
    originals: Mapping[str, Measurement]
    totals: Mapping[str, Measurement]
    parts: tuple[AppPart, ...]
    advice: tuple[str, ...]
    project: str
