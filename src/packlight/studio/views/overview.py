"""Overview: the verdict, the variants, their fronts and their lineage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from packlight import __version__
from packlight.comparison import pareto_front
from packlight.presentation.contrasts import called_for, place, show_evidence
from packlight.presentation.numbers import DETECTABLE, plural, show_bytes, show_detectable
from packlight.presentation.verdict import choice, details, headline
from packlight.records import Advice, Finding, Outcome, VariantResult, parse_recipe
from packlight.records.recipe import Recipe
from packlight.records.recipe_options import short_options
from packlight.report.labels import ACCURACY, ARITHMETIC, MEANINGS
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
from packlight.studio.views.search import refusal_lines, search_part

SEPARATOR = " + "
MOST_LABELED = 2
"""Steps of one edge of the lineage that its label names."""


def shown_variant(outcome: Outcome) -> VariantResult:
    """The chosen variant, else the one that comes nearest to the budgets, else the original."""
    chosen = choice(outcome)
    if chosen is not None:
        return chosen
    return next((v for v in outcome.variants if v.id == outcome.nearest), outcome.variants[0])


def frame_of(
    outcome: Outcome,
    title: str,
    models: Sequence[ModelChoice],
    runs_reason: str,
    tried: Sequence[VariantResult] = (),
) -> Frame:
    """Parts of a project that every page shows.

    Args:
        outcome: of its search.
        title: of the project.
        models: that pages can show.
        runs_reason: what to do so that recipes can be run; empty where they can.
        tried: variants made from the studio.
    """
    shown = shown_variant(outcome)
    original = outcome.variants[0].metrics
    lines = {
        result.id: budget_lines(
            outcome.budget, original, result.metrics, outcome.metric, result.meets
        )
        for result in (*outcome.variants, *tried)
    }
    return Frame(
        title=title,
        model=outcome.model,
        task=outcome.task,
        kind="project",
        budgets=lines[shown.id],
        shown=shown.name,
        budgets_of=lines,
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
        details=(*details(outcome), *_tried_sentences(tried)),
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
        search=search_part(outcome),
        refusals=refusal_lines(outcome),
        terms=dict(MEANINGS),
    )


def _tried_sentences(tried: Sequence[VariantResult]) -> list[str]:
    """A sentence on the variants tried in the studio that meet every budget."""
    names = [result.name for result in tried if result.verdict == "fits"]
    if not names:
        return []
    return [f"Tried here, every budget met: {', '.join(names)}."]


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
        steps=tuple(step.text() for step in recipe.steps),
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
    """Options of a recipe by method and name, and its methods; of several steps, all values.

    >>> settings_of(parse_recipe("weights:4,block=32"))
    {'methods': 'weights', 'weights bits': '4', 'weights block': '32'}
    """
    methods = dict.fromkeys(step.method for step in recipe.steps)
    values: dict[str, dict[str, None]] = {}
    operators: Counter[str] = Counter()
    for step in recipe.steps:
        bits = getattr(step.config, "bits", None)
        if bits is not None:
            values.setdefault(f"{step.method} bits", {})[str(bits)] = None
        for name, value in sorted(short_options(step.config).items()):
            if name != "bits":
                values.setdefault(f"{step.method} {name}", {})[str(value)] = None
        operators[step.method] += len(step.sites)
    settings = {"methods": SEPARATOR.join(methods) or "none"}
    settings |= {name: ", ".join(parts) for name, parts in values.items()}
    settings |= {f"{name} on": plural(n, "operator") for name, n in operators.items() if n}
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
    parents = _folded_parents(names)
    children: dict[tuple[str, ...], list[tuple[str, ...]]] = {path: [] for path in parents}
    depths: dict[tuple[str, ...], int] = {(): 0}
    for path, parent in parents.items():
        if path:
            children[parent].append(path)
            depths[path] = depths[parent] + 1
    rows: dict[tuple[str, ...], float] = {}
    _place_rows((), children, rows)
    return tuple(
        LineageNode(
            key=SEPARATOR.join(path),
            parent=SEPARATOR.join(parent),
            label=_label(path[len(parent) :]),
            variant=names[path],
            x=float(depths[path]),
            y=rows[path],
            order=orders[path],
        )
        for path, parent in parents.items()
    )


def _folded_parents(names: Mapping[tuple[str, ...], str]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Paths that a drawing shows, with the path that each follows.

    A path that is no variant and leads to one other path alone is folded into that one.
    """
    counts = Counter(path[:-1] for path in names if path)
    shown = {path for path, variant in names.items() if variant or counts[path] > 1 or not path}
    parents: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path in sorted(shown, key=len):
        depth = len(path) - 1
        while depth > 0 and path[:depth] not in shown:
            depth -= 1
        parents[path] = path[: max(depth, 0)]
    return {path: parents[path] for path in names if path in shown}


def _label(steps: Sequence[str]) -> str:
    """Steps in short, the first ones where there are many."""
    if not steps:
        return "original"
    words = SEPARATOR.join(short_recipe(parse_recipe(step)) for step in steps[:MOST_LABELED])
    if len(steps) > MOST_LABELED:
        return f"{words}{SEPARATOR}{len(steps) - MOST_LABELED} more"
    return words


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
        FindingLine(f.cause, f.severity, f.sentence, f.next_step, f.operators, evidence_of(f))
        for f in findings
    )


def evidence_of(finding: Finding) -> dict[str, str]:
    """Numbers of a cause by name, and where it is in the source."""
    texts = {
        name.replace("_", " "): show_evidence(name, measurement)
        for name, measurement in sorted(finding.evidence.items())
    }
    if finding.source is not None:
        texts["where"] = place(finding.source)
    return texts


def lesson_lines(lessons: Iterable[Advice]) -> tuple[LessonLine, ...]:
    """Lessons of practitioners."""
    return tuple(LessonLine(called_for(a), a.text, a.source) for a in lessons)


def conditions(outcome: Outcome) -> dict[str, str]:
    """How everything was measured."""
    machine = outcome.machine
    session = outcome.session
    saturates = "8-bit products can saturate" if machine.saturates else "8-bit products are exact"
    features = ", ".join(machine.features) or "no integer extensions"
    facts = {
        "Task": f"{outcome.task}, {outcome.samples:,} samples",
        "Calibration": f"{outcome.calibration:,} samples",
        "Metric": outcome.metric,
        "Machine": f"{machine.processor}, {machine.cores} cores, {show_bytes(machine.memory)}",
        "Instructions": f"{machine.architecture}: {features}; {saturates}",
        "System": machine.system,
        "Runtime": f"ONNX Runtime {machine.onnxruntime}, Python {machine.python}",
        "Threads": str(session.threads),
        "Arithmetic": ARITHMETIC[session.arithmetic],
        "Fused low-bit products": ACCURACY[session.matmul_accuracy],
    }
    if outcome.detectable:
        facts[DETECTABLE] = show_detectable(outcome.metric, outcome.detectable)
    if outcome.device:
        facts["Device"] = outcome.device
    return facts
