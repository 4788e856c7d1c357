"""Contrast a variant with its reference, from scores of single samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from packlight.comparison import groups, shifts
from packlight.comparison.flips import outcomes
from packlight.comparison.moved import class_names, moved
from packlight.comparison.slices import slices
from packlight.errors import InputError
from packlight.metrics import Metric, Rows
from packlight.metrics.paired import SMALLEST_GROUP, contributions, decision_rate, drop, drop_test
from packlight.metrics.significance import clustered_mcnemar, mcnemar
from packlight.records import Contrast, Measurement, Shift
from packlight.task import SampleTable

INPUT = "input_"


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
    """Contrast a variant with a reference.

    Args:
        metric: of the task.
        before: scores of the reference on single samples.
        after: scores of the variant on the same samples.
        columns: by group column, the group of each sample.
        variant: id.
        reference: id.
        distance: name of the quantity in ``divergence`` of ``after``.
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
    judged = groups.parts(metric, before, after, columns, seed)
    inputs = {name: rows for name, rows in after.samples.items() if name.startswith(INPUT)}
    confirmed, tried = slices(shares, columns, inputs, seed) if shares.size else ((), 0)
    rates, rates_p, rates_test = changes(metric, before, after, seed)
    paired = before.same_decision_counts(after)
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
        groups=groups.contrasts(judged, shares, n),
        worst=groups.worst(metric, before, after, judged),
        slices=confirmed,
        trust=shifts.confidence(before, after, seed) if paired else {},
        spread=spread(metric, before, after, seed),
        neighbours=shifts.neighbors(after, seed),
        distance=distance if "divergence" in after.samples else "",
        moved=moved(before, after, class_names(before, columns)),
        notes=_notes_on(n, shares, judged, len(confirmed), tried),
    )


def parts_of(metric: Metric, before: SampleTable, after: SampleTable) -> Rows:
    """Each sample's part in the drop (n,); empty for a metric that is no function of sums."""
    if metric.formula is None:
        return np.zeros(0)
    return contributions(metric, before.rows, after.rows)


def spread(metric: Metric, before: SampleTable, after: SampleTable, seed: int) -> dict[str, Shift]:
    """Quantiles of the metric over samples, where it has a value for each."""
    reference = shifts.per_sample(metric, before.rows)
    variant = shifts.per_sample(metric, after.rows)
    if not reference.size or not variant.size:
        return {}
    return shifts.spread(metric, reference, variant, seed)


def changes(
    metric: Metric, before: SampleTable, after: SampleTable, seed: int
) -> tuple[dict[str, Measurement], float, str]:
    """Rates of changes, p of as many better as worse, and the name of the test."""
    n = len(before.rows)
    if before.same_decision_counts(after):
        flags = outcomes(before, after)
        rates = {name: decision_rate(flag, after.owner, n, seed) for name, flag in flags.items()}
        return rates, *_flips_test(flags["lost"], flags["won"], after, n)
    reference = shifts.per_sample(metric, before.rows)
    variant = shifts.per_sample(metric, after.rows)
    if not reference.size or not variant.size:
        return {}, 1.0, ""
    worse = reference - variant
    if not metric.higher_is_better:
        worse = -worse
    flags = {"worse": worse > 0, "better": worse < 0}
    samples = np.arange(n)
    rates = {name: decision_rate(flag, samples, n, seed) for name, flag in flags.items()}
    p = mcnemar(int(flags["worse"].sum()), int(flags["better"].sum()))
    return rates, p, "exact sign test"


def _flips_test(
    lost: np.ndarray[tuple[int], np.dtype[np.bool_]],
    won: np.ndarray[tuple[int], np.dtype[np.bool_]],
    after: SampleTable,
    n: int,
) -> tuple[float, str]:
    if len(lost) == n:
        return mcnemar(int(lost.sum()), int(won.sum())), "exact McNemar test"
    net = np.bincount(after.owner, won.astype(np.float64) - lost, n)
    return clustered_mcnemar(
        net.astype(np.float64)
    ), "McNemar test for samples of several decisions"


def _notes_on(
    n: int, shares: Rows, judged: Sequence[groups.Part], confirmed: int, tried: int
) -> tuple[str, ...]:
    """Notes on groups and slices that could not be judged."""
    notes = []
    small = [part for part in judged if not part.large]
    if small:
        notes.append(
            f"{len(small)} of {len(judged)} groups have fewer than {SMALLEST_GROUP} samples and "
            "are not judged"
        )
    if not shares.size:
        notes.append(
            "the metric is not a function of sums over samples, so groups are not compared with "
            "the other samples, and no slices are searched"
        )
    elif n < 4 * SMALLEST_GROUP:
        notes.append(f"slices need at least {4 * SMALLEST_GROUP} samples; there are {n}")
    elif tried > confirmed:
        notes.append(
            f"{tried - confirmed} of {tried} slices that looked worse on one half of the samples "
            "were not confirmed on the other half"
        )
    return tuple(notes)
