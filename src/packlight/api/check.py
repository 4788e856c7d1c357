"""Check the budgets of a new model against its base, as a CI job does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packlight.api.compare import compare_saved, is_saved
from packlight.comparison.gate import judge
from packlight.errors import InputError, RecipeError
from packlight.model import stored_files
from packlight.records import (
    Budget,
    Comparison,
    Evaluation,
    Gate,
    Measurement,
    SessionOptions,
    Unclear,
    counted,
    parse_budget,
)
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime.progress import Progress, silent
from packlight.search import choice
from packlight.search.bench import Bench
from packlight.search.external_models import adopt, check_alike, temporary_bench
from packlight.sources.opening import AnyModel, AnyTask, Opened, at_hand, task_for
from packlight.store.files import sizes_of

SIZES = frozenset({"size", "download"})
LATENCIES = frozenset({"latency", "latency_p90", "latency_p99", "latency_ratio"})
MEMORY = "peak_memory"

Numbers = Mapping[str, Measurement]


def check(
    base: AnyModel,
    new: AnyModel,
    budget: Sequence[str] | Budget,
    task: AnyTask | None = None,
    *,
    unclear: Unclear = "fail",
    tolerance: float = 0.0,
    options: SessionOptions = DEFAULT_SESSION,
    seed: int = 0,
    seconds: float = 2.0,
    progress: Progress = silent,
) -> Gate:
    """Check a new model against budgets that refer to its base.

    Only what a budget bounds is measured: a check of the size alone runs no model.

    Args:
        base: the reference of ``drop``, ``flips`` and of multiples such as ``latency<=1x``: a
            model, or a ``.json`` file of ``packlight evaluate --json``.
        new: the model to check; a file of the same kind.
        budget: bounds, as ``["size<=2MB", "drop<=1%"]``.
        task: samples and metric; for models, every budget but size and download needs it.
        unclear: treatment of a budget whose bound lies in the 95 % interval.
        tolerance: share by which every bound is widened, as 0.05.
        options: of every session.
        seed: of everything random.
        seconds: to spend on latency, if a budget bounds it.
        progress: told what is being done.

    Raises:
        InputError: a model, the task or a budget cannot be used, or there is no budget.
    """
    limits = parse_budget(budget)
    _check_settings(limits, unclear, tolerance)
    if is_saved(base) and is_saved(new):
        gate, before, after = _saved_numbers(Path(str(base)), Path(str(new)))
    else:
        gate, before, after = _measured_numbers(
            base, new, limits, task, options, seed=seed, seconds=seconds, progress=progress
        )
    gate = replace(gate, unclear=unclear, tolerance=tolerance)
    return _judged(gate, limits, before, after)


def _judged(gate: Gate, limits: Budget, before: Numbers, after: Numbers) -> Gate:
    """Add every budget, judged, to a check."""
    budgets = tuple(
        judge(limit, before, after, unclear=gate.unclear, tolerance=gate.tolerance)
        for limit in limits.all()
    )
    return replace(gate, budgets=budgets, passed=all(checked.passed for checked in budgets))


def check_comparison(comparison: Comparison, budget: Budget) -> list[Gate]:
    """Check the budgets of every model of a comparison.

    Raises:
        InputError: what a budget bounds was not measured.
    """
    base = comparison.base.metrics
    return [
        _judged(_unjudged(comparison.base.name, result.name), budget, base, result.metrics)
        for result in comparison.others
    ]


def check_evaluation(evaluation: Evaluation, name: str, budget: Budget) -> Gate:
    """Check the budgets of one evaluated model.

    Multiples are relative to the reference's latency; other costs of the reference are unknown.

    Raises:
        InputError: what a budget bounds was not measured.
    """
    base = {"latency_ratio": counted(1.0)}
    return _judged(_unjudged("its reference", name), budget, base, evaluation.metrics)


def _unjudged(base: str, new: str) -> Gate:
    """A check without budgets so far."""
    return Gate(base, new, "", 0, False, ())


def _check_settings(limits: Budget, unclear: str, tolerance: float) -> None:
    if not limits.all():
        raise RecipeError("a check needs at least one budget, as size<=2MB or drop<=1%")
    if unclear not in ("fail", "pass", "estimate"):
        raise InputError(f"an unclear budget can fail, pass or estimate; got '{unclear}'")
    if not 0 <= tolerance < 1:
        raise InputError(f"a tolerance is a share from 0 to below 1, as 0.05; got {tolerance}")


def _saved_numbers(base: Path, new: Path) -> tuple[Gate, Numbers, Numbers]:
    """Numbers of two saved evaluations; the latency ratio is not interleaved, so less certain."""
    comparison = compare_saved([base, new])
    result = comparison.others[0]
    if result.id in comparison.unlike:
        raise InputError(
            f"'{base}' and '{new}' were not evaluated under the same conditions: "
            f"{'; '.join(comparison.unlike[result.id])}. Evaluate both again"
        )
    after = result.metrics
    samples = max((m.n for name, m in after.items() if _needs_quality({name})), default=0)
    gate = Gate(base.stem, new.stem, "", samples, False, (), notes=comparison.warnings)
    return gate, comparison.base.metrics, after


def _measured_numbers(
    base: AnyModel,
    new: AnyModel,
    limits: Budget,
    task: AnyTask | None,
    options: SessionOptions,
    *,
    seed: int,
    seconds: float,
    progress: Progress,
) -> tuple[Gate, Numbers, Numbers]:
    names = {limit.judged_by for limit in limits.all()}
    if task is None and not names <= SIZES:
        needing = ", ".join(sorted(names - SIZES))
        raise InputError(f"{needing} is measured on the samples of a task; name data with --task")
    with at_hand(base, new) as (base_opened, new_opened):
        gate = _unjudged(base_opened.model.name, new_opened.model.name)
        if task is None:
            check_alike(base_opened.model, new_opened.model, new_opened.model.name)
            return gate, _file_sizes(base_opened), _file_sizes(new_opened)
        data = task_for(task, base_opened.model)
        choice.check_names(limits, data.metric)
        with temporary_bench(
            base_opened, data, options, seed=seed, seconds=seconds, progress=progress
        ) as bench:
            before, after = _measure(bench, new_opened, names)
    samples = 0
    if _needs_quality(names):
        samples = len(data.samples)
    return replace(gate, task=data.name, samples=samples, notes=data.notes), before, after


def _file_sizes(opened: Opened) -> Numbers:
    return sizes_of(stored_files(opened.path))


def _needs_quality(names: set[str]) -> bool:
    return not names <= SIZES | LATENCIES | {MEMORY}


def _measure(bench: Bench, new: Opened, names: set[str]) -> tuple[Numbers, Numbers]:
    """Measure what the budgets bound, of the base and of the new model."""
    variant = adopt(bench, new, new.model.name)
    steps = 3
    before = dict(bench.size(bench.original).metrics)
    after = dict(bench.size(variant).metrics)
    if names & LATENCIES:
        bench.progress("latency", 0, steps)
        after |= bench.latency(variant).metrics
        before["latency_ratio"] = counted(1.0)
        before["latency"] = after["latency_reference"]
    if MEMORY in names:
        bench.progress("memory", 1, steps)
        before |= bench.memory(bench.original).metrics
        after |= bench.memory(variant).metrics
    if _needs_quality(names):
        bench.progress("quality", 2, steps)
        before |= bench.quality(bench.original).metrics
        after |= bench.quality(variant).metrics
    bench.progress("done", steps, steps)
    return before, after
