"""Records as short tables, for ``repr`` and notebooks; terminal and report show more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from packlight.presentation import diagnosis, portability
from packlight.presentation.bundle import TITLES, decibels, weight_groups
from packlight.presentation.gate import (
    base_number,
    headline,
    mark,
    numbers,
    remark,
    treatment,
)
from packlight.presentation.markup import element
from packlight.presentation.numbers import (
    plural,
    show,
    show_bytes,
    show_named,
    show_named_value,
)
from packlight.presentation.printable import printable
from packlight.presentation.verdict import sentence
from packlight.records.comparison import Comparison
from packlight.records.device import Device
from packlight.records.evaluation import Evaluation
from packlight.records.export import Bundle
from packlight.records.finding import Finding, Findings
from packlight.records.gate import Gate
from packlight.records.layers import Layers
from packlight.records.measurement import Measurement
from packlight.records.outcome import Outcome, VariantResult
from packlight.records.plan import Plan
from packlight.records.portability import Portability
from packlight.records.profile import OperatorCost, Profile
from packlight.records.variant import Variant

MAX_ROWS = 12
"""Rows of one table; a note counts the remaining ones."""

COLUMNS = ("size", "download", "latency_ratio", "drop")
PLAN_COLUMNS = ("size", "download", "latency", "peak_memory")
VERDICTS = {"yes": "fits", "unclear": "may fit", "no": "misses"}
MISSING = "-"
CELL = "text-align: left; padding: 0 1em 0 0"


@dataclass(frozen=True, slots=True)
class Overview:
    """A table with its title and notes.

    Attributes:
        title: one line.
        heads: of the columns.
        rows: one text for each column.
        notes: sentences below the table.
    """

    title: str
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()

    def text(self) -> str:
        """Columns aligned with spaces."""
        table: list[list[str]] = []
        if self.rows:
            table = [[*map(printable, row)] for row in (self.heads, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in table
        ]
        sentences = map(printable, self.notes)
        return "\n".join([printable(self.title), *(line.rstrip() for line in lines), *sentences])

    def html(self) -> Markup:
        """HTML table."""
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
    """Every variant, numbered as in the plot, with its costs and verdict; ``*`` is chosen."""
    names = measured_names(outcome.variants)
    budgets = ", ".join(limit.text for limit in outcome.budget.all())
    rows = [
        [
            f"{index}*" if result.id == outcome.best else f"{index}",
            result.name,
            *cells(result.metrics, names),
            state(result),
        ]
        for index, result in enumerate(outcome.variants)
    ]
    title = f"{outcome.model} on {outcome.task}, budgets {budgets or 'none'}"
    return Overview(title, ("", "variant", *names, "budgets"), rows, [sentence(outcome)])


def comparison_overview(comparison: Comparison) -> Overview:
    """The base and the variants with what they cost and lose."""
    results = (comparison.base, *comparison.others)
    names = measured_names(results)
    rows = [[result.name, *cells(result.metrics, names)] for result in results]
    variants = plural(len(comparison.others), "variant")
    title = f"{comparison.base.name} compared with {variants}"
    return Overview(title, ("variant", *names), rows, comparison.warnings)


def evaluation_overview(evaluation: Evaluation) -> Overview:
    """Every metric with its interval."""
    rows = [[name, show_named(name, m), f"{m.n:,}"] for name, m in evaluation.metrics.items()]
    title = f"Evaluation on {evaluation.split}"
    notes = (*evaluation.labels, *evaluation.warnings)
    return Overview(title, ("metric", "value [95 % interval]", "n"), rows, notes)


def gate_overview(gate: Gate) -> Overview:
    """Every budget with its number."""
    rows = [
        [mark(checked), checked.budget, numbers(checked), base_number(checked), remark(checked)]
        for checked in gate.budgets
    ]
    notes = [text for text in (treatment(gate), *gate.notes) if text]
    return Overview(headline(gate), ("", "budget", "measured", "base", ""), rows, notes)


def profile_overview(profile: Profile) -> Overview:
    """Totals, and the operators that cost most."""
    totals = ", ".join(
        f"{name} {show_total(name, m)}" for name, m in profile.totals.items() if m.value
    )
    cost = operator_cost(profile)
    ranked = sorted(profile.operators, key=cost, reverse=True)
    rows = [
        [operator.name, operator.op, show_count(operator.macs), f"{operator.weight_bytes:,}",
         show_time(operator)]
        for operator in ranked[:MAX_ROWS]
    ]  # fmt: skip
    heads = ("operator", "type", "MACs", "weight bytes", "time")
    return Overview(f"{profile.model}: {totals}", heads, rows, _more(len(ranked), "operators"))


def plan_overview(plan: Plan) -> Overview:
    """Every route with its verdict, and the recommendation."""
    names = [name for name in PLAN_COLUMNS if name in plan.original]
    rows = [["as it is", *cells(plan.original, names), VERDICTS[plan.verdict]]]
    rows += [
        [option.name, *cells(option.predicted, names), VERDICTS[option.verdict]]
        for option in plan.options
    ]
    title = f"{plan.model} on {plan.device}: {', '.join(plan.budgets)}"
    return Overview(title, ("route", *names, "budgets"), rows, plan.recommendation)


def findings_overview(findings: Sequence[Finding]) -> Overview:
    """One row for each cause, the most serious first."""
    rows = [
        [finding.cause, finding.severity, finding.operator or MISSING, finding.next_step]
        for finding in findings[:MAX_ROWS]
    ]
    heads = ("cause", "severity", "operator", "next step")
    title = plural(len(findings), "finding")
    summary = getattr(findings, "summary", None)
    if summary is not None:
        title = f"{diagnosis.headline(summary)} {title}"
    return Overview(title, heads, rows, _more(len(findings), "findings"))


def finding_overview(finding: Finding) -> Overview:
    """A cause with its evidence."""
    rows = [[name, show(m)] for name, m in finding.evidence.items()]
    title = f"{finding.cause} ({finding.severity})"
    if finding.operator:
        title += f" at {finding.operator}"
    title += f": {finding.sentence}"
    notes = [f"Next: {finding.next_step}"] if finding.next_step else []
    return Overview(title, ("evidence", "value"), rows, notes)


def variant_overview(variant: Variant) -> Overview:
    """A variant in one line."""
    changes = plural(len(variant.changes), "change")
    refusals = plural(len(variant.refusals), "refusal")
    return Overview(f"Variant {variant.name} ({variant.id}): {changes}, {refusals}")


def layers_overview(layers: Layers) -> Overview:
    """A comparison of layers in one line."""
    values = plural(len(layers.layers), "value")
    weights = plural(len(layers.weights), "weight")
    title = f"{layers.variant} against {layers.reference}: {values}, {weights}, "
    return Overview(f"{title}{plural(layers.n, 'sample')}. {degradation(layers)}")


def portability_overview(record: Portability) -> Overview:
    """One row for each processor, and what to change."""
    sentences = [
        f"{result.name}: {sentence}"
        for result in record.processors
        for sentence in portability.advice(result)
    ]
    title = portability.headline(record)
    return Overview(title, portability.HEADS, list(portability.rows(record)), sentences)


def degradation(layers: Layers) -> str:
    """Sentence about the first operator with a large error of its own."""
    if layers.first:
        return f"Degradation starts at {layers.first}."
    return "No value is below 20 dB signal to noise."


def bundle_overview(bundle: Bundle) -> Overview:
    """Weights by storage, size and parity of a bundle."""
    rows = [
        [group.label, f"{group.weights:,}", f"{group.elements:,}", f"{group.bytes:,}"]
        for group in weight_groups(bundle)
    ]
    title = f"{bundle.model} as {TITLES[bundle.format]}: {show_bytes(bundle.bytes)}"
    notes = list(bundle.unmeasured)
    if bundle.parity is not None:
        state = "passed" if bundle.parity.passed else "failed"
        notes.insert(0, f"Parity {state}: worst {decibels(bundle.parity.worst)}.")
    return Overview(title, ("stored as", "weights", "numbers", "bytes"), rows, notes)


def _device_overview(device: Device) -> Overview:
    return Overview(f"{device.name}: {device.title}, {device.kind} ({', '.join(device.units)})")


def measured_names(results: Iterable[VariantResult]) -> list[str]:
    """Columns in which at least one result has a value."""
    measured = {name for result in results for name in result.metrics}
    return [name for name in COLUMNS if name in measured]


def cells(metrics: Mapping[str, Measurement], names: Sequence[str]) -> list[str]:
    """One text for each column."""
    shown = {name: show_named(name, m) for name, m in metrics.items() if name in names}
    return [shown.get(name, MISSING) for name in names]


def state(result: VariantResult) -> str:
    """Verdict and labels of a result."""
    verdict: str = result.verdict
    if result.error:
        verdict = "failed"
    return ", ".join([verdict, *result.labels])


def operator_cost(profile: Profile) -> Callable[[OperatorCost], float]:
    """The quantity that operators are ranked by: measured time, else predicted, else MACs."""
    if "latency" in profile.totals:
        return lambda operator: seconds(operator.latency)
    if profile.device:
        return lambda operator: seconds(operator.predicted)
    return lambda operator: float(operator.macs or 0)


def seconds(time: Measurement | None) -> float:
    """A time for ranking; 0 where it is unknown."""
    if time is None:
        return 0.0
    return time.value


def show_total(name: str, m: Measurement) -> str:
    """A total; plain counts have no unit."""
    if m.unit == "1" and m.how == "counted":
        return f"{m.value:,.0f}"
    return show_named_value(name, m)


def show_time(operator: OperatorCost) -> str:
    """An operator's measured or predicted time."""
    time = operator.latency or operator.predicted
    if time is None:
        return MISSING
    return show(time)


def show_count(number: int | None) -> str:
    """A whole number that may be unknown."""
    if number is None:
        return MISSING
    return f"{number:,}"


def _more(total: int, noun: str) -> list[str]:
    if total > MAX_ROWS:
        return [f"and {total - MAX_ROWS} more {noun}"]
    return []


OVERVIEWS: Mapping[type, Callable[[Any], Overview]] = {
    Bundle: bundle_overview,
    Comparison: comparison_overview,
    Device: _device_overview,
    Evaluation: evaluation_overview,
    Finding: finding_overview,
    Findings: findings_overview,
    Gate: gate_overview,
    Layers: layers_overview,
    Outcome: outcome_overview,
    Plan: plan_overview,
    Portability: portability_overview,
    Profile: profile_overview,
    Variant: variant_overview,
}
