"""What if: choices for operators, what each saves, and what all of them give together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from packlight.planning.plan import recipe_of, separate_steps
from packlight.planning.routes import KEEP, Choice
from packlight.planning.what_if import WhatIf
from packlight.records import Measurement, Recipe, parse_recipe
from packlight.records.budget import Budget
from packlight.records.measurement import Meets
from packlight.studio.pages import (
    ChoiceRow,
    Prediction,
    ReceiptLine,
    Sensitivity,
    StepTitle,
    WhatIfPage,
)
from packlight.studio.views.numbers import budget_lines, numbers

SIMPLIFY = "simplify"
STEPS = (
    StepTitle(KEEP, "keep", "Leave it as it is."),
    StepTitle("float16", "16-bit", "Weights as 16-bit floats; computed in 32 bits."),
    StepTitle("weights:8", "8-bit", "Weights as 8-bit integers; float speed."),
    StepTitle("palette:6", "6-bit", "Weights from a table of 64 values."),
    StepTitle("weights:4,block=32", "4-bit", "Weights as 4-bit integers in blocks of 32."),
    StepTitle("palette:4", "palette 4", "Weights from a table of 16 values."),
    StepTitle("static+weights:8", "int8", "Computed in 8-bit integers; needs calibration samples."),
)
"""Steps that the page offers."""


def choice_rows(what_if: WhatIf, sensitivity: Sensitivity | None) -> tuple[ChoiceRow, ...]:
    """Operators with a weight, with the effect of each step alone."""
    steps = [title.step for title in STEPS if title.step != KEEP]
    effects = {step: what_if.effect(step, what_if.opset(step)) for step in steps}
    seconds = {step: seconds_saved(what_if, step) for step in steps}
    noise = sensitivity.noise if sensitivity else {}
    rows = []
    for index, names in enumerate(what_if.names):
        refused = {}
        for step in steps:
            effect = effects[step].clusters[index]
            if not effect.changes and effect.refusals:
                refused[step] = effect.refusals[0].reason
        rows.append(
            ChoiceRow(
                operators=names,
                saved={step: float(-effects[step].clusters[index].growth) for step in steps},
                seconds={step: seconds[step][index] for step in steps},
                damage={
                    step: sum(noise[step].get(name, 0.0) for name in names)
                    for step in steps
                    if step in noise
                },
                refused=refused,
            )
        )
    return tuple(rows)


def seconds_saved(what_if: WhatIf, step: str) -> list[float]:
    """Predicted seconds that one run becomes shorter where a step changes one cluster alone.

    Only the geometric mean of the slow and the fast end is told: the interval of a difference is
    as wide as itself.
    """
    effect = what_if.effect(step, what_if.opset(step))
    chosen = [(index, effect) for index in range(len(what_if.names))]
    predictor = what_if.planner.predictor
    before = operator_seconds(what_if, predictor.original)
    after = operator_seconds(what_if, what_if.precision(chosen))
    return [float((before[rows] - after[rows]).sum()) for rows in what_if.rows]


def operator_seconds(
    what_if: WhatIf, precision: object
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Predicted seconds of every operator in a precision, by the roofline (n,)."""
    predictor = what_if.planner.predictor
    arithmetic, traffic, low, high = predictor.roofline(precision)  # type: ignore[arg-type]
    share = np.sqrt(low * high)
    seconds: np.ndarray[tuple[int], np.dtype[np.float64]] = (
        np.maximum(arithmetic, traffic) * predictor.workload.calls / share
    )
    return seconds


def what_if_page(
    key: str,
    what_if: WhatIf,
    rows: tuple[ChoiceRow, ...],
    sensitivity: Sensitivity | None,
    recipes: Mapping[str, str],
) -> WhatIfPage:
    """Choices for every operator with a weight."""
    target = what_if.planner.target
    return WhatIfPage(
        model=key,
        steps=STEPS,
        rows=rows,
        original=numbers(what_if.planner.original_costs),
        device=f"{target.device.title}, {target.unit}",
        sensitivity=sensitivity is not None,
        recipes=recipes,
    )


def prediction(
    what_if: WhatIf,
    rows: Sequence[ChoiceRow],
    choices: Sequence[Choice],
    budget: Budget,
    metric: str,
) -> Prediction:
    """Predicted costs of choices, against the budgets.

    Args:
        what_if: of the model.
        rows: effects of single steps, by cluster.
        choices: later ones override earlier ones.
        budget: of the project.
        metric: of the task.

    Raises:
        RecipeError: a choice matches no operator that it could change.
    """
    original = what_if.planner.original_costs
    changed = what_if.changed_count(choices)
    costs = original
    if changed:
        costs = what_if.choose(choices)
    recipe = recipe_of_choices(what_if, choices)
    damage = total_damage(rows, what_if.steps(choices))
    return Prediction(
        predicted=numbers(costs),
        changes={
            name: cost.value / original[name].value
            for name, cost in costs.items()
            if name in original and original[name].value
        },
        budgets=budget_lines(budget, original, costs, metric, met(budget, costs, original)),
        receipt=tuple(receipt(what_if, rows, choices)),
        changed=changed,
        damage=damage,
        recipe=recipe.text() if recipe.steps else "",
    )


def met(
    budget: Budget, costs: Mapping[str, Measurement], original: Mapping[str, Measurement]
) -> dict[str, Meets]:
    """Verdict on every budget; unclear where only a measurement tells."""
    verdicts: dict[str, Meets] = {}
    for limit in budget.all():
        verdicts[limit.text] = "unclear"
        if limit.judged_by in costs and (not limit.relative or limit.judged_by in original):
            verdicts[limit.text] = limit.met(costs[limit.judged_by], original)
    return verdicts


def recipe_of_choices(what_if: WhatIf, choices: Sequence[Choice]) -> Recipe:
    """The recipe that makes what choices say; predictions are of the simplified model."""
    steps = recipe_of(list(separate_steps(choices, what_if.effects_by_choice(choices)))).steps
    if not steps:
        return Recipe()
    return Recipe((*parse_recipe(SIMPLIFY).steps, *steps))


def receipt(
    what_if: WhatIf, rows: Sequence[ChoiceRow], choices: Sequence[Choice]
) -> Iterable[ReceiptLine]:
    """Effect of each choice on the operators that no later one overrides."""
    last = what_if.last_choices(choices)
    for index, choice in enumerate(choices):
        mine = [row for row, owner in zip(rows, last, strict=True) if owner == index]
        refused = [row.refused[choice.step] for row in mine if choice.step in row.refused]
        known = [row.damage[choice.step] for row in mine if choice.step in row.damage]
        acting = [row for row in mine if choice.step not in row.refused and choice.step != KEEP]
        yield ReceiptLine(
            where=choice.where,
            step=choice.step,
            operators=sum(len(row.operators) for row in acting),
            saved=sum(row.saved.get(choice.step, 0.0) for row in mine),
            seconds=sum(row.seconds.get(choice.step, 0.0) for row in mine),
            damage=sum(known) if known else None,
            refused=tuple(dict.fromkeys(refused)),
        )


def total_damage(rows: Sequence[ChoiceRow], steps: Sequence[str]) -> float | None:
    """Signal to noise at the outputs in dB, if the noise of single steps adds up.

    None where a step was not measured, or where nothing adds noise.
    """
    noise = 0.0
    for row, step in zip(rows, steps, strict=True):
        if step == KEEP or step in row.refused:
            continue
        if step not in row.damage:
            return None
        noise += row.damage[step]
    if noise <= 0:
        return None
    return -10 * math.log10(noise)
