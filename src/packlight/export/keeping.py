"""Compare the encodings of a model with what a format keeps, before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

from packlight.backends.formats import WIDEST_CODE, FormatCapabilities, format_capabilities
from packlight.export.neutral import Neutral
from packlight.export.weights import FloatWeight, GridWeight, StoredWeight
from packlight.records.export import (
    ExportRefusal,
    FormatName,
    GridForm,
    PaletteForm,
    WeightForm,
    form_label,
)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A model whose encodings a format keeps.

    Attributes:
        neutral: with every other encoding replaced by floats.
        expanded: names of the weights that became floats because the user allowed it.
        refusals: what the format does not keep; empty where it may be written.
    """

    neutral: Neutral
    expanded: frozenset[str]
    refusals: tuple[ExportRefusal, ...]


def keep_encodings(neutral: Neutral, name: FormatName, *, expand: bool) -> Kept:
    """Check every weight of a model against a format.

    Integer codes of more than 8 bits are those of biases; a format without them gets floats.

    Args:
        neutral: the model.
        name: of the format.
        expand: whether weights that it cannot keep become floats.
    """
    facts = format_capabilities(name)
    refused: dict[str, ExportRefusal] = {}
    for weight in neutral.encoded.values():
        form = weight.form()
        operators = reader_types(neutral, weight.name)
        if not facts.keeps(form, operators):
            refused[weight.name] = _refusal(facts, name, weight, operators)
    if refused and not expand:
        return Kept(neutral, frozenset(), tuple(refused.values()))
    floats = {name: as_floats(neutral.weights[name]) for name in refused}
    return Kept(neutral.with_weights(floats), frozenset(refused), ())


def as_floats(weight: StoredWeight) -> StoredWeight:
    """A weight stored as the floats that operators read."""
    return StoredWeight(weight.name, FloatWeight(weight.decode()), weight.shape, weight.dtype)


def is_bias(weight: StoredWeight) -> bool:
    """Tell whether a weight is stored in wide codes, as biases of integer operators are."""
    return isinstance(weight.encoding, GridWeight) and weight.encoding.bits > WIDEST_CODE


def reader_types(neutral: Neutral, name: str) -> tuple[str, ...]:
    """Types of the operators that read a weight, each once."""
    return tuple(dict.fromkeys(node.op_type for node, _ in neutral.readers(name)))


def _refusal(
    facts: FormatCapabilities, name: FormatName, weight: StoredWeight, operators: tuple[str, ...]
) -> ExportRefusal:
    form = weight.form()
    return ExportRefusal(
        format=name,
        subject=weight.name,
        operator=", ".join(operators),
        form=form,
        reason=f"it has no {describe(form)} for {' or '.join(operators)}",
        remedy=facts.nearest_recipe(form, operators),
    )


def describe(form: WeightForm) -> str:
    """A form in words, as ``palette of 3 bits in 4 tables``."""
    head, _, bits = form_label(form).rpartition(" ")
    text = f"{head} of {bits} bits"
    if isinstance(form, GridForm):
        if form.granularity == "block":
            text += f" in blocks of {form.block}"
        if not form.symmetric:
            text += " with zero points"
    if isinstance(form, PaletteForm):
        if form.tables > 1:
            text += f" in {form.tables} tables"
        if form.scaled:
            text += " with scales"
    return text
