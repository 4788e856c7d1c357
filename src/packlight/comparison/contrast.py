"""A variant against its reference on the same samples, from what single samples did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from packlight.comparison import groups, shifts
from packlight.comparison.flips import outcomes
from packlight.comparison.slices import slices
from packlight.errors import InputError
from packlight.metrics import Metric, Rows
from packlight.metrics.paired import SMALLEST_GROUP, contributions, decision_rate, drop, drop_test
from packlight.metrics.significance import clustered_mcnemar, mcnemar
from packlight.records import Contrast, Measurement, Moved, Shift
from packlight.task import SampleTable

MOVED = 20
INPUT = "input_"
LONGEST = 80
"""Characters of a decision that are kept in a record."""

Outcome = Literal["lost", "won", "changed", "same", ""]


def contrast(
    metric: Metric,
    before: SampleTable,
    after: SampleTable,
    columns: Mapping[str, Sequence[str]],
    *,
    variant: str,
    reference: str,
    distance: str = "",
    seed: int = 0,
) -> Contrast:
    """What changed from a reference to a variant.

    Args:
        metric: of the task.
        before: what single samples did in the reference.
        after: the same in the variant.
        columns: by group column, the group of each sample.
        variant: id.
        reference: id.
        distance: name of what ``divergence`` in ``after`` holds.
        seed: of draws and halves.

    Raises:
        InputError: the tables are not of the same samples.
    """
    n = len(before.rows)
    if n != len(after.rows):
        raise InputError(
            f"variants are compared on the same samples; the reference has {n}, '{variant}' has "
            f"{len(after.rows)}. Evaluate both with one task"
        )
    loss, detectable = drop(metric, before.rows, after.rows, seed)
    p, test = drop_test(metric, before.rows, after.rows, loss)
    shares = parts_of(metric, before, after)
    own = groups.parts(metric, before, after, columns, seed)
    inputs = {name: one for name, one in after.samples.items() if name.startswith(INPUT)}
    found, tried = slices(shares, columns, inputs, seed) if shares.size else ((), 0)
    rates, rates_p, rates_test = changes(metric, before, after, seed)
    return Contrast(
        variant=variant,
        reference=reference,
        metric=metric.name,
        form=metric.form,
        n=n,
        drop=loss,
        p=p,
        test=test,
        detectable=detectable,
        level=shifts.level(metric, before.rows, after.rows, seed),
        rates=rates,
        rates_p=rates_p,
        rates_test=rates_test,
        groups=groups.contrasts(own, shares, n),
        worst=groups.worst(metric, before, after, own),
        slices=found,
        trust=shifts.trust(before, after, seed) if before.same_decision_counts(after) else {},
        spread=spread(metric, before, after, seed),
        neighbours=shifts.neighbours(after, seed),
        distance=distance if "divergence" in after.samples else "",
        moved=moved(before, after),
        notes=notes(n, shares, own, len(found), tried),
    )


def parts_of(metric: Metric, before: SampleTable, after: SampleTable) -> Rows:
    """Each sample's part in the drop (n,); empty for a metric that is no function of sums."""
    if metric.formula is None:
        return np.zeros(0)
    return contributions(metric, before.rows, after.rows)


def spread(metric: Metric, before: SampleTable, after: SampleTable, seed: int) -> dict[str, Shift]:
    """Quantiles of the metric over samples, where it has a value for each."""
    one, other = (shifts.of_samples(metric, table.rows) for table in (before, after))
    return shifts.spread(metric, one, other, seed) if one.size and other.size else {}


def changes(
    metric: Metric, before: SampleTable, after: SampleTable, seed: int
) -> tuple[dict[str, Measurement], float, str]:
    """Rates of what changed, p that as much got better as worse, and the test."""
    n = len(before.rows)
    if before.same_decision_counts(after):
        flags = outcomes(before, after)
        rates = {name: decision_rate(one, after.owner, n, seed) for name, one in flags.items()}
        return rates, *flips_test(flags["lost"], flags["won"], after, n)
    one, other = (shifts.of_samples(metric, table.rows) for table in (before, after))
    if not one.size or not other.size:
        return {}, 1.0, ""
    worse = (one - other) * (1 if metric.higher_is_better else -1)
    flags = {"worse": worse > 0, "better": worse < 0}
    places = np.arange(n)
    rates = {name: decision_rate(flag, places, n, seed) for name, flag in flags.items()}
    p = mcnemar(int(flags["worse"].sum()), int(flags["better"].sum()))
    return rates, p, "exact sign test"


def flips_test(
    lost: np.ndarray[tuple[int], np.dtype[np.bool_]],
    won: np.ndarray[tuple[int], np.dtype[np.bool_]],
    after: SampleTable,
    n: int,
) -> tuple[float, str]:
    """p that as many decisions are lost as won, and the test."""
    if len(lost) == n:
        return mcnemar(int(lost.sum()), int(won.sum())), "exact McNemar test"
    net = np.bincount(after.owner, won.astype(np.float64) - lost, n)
    return clustered_mcnemar(
        net.astype(np.float64)
    ), "McNemar test for samples of several decisions"


def moved(before: SampleTable, after: SampleTable) -> tuple[Moved, ...]:
    """The samples that changed most, by divergence; none that did not change."""
    if "divergence" not in after.samples:
        return ()
    far = after.samples["divergence"]
    order = np.argsort(-far, kind="stable")[:MOVED]
    paired = before.same_decision_counts(after)
    flags = outcomes(before, after) if paired else {}
    found = []
    for place in order[far[order] > 0].tolist():
        own = after.owner == place if paired else np.zeros(0, bool)
        outcome = next((name for name in OUTCOMES if flags and flags[name][own].any()), NOTHING)
        was, now = (told(table, own) if paired else "" for table in (before, after))
        found.append(Moved(place, float(far[place]), was, now, outcome if own.any() else ""))
    return tuple(found)


OUTCOMES: tuple[Outcome, ...] = ("lost", "won", "changed")
NOTHING: Outcome = "same"


def told(table: SampleTable, own: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    """What was decided on a sample, not too long."""
    text = " ".join(map(str, table.decisions[own].tolist()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def notes(
    n: int, shares: Rows, own: Sequence[groups.Part], confirmed: int, tried: int
) -> tuple[str, ...]:
    """What was not judged, and why."""
    told = []
    small = [part for part in own if not part.large]
    if small:
        told.append(
            f"{len(small)} of {len(own)} groups have fewer than {SMALLEST_GROUP} samples and are "
            "not judged"
        )
    if not shares.size:
        told.append(
            "the metric is no function of sums over samples, so groups are not set against the "
            "rest and no slices are sought"
        )
    elif n < 4 * SMALLEST_GROUP:
        told.append(f"slices are sought in {4 * SMALLEST_GROUP} samples and more; there are {n}")
    elif tried > confirmed:
        told.append(
            f"of {tried} slices that looked worse on one half of the samples, {tried - confirmed} "
            "did not hold on the other"
        )
    return tuple(told)
