"""Compare the encodings of a model with what a format keeps, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import onnx_ir as ir

from packlight.backends.formats import WIDEST_CODE, FormatCapabilities, format_capabilities
from packlight.exporting.neutral import Neutral
from packlight.exporting.weights import FloatWeight, GridWeight, StoredWeight
from packlight.model import producer_of
from packlight.records.export import (
    ExportRefusal,
    FormatName,
    GridForm,
    PaletteForm,
    WeightForm,
    form_label,
)

CLIPPING = ("Relu", "Clip")
"""Operators that integer kernels take into the one before them."""


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


def keep_encodings(
    neutral: Neutral,
    name: FormatName,
    *,
    expand: bool,
    obstacle: Callable[[Neutral, StoredWeight], str] = lambda _neutral, _weight: "",
) -> Kept:
    """Check every weight of a model against a format.

    Integer codes of more than 8 bits are those of biases; a format without them gets floats.

    Args:
        neutral: the model.
        name: of the format.
        expand: whether weights that it cannot keep become floats.
        obstacle: states why a weight that the table keeps cannot be; empty where it can.
    """
    facts = format_capabilities(name)
    refused: dict[str, ExportRefusal] = {}
    for weight in neutral.encoded.values():
        form = weight.form()
        operators = reader_types(neutral, weight.name)
        integers = all(computes_in_integers(node) for node, _ in neutral.readers(weight.name))
        if not facts.keeps(form, operators, integers=integers):
            refused[weight.name] = _refusal(facts, name, weight, operators)
        elif reason := obstacle(neutral, weight):
            refusal = _refusal(facts, name, weight, operators)
            refused[weight.name] = replace(refusal, reason=reason, remedy="")
    if refused and not expand:
        return Kept(neutral, frozenset(), tuple(refused.values()))
    floats = {name: as_floats(neutral.weights[name]) for name in refused}
    return Kept(neutral.with_weights(floats), frozenset(refused), ())


def computes_in_integers(node: ir.Node) -> bool:
    """Tell whether an operator's activation and its result are quantized by stored ranges."""
    return reads_quantized(node) and gives_quantized(node)


def reads_quantized(node: ir.Node) -> bool:
    """Tell whether the first input of an operator is restored from codes."""
    producer = producer_of(node.inputs[0])
    return producer is not None and producer.op_type == "DequantizeLinear"


def gives_quantized(node: ir.Node) -> bool:
    """Tell whether an operator's only reader rounds its result to codes, behind a clipping."""
    readers = [use.node for use in node.outputs[0].uses()]
    if len(readers) == 1 and readers[0].op_type in CLIPPING:
        readers = [use.node for use in readers[0].outputs[0].uses()]
    return len(readers) == 1 and readers[0].op_type == "QuantizeLinear"


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
