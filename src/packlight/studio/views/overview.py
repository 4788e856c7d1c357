"""Overview: the verdict, the variants, their fronts and their lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from packlight import __version__
from packlight.comparison import pareto_front
from packlight.presentation.numbers import show_bytes, show_detectable
from packlight.presentation.verdict import choice, details, headline
from packlight.records import Advice, Finding, Outcome, VariantResult, parse_recipe
from packlight.records.recipe import Recipe
from packlight.records.recipe_options import short_options
from packlight.report.labels import ACCURACY, ARITHMETIC
from packlight.studio.pages import (
    FindingLine,
    Frame,
    LessonLine,
    LineageNode,
    MetricTitle,
    ModelChoice,
    OverviewPage,
    VariantRow,
)
from packlight.studio.views.numbers import budget_lines, metric_titles, numbers

SEPARATOR = " + "


def shown_variant(outcome: Outcome) -> VariantResult:
    """The chosen variant, else the one that comes nearest to the budgets, else the original."""
    chosen = choice(outcome)
    if chosen is not None:
        return chosen
    nearest = outcome.misses[0].nearest if outcome.misses else ""
    return next((v for v in outcome.variants if v.id == nearest), outcome.variants[0])


def frame_of(
    outcome: Outcome,
    title: str,
    models: Sequence[ModelChoice],
    runs_reason: str,
) -> Frame:
    """Parts of a project that every page shows.

    Args:
        outcome: of its search.
        title: of the project.
        models: that pages can show.
        runs_reason: what to do so that recipes can be run; empty where they can.
    """
    shown = shown_variant(outcome)
    original = outcome.variants[0].metrics
    return Frame(
        title=title,
        model=outcome.model,
        task=outcome.task,
        kind="project",
        budgets=budget_lines(outcome.budget, original, shown.metrics, outcome.metric, shown.meets),
        shown=shown.name,
        variants=tuple(models),
        saves=True,
        runs=not runs_reason,
        runs_reason=runs_reason,
        finished=outcome.finished,
        progress=(len(outcome.variants), outcome.planned),
        version=__version__,
    )


def overview_page(outcome: Outcome, tried: Sequence[VariantResult] = ()) -> OverviewPage:
    """The overview of a search, with variants that were tried from the studio."""
    results = [*outcome.variants, *tried]
    shown = shown_variant(outcome)
    metrics = metric_titles((result.metrics for result in results), outcome.metric)
    tried_ids = {result.id for result in tried}
    best = choice(outcome)
    rows = [
        variant_row(
            result,
            outcome.metric,
            best=best is not None and result.id == best.id,
            original=result.id == outcome.variants[0].id,
            tried=result.id in tried_ids,
        )
        for result in results
    ]
    return OverviewPage(
        verdict=outcome.verdict,
        headline=headline(outcome),
        details=tuple(details(outcome)),
        cautions=outcome.warnings,
        notes=outcome.notes,
        best=shown.id,
        metrics=metrics,
        variants=tuple(rows),
        fronts=fronts(results, metrics),
        lineage=lineage(results),
        findings=finding_lines(outcome.findings),
        lessons=lesson_lines(outcome.lessons),
        conditions=conditions(outcome),
    )


def variant_row(
    result: VariantResult,
    metric: str,
    *,
    best: bool = False,
    original: bool = False,
    tried: bool = False,
) -> VariantRow:
    """A variant in tables and plots."""
    recipe = parse_recipe(result.recipe)
    return VariantRow(
        id=result.id,
        name=result.name,
        recipe=short_recipe(recipe),
        verdict=result.verdict,
        meets=result.meets,
        labels=result.labels,
        error=result.error,
        same_as=result.same_as,
        numbers=numbers(result.metrics, metric),
        settings=settings_of(recipe),
        original=original,
        best=best,
        tried=tried,
        file=bool(result.file),
    )


def short_recipe(recipe: Recipe) -> str:
    """Methods with their widths, in one line.

    >>> short_recipe(parse_recipe("simplify+weights:4,block=32"))
    'simplify + weights 4'
    """
    steps = []
    for step in recipe.steps:
        bits = getattr(step.config, "bits", None)
        steps.append(f"{step.method} {bits}" if bits is not None else step.method)
    return SEPARATOR.join(steps) or "as it came"


def settings_of(recipe: Recipe) -> dict[str, str]:
    """Options of a recipe by method and name, and its methods.

    >>> settings_of(parse_recipe("weights:4,block=32"))
    {'methods': 'weights', 'weights bits': '4', 'weights block': '32'}
    """
    settings = {"methods": SEPARATOR.join(step.method for step in recipe.steps) or "none"}
    for step in recipe.steps:
        bits = getattr(step.config, "bits", None)
        if bits is not None:
            settings[f"{step.method} bits"] = str(bits)
        for name, value in sorted(short_options(step.config).items()):
            if name != "bits":
                settings[f"{step.method} {name}"] = str(value)
        if step.where:
            settings[f"{step.method} where"] = " ".join(step.sites) or str(step.where)
    return settings


def fronts(
    results: Iterable[VariantResult], metrics: Sequence[MetricTitle]
) -> dict[str, tuple[str, ...]]:
    """Pareto fronts of every two measurements, by ``x|y``."""
    usable = [result for result in results if not result.error and not result.same_as]
    found: dict[str, tuple[str, ...]] = {}
    for index, x in enumerate(metrics):
        for y in metrics[index + 1 :]:
            points = {
                result.id: {name: result.metrics[name].value for name in (x.name, y.name)}
                for result in usable
                if x.name in result.metrics and y.name in result.metrics
            }
            ids = pareto_front(
                points,
                minimize=[title.name for title in (x, y) if title.better == "lower"],
                maximize=[title.name for title in (x, y) if title.better == "higher"],
            )
            found[f"{x.name}|{y.name}"] = ids
            found[f"{y.name}|{x.name}"] = ids
    return found


def lineage(results: Sequence[VariantResult]) -> tuple[LineageNode, ...]:
    """A tree of recipes, step by step, laid out left to right."""
    names: dict[tuple[str, ...], str] = {(): ""}
    orders: dict[tuple[str, ...], int] = {(): -1}
    for order, result in enumerate(results):
        steps = tuple(step.text() for step in parse_recipe(result.recipe).steps)
        for depth in range(len(steps)):
            names.setdefault(steps[: depth + 1], "")
            orders.setdefault(steps[: depth + 1], -1)
        if not names[steps]:
            names[steps] = result.id
            orders[steps] = order
    children: dict[tuple[str, ...], list[tuple[str, ...]]] = {path: [] for path in names}
    for path in names:
        if path:
            children[path[:-1]].append(path)
    rows: dict[tuple[str, ...], float] = {}
    _place_rows((), children, rows)
    labels = {path: short_recipe(parse_recipe(path[-1])) if path else "original" for path in names}
    return tuple(
        LineageNode(
            key=SEPARATOR.join(path),
            parent=SEPARATOR.join(path[:-1]),
            label=labels[path],
            variant=names[path],
            x=float(len(path)),
            y=rows[path],
            order=orders[path],
        )
        for path in names
    )


def _place_rows(
    path: tuple[str, ...],
    children: Mapping[tuple[str, ...], Sequence[tuple[str, ...]]],
    rows: dict[tuple[str, ...], float],
) -> float:
    """Give leaves rows of their own, and other steps the row of their first child."""
    if not children[path]:
        rows[path] = float(sum(not children[other] for other in rows))
        return rows[path]
    places = [_place_rows(child, children, rows) for child in children[path]]
    rows[path] = places[0]
    return rows[path]


def finding_lines(findings: Iterable[Finding]) -> tuple[FindingLine, ...]:
    """Diagnosed causes."""
    return tuple(
        FindingLine(f.cause, f.severity, f.sentence, f.next_step, f.operators) for f in findings
    )


def lesson_lines(lessons: Iterable[Advice]) -> tuple[LessonLine, ...]:
    """Lessons of practitioners."""
    return tuple(LessonLine(a.because, a.text, a.source) for a in lessons)


def conditions(outcome: Outcome) -> dict[str, str]:
    """How everything was measured."""
    machine = outcome.machine
    session = outcome.session
    facts = {
        "Task": f"{outcome.task}, {outcome.samples:,} samples",
        "Calibration": f"{outcome.calibration:,} samples",
        "Metric": outcome.metric,
        "Machine": f"{machine.processor}, {machine.cores} cores, {show_bytes(machine.memory)}",
        "Runtime": f"ONNX Runtime {machine.onnxruntime}, {session.threads} thread(s)",
        "Arithmetic": ARITHMETIC[session.arithmetic],
        "Fused low-bit products": ACCURACY[session.matmul_accuracy],
    }
    if outcome.detectable:
        facts["Smallest drop that would be seen"] = show_detectable(
            outcome.metric, outcome.detectable
        )
    if outcome.device:
        facts["Device"] = outcome.device
    return facts
