"""Diff: two models matched operator by operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Final

from packlight.records import Measurement, Profile
from packlight.studio.pages import DiffPage, DiffRow, Number, OperatorsPage
from packlight.studio.views.numbers import number

COMPARED: Final = (
    "macs", "parameters", "weight_bytes", "activation_bytes", "other_ops"
)  # fmt: skip
"""Columns that tell two matched operators apart; times are measured or predicted anew each time."""

TOTALS: Final = (
    "size", "weight_bytes", "macs", "parameters", "peak_activation_bytes", "predicted_latency"
)  # fmt: skip

MEASURED: Final = ("latency", "peak_memory", "drop")
"""Measurements of variants that stand beside the totals."""

NOT_MEASURED: Final[tuple[Mapping[str, Measurement], Mapping[str, Measurement]]] = ({}, {})
LONGEST_SEARCH = 4000
"""Operators without a match on one side up to which their order is aligned."""


def diff_page(
    first: OperatorsPage,
    second: OperatorsPage,
    profiles: tuple[Profile, Profile],
    notes: Mapping[str, str],
    *,
    measured: tuple[Mapping[str, Measurement], Mapping[str, Measurement]] = NOT_MEASURED,
    metric: str = "",
) -> DiffPage:
    """Two models side by side.

    Args:
        first: operators of the first model.
        second: operators of the second model.
        profiles: of both.
        notes: what a recipe made of operators of the first model, in words.
        measured: measurements of both, where they are variants of a project.
        metric: of its task.
    """
    rows = [_with_note(row, first, second, notes) for row in matched_rows(first, second)]
    ours = Counter(first.ops)
    theirs = Counter(second.ops)
    totals = {
        name: (_number(name, profiles[0].totals[name]), _number(name, profiles[1].totals[name]))
        for name in TOTALS
        if name in profiles[0].totals and name in profiles[1].totals
    }
    before, after = measured
    shown = [name for name in MEASURED if name in before and name in after]
    if "latency" in shown:
        totals.pop("predicted_latency", None)
    for name in shown:
        totals[name] = (number(name, before[name], metric), number(name, after[name], metric))
    differing = sorted(op for op in ours | theirs if ours[op] != theirs[op])
    return DiffPage(
        first=first,
        second=second,
        rows=tuple(rows),
        counts=dict(Counter(row.status for row in rows)),
        totals=totals,
        ops={op: (ours[op], theirs[op]) for op in differing},
    )


def _with_note(
    row: DiffRow, first: OperatorsPage, second: OperatorsPage, notes: Mapping[str, str]
) -> DiffRow:
    note = ""
    if row.first >= 0:
        note = notes.get(first.names[row.first], "")
    if not note and row.second >= 0:
        note = second.storage[row.second]
    return replace(row, note=note)


def _number(name: str, measurement: Measurement) -> Number:
    return number(name, measurement)


def matched_rows(first: OperatorsPage, second: OperatorsPage) -> list[DiffRow]:
    """Matched operators in the order of the first model, added ones where they stand.

    Operators of equal name and type match; between them, runs of equal types do.
    """
    pairs = _by_name(first, second)
    taken = set(pairs.values())
    ours = [index for index in range(len(first.names)) if index not in pairs]
    theirs = [index for index in range(len(second.names)) if index not in taken]
    pairs |= _by_type(first, second, ours, theirs)
    return _in_order(first, second, pairs)


def _by_name(first: OperatorsPage, second: OperatorsPage) -> dict[int, int]:
    index = {
        (name, op): row for row, (name, op) in enumerate(zip(second.names, second.ops, strict=True))
    }
    pairs = {}
    for row, key in enumerate(zip(first.names, first.ops, strict=True)):
        if key in index:
            pairs[row] = index.pop(key)
    return pairs


def _by_type(
    first: OperatorsPage, second: OperatorsPage, ours: Sequence[int], theirs: Sequence[int]
) -> dict[int, int]:
    """Match the operators that have no namesake by the order of their types and sizes."""
    if max(len(ours), len(theirs)) > LONGEST_SEARCH:
        return {}
    our_keys = [_likeness(first, row) for row in ours]
    their_keys = [_likeness(second, row) for row in theirs]
    blocks = SequenceMatcher(None, our_keys, their_keys, autojunk=False).get_matching_blocks()
    return {
        ours[block.a + step]: theirs[block.b + step]
        for block in blocks
        for step in range(block.size)
    }


def _likeness(page: OperatorsPage, row: int) -> tuple[object, ...]:
    """Type and arithmetic of an operator, which renaming and compression leave alone."""
    return page.ops[row], page.numbers["macs"][row], page.numbers["activation_bytes"][row]


def _in_order(first: OperatorsPage, second: OperatorsPage, pairs: dict[int, int]) -> list[DiffRow]:
    """Rows in the order of the first model, with added ones behind what they follow."""
    rows: list[DiffRow] = []
    matched = set(pairs.values())
    position = 0
    for row in range(len(first.names)):
        counterpart = pairs.get(row, -1)
        if counterpart < 0:
            rows.append(DiffRow("removed", row, -1, ()))
            continue
        between = [added for added in range(position, counterpart) if added not in matched]
        rows.extend(DiffRow("added", -1, added, ()) for added in between)
        position = max(position, counterpart + 1)
        fields = _changed_fields(first, second, row, counterpart)
        rows.append(DiffRow("changed" if fields else "same", row, counterpart, fields))
    shown = {row.second for row in rows}
    rows.extend(
        DiffRow("added", -1, added, ()) for added in range(len(second.names)) if added not in shown
    )
    return rows


def _changed_fields(
    first: OperatorsPage, second: OperatorsPage, ours: int, theirs: int
) -> tuple[str, ...]:
    return tuple(
        name for name in COMPARED if first.numbers[name][ours] != second.numbers[name][theirs]
    )
