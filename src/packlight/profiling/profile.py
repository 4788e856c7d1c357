"""Count the cost of a model: arithmetic, weights and activations by operator, and in all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from packlight.model import Model, Shape
from packlight.profiling.activation_arena import arena_bytes
from packlight.profiling.counting import Counter
from packlight.profiling.expanded_graph import expand, reconnect
from packlight.profiling.liveness import peak
from packlight.profiling.load_time import constants
from packlight.profiling.open_dimensions import bind
from packlight.profiling.rows import Rows, bytes_of
from packlight.records import Measurement, OperatorCost, Profile, counted

NOTHING: Mapping[str, Shape] = MappingProxyType({})


def profile(
    model: Model,
    inputs: Mapping[str, Sequence[int]],
    seen_shapes: Mapping[str, Shape] = NOTHING,
) -> Profile:
    """Count size, arithmetic and memory, without running the model.

    Args:
        model: the model.
        inputs: shapes for inputs whose dimensions are open.
        seen_shapes: shapes of values that a run showed.

    Returns:
        A cost for each operator, those in subgraphs included, and totals. A cost is None, and the
        operator listed as unknown, where a shape or the operator is not known. File sizes are not
        among the totals: a model is not a file.

    Raises:
        InputError: the model has no such input, or it cannot have that shape.
    """
    bound = bind(model, inputs)
    expanded = expand(model, bound.inputs, seen_shapes)
    main = model.graph.graph
    stored = set(main.initializers) - {value.name for value in main.inputs}
    constant = constants(expanded.graph.graph, stored)
    rows = Rows(model, expanded, Counter(expanded, constant), constant)
    operators = tuple(rows.costs())
    reconnect(expanded)  # arithmetic is that of stand-ins, memory is not
    activation_totals, peak_operator = memory(rows)
    return Profile(
        model=model.name,
        operators=operators,
        totals={**totals(operators, rows), **activation_totals},
        peak_operator=peak_operator,
        inputs=dict(bound.inputs),
        unknown=rows.unknown_by_reason(),
        notes=(*bound.notes, *rows.counter.notes),
    )


def totals(operators: Sequence[OperatorCost], rows: Rows) -> dict[str, Measurement]:
    """Totals of the model; each weight counts once."""
    macs = sum(operator.macs or 0 for operator in operators)
    other_ops = sum(operator.other_ops or 0 for operator in operators)
    complete = not rows.unknown
    return {
        "macs": arithmetic(macs, complete=complete),
        "other_ops": arithmetic(other_ops, complete=complete),
        "parameters": counted(sum(rows.parameters.values())),
        "weight_bytes": counted(sum(rows.stored_bytes.values()), "B"),
        "loaded_bytes": counted(sum(bytes_of(value) or 0 for value in rows.loaded), "B"),
    }


def arithmetic(value: int, *, complete: bool) -> Measurement:
    """A total; an estimate without an upper end where some operators are not counted."""
    if complete:
        return counted(value)
    return Measurement(float(value), "1", float(value), math.inf, "estimated", 1)


def memory(rows: Rows) -> tuple[dict[str, Measurement], str]:
    """Memory for activations, and the operator that needs most; nothing where shapes are open."""
    sizes = rows.sizes()
    if sizes is None:
        return {}, ""
    peak_bytes, where = peak(rows.graph, sizes)
    totals = {
        "peak_activation_bytes": counted(peak_bytes, "B"),
        "arena_bytes": counted(arena_bytes(rows.graph, sizes), "B"),
    }
    return totals, where
