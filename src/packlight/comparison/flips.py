"""Flips: decisions that changed between two models, in all and by group."""

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
    lost = flags["lost"]
    won = flags["won"]
    net = lost.astype(np.float64) - won
    shares: dict[str, float] = {}
    for column, names in groups.items():
        for name, share in by_group(net, base.owner, names).items():
            shares[f"{column}/{name}"] = share
    return Flips(
        variant=variant,
        lost=int(lost.sum()),
        won=int(won.sum()),
        changed=int(flags["changed"].sum()),
        n=lost.size,
        by_group=shares,
        examples=examples(base, lost),
    )


def outcomes(
    base: SampleTable, table: SampleTable
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Flags of decisions (m,): lost, won, changed without being right, and all changes as churn.

    A decision can be right before and after and yet differ, as under top-5; it counts as churn
    alone.
    """
    differs = base.decisions != table.decisions
    lost = base.right & ~table.right
    won = ~base.right & table.right
    changed = ~base.right & ~table.right & differs
    return {"lost": lost, "won": won, "changed": changed, "churn": differs | lost | won}


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
    """Samples that lost a decision, those with the highest confidence of the base first."""
    indices = np.flatnonzero(lost)
    surest = indices[np.argsort(-base.confidence[indices], kind="stable")]
    return tuple(dict.fromkeys(base.owner[surest].tolist()))[:EXAMPLES]
