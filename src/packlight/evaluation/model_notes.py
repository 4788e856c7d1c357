"""Sentences about models whose outputs cannot be compared in full: texts, and random numbers."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from packlight.model import Model, random_operators

RANDOM = "random"
"""Label of an evaluation of a model that draws random numbers."""

MOST_NAMES = 3
"""Names in a sentence; the others are counted."""


def model_notes(model: Model) -> tuple[str, ...]:
    """Sentences for people about outputs that are left out, and about random numbers."""
    return (*_text_note(model), *_random_note(model))


def _text_note(model: Model) -> Iterator[str]:
    names = [name for name, value in model.outputs().items() if value.dtype == ir.DataType.STRING]
    if names:
        yield f"not compared, because they are texts: {_listed(names)}"


def _random_note(model: Model) -> Iterator[str]:
    drawing = [f"{node.op_type} '{node.name}'" for node in random_operators(model.graph)]
    if drawing:
        yield (
            f"'{model.name}' draws random numbers ({_listed(drawing)}), so its outputs differ from "
            "run to run. Quality is judged against a second run of the reference: a drop is what "
            "exceeds its disagreement with itself"
        )


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    listed = ", ".join(dict.fromkeys(names[:MOST_NAMES]))
    if more > 0:
        return f"{listed} and {more} more"
    return listed
