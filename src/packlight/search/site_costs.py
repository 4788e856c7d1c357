"""Bytes that every form takes at every operator, counted by the code that writes files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packlight.compression.bit_allocation.candidate_damage import CandidateDamage
from packlight.planning.size.exact_size import ExactSizes, least_opset
from packlight.records import Recipe, Step
from packlight.search.forms import form_config


@dataclass(frozen=True, slots=True)
class FormCost:
    """Bytes of one form beside the codes.

    Attributes:
        overhead: of operators and names at each operator, on average.
        functions: added once to the file, by name.
    """

    overhead: float
    functions: Mapping[str, int]


def form_costs(
    sizes: ExactSizes, forms: Sequence[str], damages: Sequence[CandidateDamage]
) -> list[FormCost]:
    """Count what every form adds to a file, from a file in which every operator has it."""
    return [_form_cost(sizes, index, form, damages) for index, form in enumerate(forms)]


def _form_cost(
    sizes: ExactSizes, index: int, form: str, damages: Sequence[CandidateDamage]
) -> FormCost:
    names = tuple(entry.operator for entry in damages if index in entry.after)
    if not names:
        return FormCost(0.0, {})
    recipe = Recipe((Step(form_config(form), names),))
    applied = sizes.apply(recipe)
    before = sizes.baseline(least_opset(recipe)).file.size()
    codes = sum(change.after - change.before for change in applied.changes)
    overhead = applied.plain_size - before - codes
    return FormCost(overhead / len(names), applied.functions)
