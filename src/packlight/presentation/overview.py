"""Records as one short table each: text in a console, HTML in a notebook.

The command line and the report say more; this is what ``repr`` and notebooks show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from packlight.presentation.markup import element
from packlight.presentation.numbers import show, show_named, show_named_value
from packlight.presentation.verdict import sentence
from packlight.records.comparison import Comparison
from packlight.records.device import Device
from packlight.records.evaluation import Evaluation
from packlight.records.finding import Finding, Findings
from packlight.records.layers import Layers
from packlight.records.measurement import Measurement
from packlight.records.outcome import Outcome, VariantResult
from packlight.records.plan import Plan
from packlight.records.profile import OperatorCost, Profile
from packlight.records.variant import Variant

MAX_ROWS = 12
"""Rows of one table; the note below it counts those that are left out."""

COLUMNS = ("size", "download", "latency_ratio", "drop")
PLAN_COLUMNS = ("size", "download", "latency", "peak_memory")
VERDICTS = {"yes": "fits", "unclear": "may fit", "no": "misses"}
MISSING = "-"
CELL = "text-align: left; padding: 0 1em 0 0"


@dataclass(frozen=True, slots=True)
class Overview:
    """One table with its title and notes.

    Attributes:
        title: one line.
        heads: of the columns.
        rows: texts, one for each column.
        notes: sentences below the table.
    """

    title: str
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Columns aligned with spaces."""
        table = [self.heads, *self.rows] if self.rows else []
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in table
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *self.notes])

    def html(self) -> Markup:
        """The same as an HTML table."""
        parts = [element("p", element("strong", self.title))]
        if self.rows:
            head = element("tr", *(element("th", name, style=CELL) for name in self.heads))
            body = [
                element("tr", *(element("td", cell, style=CELL) for cell in row))
                for row in self.rows
            ]
            parts.append(element("table", element("thead", head), element("tbody", *body)))
        parts += [element("p", note) for note in self.notes]
        return element("div", *parts)


def overview(record: object) -> Overview:
    """The table of a record.

    Raises:
        KeyError: the record has none.
    """
    return OVERVIEWS[type(record)](record)


def as_text(record: object) -> str:
    """A record as text."""
    return overview(record).text()


def as_html(record: object) -> Markup:
    """A record as HTML."""
    return overview(record).html()


def outcome_overview(outcome: Outcome) -> Overview:
    """Every variant with its costs and verdict; ``*`` marks the chosen one."""
    names = measured_names(outcome.variants)
    budgets = ", ".join(limit.text for limit in outcome.budget.all())
    rows = [
        [mark(result, outcome.best), result.name, *cells(result.metrics, names), state(result)]
        for result in outcome.variants
    ]
    title = f"{outcome.model} on {outcome.task}, budgets {budgets or 'none'}"
    return Overview(title, ("", "variant", *names, "budgets"), rows, [sentence(outcome)])


def comparison_overview(comparison: Comparison) -> Overview:
    """The base and the variants with what they cost and lose."""
    results = (comparison.base, *comparison.others)
    names = measured_names(results)
    rows = [[result.name, *cells(result.metrics, names)] for result in results]
    title = f"{comparison.base.name} and {len(comparison.others)} compared with it"
    return Overview(title, ("variant", *names), rows, comparison.warnings)


def evaluation_overview(evaluation: Evaluation) -> Overview:
    """Every metric with its interval."""
    rows = [[name, show_named(name, m), f"{m.n:,}"] for name, m in evaluation.metrics.items()]
    title = f"Evaluation on {evaluation.split}"
    notes = (*evaluation.labels, *evaluation.warnings)
    return Overview(title, ("metric", "value [95 % interval]", "n"), rows, notes)


def profile_overview(profile: Profile) -> Overview:
    """Totals, and the operators that cost most."""
    totals = ", ".join(
        f"{name} {show_total(name, m)}" for name, m in profile.totals.items() if m.value
    )
    cost = operator_cost(profile)
    ranked = sorted(profile.operators, key=cost, reverse=True)
    rows = [
        [one.name, one.op, count(one.macs), f"{one.weight_bytes:,}", show_time(one)]
        for one in ranked[:MAX_ROWS]
    ]
    heads = ("operator", "type", "MACs", "weight bytes", "time")
    return Overview(f"{profile.model}: {totals}", heads, rows, more(len(ranked), "operators"))


def plan_overview(plan: Plan) -> Overview:
    """Every route beside the budgets, and the recommendation."""
    names = [name for name in PLAN_COLUMNS if name in plan.original]
    rows = [["as it is", *cells(plan.original, names), VERDICTS[plan.verdict]]]
    rows += [
        [option.name, *cells(option.predicted, names), VERDICTS[option.verdict]]
        for option in plan.options
    ]
    title = f"{plan.model} on {plan.device}: {', '.join(plan.budgets)}"
    return Overview(title, ("route", *names, "budgets"), rows, plan.recommendation)


def findings_overview(findings: Sequence[Finding]) -> Overview:
    """One row for each cause, the gravest first."""
    rows = [
        [finding.cause, finding.severity, finding.operator or MISSING, finding.next_step]
        for finding in findings[:MAX_ROWS]
    ]
    title = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
    heads = ("cause", "severity", "operator", "next step")
    return Overview(title, heads, rows, more(len(findings), "findings"))


def finding_overview(finding: Finding) -> Overview:
    """A cause with its evidence."""
    rows = [[name, show(m)] for name, m in finding.evidence.items()]
    where = f" at {finding.operator}" if finding.operator else ""
    title = f"{finding.cause} ({finding.severity}){where}: {finding.sentence}"
    notes = [f"Next: {finding.next_step}"] if finding.next_step else []
    return Overview(title, ("evidence", "value"), rows, notes)


def variant_overview(variant: Variant) -> Overview:
    """A variant in one line."""
    made = f"{len(variant.changes)} changes, {len(variant.refusals)} refusals"
    return Overview(f"Variant {variant.name} ({variant.id}): {made}")


def layers_overview(layers: Layers) -> Overview:
    """A comparison of two models inside, in one line."""
    first = f"; below 20 dB first at {layers.first}" if layers.first else ""
    counted = f"{len(layers.layers)} values, {len(layers.weights)} weights, {layers.n} samples"
    return Overview(f"{layers.variant} against {layers.reference}: {counted}{first}")


def device_overview(device: Device) -> Overview:
    """A device in one line."""
    return Overview(f"{device.name}: {device.title}, {device.kind} ({', '.join(device.units)})")


def measured_names(results: Iterable[VariantResult]) -> list[str]:
    """Columns that at least one result has."""
    measured = {name for result in results for name in result.metrics}
    return [name for name in COLUMNS if name in measured]


def cells(metrics: Mapping[str, Measurement], names: Iterable[str]) -> list[str]:
    """One text for each column."""
    return [show_named(name, metrics[name]) if name in metrics else MISSING for name in names]


def mark(result: VariantResult, best: str | None) -> str:
    """``*`` for the chosen variant."""
    return "*" if result.id == best else ""


def state(result: VariantResult) -> str:
    """Verdict and labels of a result."""
    verdict = "failed" if result.error else result.verdict
    return ", ".join([verdict, *result.labels])


def operator_cost(profile: Profile) -> Callable[[OperatorCost], float]:
    """The quantity that operators are ranked by: measured time, else predicted, else MACs."""
    if "latency" in profile.totals:
        return lambda one: one.latency.value if one.latency else 0.0
    if profile.device:
        return lambda one: one.predicted.value if one.predicted else 0.0
    return lambda one: float(one.macs or 0)


def show_total(name: str, m: Measurement) -> str:
    """A total; plain counts have no unit."""
    return f"{m.value:,.0f}" if m.unit == "1" and m.how == "counted" else show_named_value(name, m)


def show_time(one: OperatorCost) -> str:
    """An operator's measured or predicted time."""
    time = one.latency or one.predicted
    return MISSING if time is None else show(time)


def count(number: int | None) -> str:
    """A whole number, if it is known."""
    return MISSING if number is None else f"{number:,}"


def more(total: int, noun: str) -> list[str]:
    """A note about rows that are left out."""
    return [f"and {total - MAX_ROWS} more {noun}"] if total > MAX_ROWS else []


OVERVIEWS: Mapping[type, Callable[[Any], Overview]] = {
    Comparison: comparison_overview,
    Device: device_overview,
    Evaluation: evaluation_overview,
    Finding: finding_overview,
    Findings: findings_overview,
    Layers: layers_overview,
    Outcome: outcome_overview,
    Plan: plan_overview,
    Profile: profile_overview,
    Variant: variant_overview,
}
