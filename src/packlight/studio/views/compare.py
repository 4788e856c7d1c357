"""Compare: variants against the original, by group, by class and sample by sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from packlight.comparison.flips import outcomes
from packlight.comparison.moved import class_names
from packlight.presentation.contrasts import (
    NEAR,
    SLICES,
    SPREAD,
    balance,
    bare_p,
    headline,
    worst_sentence,
)
from packlight.presentation.numbers import show_named
from packlight.records import Contrast, Outcome, Shift
from packlight.records.contrast import GroupContrast
from packlight.studio.pages import (
    ComparePage,
    ConfusionChange,
    ContrastColumn,
    GroupDot,
    GroupRow,
    Number,
    Picture,
    SampleCard,
    SamplesPage,
    TextTable,
    VariantRow,
)
from packlight.studio.views.numbers import metric_titles, number
from packlight.studio.views.overview import finding_lines, lesson_lines
from packlight.task import SampleTable

OUTCOMES = ("lost", "won", "changed")
MOVED = "moved"
"""Outcome of a sample without a decision."""

DIVERGENCE = "divergence"
MOST_MOVED = 200
MOST_CONFUSIONS = 12
PAGE = 24
"""Samples on one page."""


@dataclass(frozen=True, slots=True, eq=False)
class SamplePair:
    """Results of single samples of a variant and of its reference.

    Attributes:
        before: of the reference.
        after: of the variant.
        names: of classes by decision.
        groups: by column, the group of each sample.
    """

    before: SampleTable
    after: SampleTable
    names: Mapping[str, str]
    groups: Mapping[str, Sequence[str]]

    @classmethod
    def of(
        cls, before: SampleTable, after: SampleTable, groups: Mapping[str, Sequence[str]]
    ) -> SamplePair:
        """A pair, with class names where a group column has them."""
        return cls(before, after, class_names(before, groups), groups)

    @property
    def has_decisions(self) -> bool:
        """Tell whether both decide once for each sample."""
        is_paired = self.before.same_decision_counts(self.after)
        return is_paired and len(self.before.decisions) == len(self.before.rows)

    def flags(self) -> dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """Samples by outcome."""
        if not self.has_decisions:
            return {name: np.zeros(len(self.before.rows), np.bool_) for name in OUTCOMES}
        flags = outcomes(self.before, self.after)
        return {name: flags[name] for name in OUTCOMES}

    def decision(self, table: SampleTable, sample: int) -> str:
        """A decision by the name of its class."""
        text = str(table.decisions[sample])
        return self.names.get(text, text)

    def in_group(self, column: str, name: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Samples of a group; all where there is no such column."""
        groups = self.groups.get(column)
        if groups is None:
            return np.ones(len(self.before.rows), np.bool_)
        return np.array([str(group) == name for group in groups], np.bool_)


def compare_page(
    outcome: Outcome,
    rows: Sequence[VariantRow],
    contrasts: Mapping[str, Contrast],
    pairs: Mapping[str, SamplePair],
    pictures_reason: str,
) -> ComparePage:
    """Variants against the original.

    Args:
        outcome: of the search.
        rows: the original first, then the variants, in order.
        contrasts: by variant id.
        pairs: samples by variant id.
        pictures_reason: what to do so that samples can be shown; empty where they can.
    """
    variants = [row for row in rows[1:] if row.id in contrasts]
    measured = {result.id: result for result in outcome.variants}
    shown = [measured[row.id].metrics for row in rows if row.id in measured]
    return ComparePage(
        reference=rows[0],
        variants=tuple(rows[1:]),
        metrics=metric_titles(shown, outcome.metric),
        contrasts=tuple(
            contrast_column(contrasts[row.id], outcome.metric, pairs.get(row.id))
            for row in variants
        ),
        columns=tuple(
            dict.fromkeys(g.column for row in variants for g in contrasts[row.id].groups)
        ),
        groups=group_rows([contrasts[row.id] for row in variants], outcome, pairs),
        findings=finding_lines(outcome.findings),
        lessons=lesson_lines(outcome.lessons),
        pictures=not pictures_reason,
        pictures_reason=pictures_reason,
    )


def contrast_column(contrast: Contrast, metric: str, pair: SamplePair | None) -> ContrastColumn:
    """A variant against the reference."""
    column = ContrastColumn(
        variant=contrast.variant,
        drop=number("drop", contrast.drop, metric),
        p=contrast.p,
        test=contrast.test,
        rates={name: number("flips", rate) for name, rate in contrast.rates.items()},
        worst="",
        worst_drop=None,
        trust={name: shift_numbers(name, shift) for name, shift in contrast.trust.items()},
        sentences=_sentences(contrast),
        worst_text="",
        tables=tuple(table for table in contrast_tables(contrast) if table.rows),
        confusions=confusions(pair) if pair is not None else (),
        notes=contrast.notes,
    )
    worst = contrast.worst
    if worst is None:
        return column
    return replace(
        column,
        worst=f"{worst.column} = {worst.name}",
        worst_drop=number("drop", worst.drop, metric),
        worst_text=worst_sentence(contrast),
    )


def _sentences(contrast: Contrast) -> tuple[str, ...]:
    """Sentences on the drop and on changes of decisions."""
    sentences = [headline(contrast)]
    if contrast.rates:
        sentences.append(balance(contrast))
    return tuple(sentences)


def contrast_tables(contrast: Contrast) -> list[TextTable]:
    """Further numbers of a contrast."""
    segments = tuple(
        (
            part.rule,
            f"{part.n:,}",
            show_named("drop", part.drop),
            show_named("drop", part.extra),
            bare_p(part.q),
        )
        for part in contrast.slices
    )
    kept = tuple(
        (NEAR.get(name, name), show_named(name, measurement))
        for name, measurement in contrast.neighbours.items()
    )
    heads = ("", "Before", "After", "Change")
    names = {name: name for name in contrast.level}
    spread = f"{contrast.metric} over samples"
    return [
        TextTable("Metric", heads, _shift_rows(contrast.level, names, "")),
        TextTable(spread, heads, _shift_rows(contrast.spread, SPREAD, contrast.metric)),
        TextTable(
            "Samples that lose more", ("Segment", "Samples", "Drop", "Above the rest", "q"),
            segments, SLICES,
        ),
        TextTable("Neighbors", ("Of", "Kept"), kept),
    ]  # fmt: skip


def _shift_rows(
    shifts: Mapping[str, Shift], names: Mapping[str, str], metric: str
) -> tuple[tuple[str, ...], ...]:
    """Rows of values before and after, and their difference."""
    return tuple(
        (
            text,
            *(show_named(metric or name, m) for m in (shift.before, shift.after, shift.change)),
        )
        for name, text in names.items()
        if (shift := shifts.get(name)) is not None
    )


def shift_numbers(name: str, shift: Shift) -> tuple[Number, ...]:
    """A number before and after, and the difference."""
    return tuple(number(name, part) for part in (shift.before, shift.after, shift.change))


def group_rows(
    contrasts: Sequence[Contrast], outcome: Outcome, pairs: Mapping[str, SamplePair]
) -> tuple[GroupRow, ...]:
    """Groups with a dot for each variant, the worst first; too small ones last."""
    metric = outcome.metric
    measured = {
        (result.id, group.column, group.name): group
        for result in outcome.variants
        for group in result.groups
    }
    parts: dict[tuple[str, str], dict[str, GroupContrast]] = {}
    for contrast in contrasts:
        for group in contrast.groups:
            parts.setdefault((group.column, group.name), {})[contrast.variant] = group
    rows = []
    for (column, name), by_variant in parts.items():
        dots = []
        for variant, group in by_variant.items():
            lost, won = _changes_in(pairs.get(variant), column, name)
            drop = number("drop", group.drop, metric)
            known = measured.get((variant, column, name))
            value = ""
            flips = ""
            if known is not None:
                value = show_named(metric, known.metric)
            if known is not None and known.flips is not None:
                flips = show_named("flips", known.flips)
            dots.append(
                GroupDot(variant, drop, group.standing, group.extra_q, lost, won, value, flips)
            )
        size = next(iter(by_variant.values())).n
        rows.append(GroupRow(column, name, size, tuple(dots)))
    return tuple(sorted(rows, key=_worst_first))


def _worst_first(row: GroupRow) -> tuple[bool, float]:
    is_small = all(dot.standing == "too small" for dot in row.dots)
    return is_small, -max(dot.drop.value for dot in row.dots)


def _changes_in(pair: SamplePair | None, column: str, name: str) -> tuple[int, int]:
    """Decisions lost and won in a group."""
    if pair is None:
        return 0, 0
    flags = pair.flags()
    inside = pair.in_group(column, name)
    return int((flags["lost"] & inside).sum()), int((flags["won"] & inside).sum())


def confusions(pair: SamplePair) -> tuple[ConfusionChange, ...]:
    """Most frequent changes from one decision to another."""
    counts: Counter[tuple[str, str]] = Counter()
    kinds: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in OUTCOMES}
    for name, flag in pair.flags().items():
        for sample in np.flatnonzero(flag).tolist():
            key = pair.decision(pair.before, sample), pair.decision(pair.after, sample)
            counts[key] += 1
            kinds[name][key] += 1
    return tuple(
        ConfusionChange(
            before=key[0],
            after=key[1],
            lost=kinds["lost"][key],
            won=kinds["won"][key],
            changed=kinds["changed"][key],
        )
        for key, _ in counts.most_common(MOST_CONFUSIONS)
    )


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Samples that a page asks for.

    Attributes:
        outcome: ``lost``, ``won`` or ``changed``; empty for all.
        column: group column; empty for all samples.
        group: in it.
        before: decision of the reference, by name; empty for all.
        after: decision of the variant, by name; empty for all.
        start: index of the first card.
        count: of cards.
    """

    outcome: str = ""
    column: str = ""
    group: str = ""
    before: str = ""
    after: str = ""
    start: int = 0
    count: int = PAGE


def filtered_samples(pair: SamplePair, wanted: SampleFilter) -> list[tuple[int, str]]:
    """Samples that match a filter with their outcome: right to wrong first, surest first."""
    inside = pair.in_group(wanted.column, wanted.group)
    if not pair.has_decisions:
        return _most_moved(pair, inside)
    matches: list[tuple[int, str]] = []
    for name, flag in pair.flags().items():
        if wanted.outcome and wanted.outcome != name:
            continue
        samples = np.flatnonzero(flag & inside)
        surest = samples[np.argsort(-pair.before.confidence[samples], kind="stable")]
        matches += [
            (sample, name) for sample in surest.tolist() if _has_decisions(pair, wanted, sample)
        ]
    return matches


def _most_moved(
    pair: SamplePair, inside: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> list[tuple[int, str]]:
    """Samples whose output moved most, where there are no decisions to compare."""
    distances = pair.after.samples.get(DIVERGENCE)
    if distances is None or len(distances) != len(inside):
        return []
    ranked = np.argsort(-np.asarray(distances), kind="stable")
    return [(sample, MOVED) for sample in ranked.tolist() if inside[sample]][:MOST_MOVED]


def _has_decisions(pair: SamplePair, wanted: SampleFilter, sample: int) -> bool:
    if wanted.before and pair.decision(pair.before, sample) != wanted.before:
        return False
    return not wanted.after or pair.decision(pair.after, sample) == wanted.after


def sample_card(pair: SamplePair, sample: int, outcome: str, picture: Picture | None) -> SampleCard:
    """A sample with what both models said of it."""
    distances = pair.after.samples.get(DIVERGENCE)
    moved = ""
    if distances is not None:
        moved = f"{distances[sample]:.3g}"
    card = SampleCard(
        sample=sample,
        outcome=outcome,
        before="",
        after="",
        confidence_before=0.0,
        confidence_after=0.0,
        groups={column: str(names[sample]) for column, names in pair.groups.items()},
        picture=picture,
        moved=moved,
    )
    if not pair.has_decisions:
        return card
    return replace(
        card,
        before=pair.decision(pair.before, sample),
        after=pair.decision(pair.after, sample),
        confidence_before=float(pair.before.confidence[sample]),
        confidence_after=float(pair.after.confidence[sample]),
    )


def samples_page(
    variant: str,
    pair: SamplePair,
    wanted: SampleFilter,
    matches: Sequence[tuple[int, str]],
    pictures: Mapping[int, Picture],
) -> SamplesPage:
    """One page of samples whose decision changed.

    Args:
        variant: id.
        pair: results of single samples.
        wanted: filter.
        matches: samples that match it, with their outcome.
        pictures: of the samples on this page.
    """
    inside = pair.in_group(wanted.column, wanted.group)
    shown = matches[wanted.start : wanted.start + wanted.count]
    return SamplesPage(
        variant=variant,
        total=len(matches),
        start=wanted.start,
        cards=tuple(
            sample_card(pair, sample, outcome, pictures.get(sample)) for sample, outcome in shown
        ),
        counts={name: int((flag & inside).sum()) for name, flag in pair.flags().items()},
    )
