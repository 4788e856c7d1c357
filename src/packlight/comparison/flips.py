"""Which samples changed their outcome, and in which groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from packlight.errors import InputError
from packlight.records import Flips
from packlight.task import SampleTable

EXAMPLES = 100


def flips(
    variant: str,
    base: SampleTable,
    table: SampleTable,
    groups: Mapping[str, Sequence[str]],
) -> Flips:
    """Decisions that changed from the base to a variant, on the same samples.

    Args:
        variant: id.
        base: of the reference.
        table: of the variant.
        groups: by column, the group of each sample.

    Raises:
        InputError: the tables are not of the same samples.
    """
    if not np.array_equal(base.owner, table.owner):
        raise InputError(
            f"variants are compared on the same samples; the base has {base.owner.size} "
            f"decisions, '{variant}' has {table.owner.size}. Evaluate both with one task"
        )
    flags = outcomes(base, table)
    lost, won = flags["lost"], flags["won"]
    net = lost.astype(np.float64) - won
    return Flips(
        variant=variant,
        lost=int(lost.sum()),
        won=int(won.sum()),
        changed=int(flags["changed"].sum()),
        n=lost.size,
        by_group={
            f"{column}/{name}": share
            for column, names in groups.items()
            for name, share in by_group(net, base.owner, names).items()
        },
        examples=examples(base, lost),
    )


def outcomes(
    base: SampleTable, table: SampleTable
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Which decisions (m,) were lost, won or changed without being right; and all that changed.

    A decision can be right before and after and yet be another one, as under top-5; it counts as
    churn alone.
    """
    other = base.decisions != table.decisions
    lost, won = base.right & ~table.right, ~base.right & table.right
    changed = ~base.right & ~table.right & other
    return {"lost": lost, "won": won, "changed": changed, "churn": other | lost | won}


def by_group(
    net: np.ndarray[tuple[int], np.dtype[np.float64]],
    owner: np.ndarray[tuple[int], np.dtype[np.int64]],
    names: Sequence[str],
) -> dict[str, float]:
    """Mean of ``net`` (m,) over the decisions of each group's samples."""
    of_decision = np.array(list(map(str, names)))[owner]
    return {
        name: float(net[of_decision == name].mean()) for name in sorted(set(of_decision.tolist()))
    }


def examples(
    base: SampleTable, lost: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> tuple[int, ...]:
    """Samples that lost a decision, the one the base was surest of first; 100 at most."""
    places = np.flatnonzero(lost)
    surest = places[np.argsort(-base.confidence[places], kind="stable")]
    return tuple(dict.fromkeys(base.owner[surest].tolist()))[:EXAMPLES]
