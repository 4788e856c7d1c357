"""Check a bundle that ``packlight export`` wrote: its files, its parity and budgets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packlight.comparison.gate import judge
from packlight.errors import InputError
from packlight.exporting.bundle import damaged_files, is_bundle, load_bundle
from packlight.records import Budget, Measurement, counted, parse_budget
from packlight.records.export import Bundle, BundleCheck


def check_bundle(folder: str | Path, budget: Sequence[str] | Budget = ()) -> BundleCheck:
    """Check that a bundle is as it was written, and judge budgets by its numbers.

    Args:
        folder: of the bundle.
        budget: bounds on ``size``, ``latency_ratio``, ``drop`` and the task's metric, as
            ``["size<=1.1x"]``; multiples are of the ONNX file.

    Raises:
        InputError: it is no bundle, or a budget bounds what was not measured.
    """
    place = Path(folder)
    if not is_bundle(place):
        raise InputError(
            f"a check needs two models, or a bundle of packlight export; '{place}' is no bundle: "
            "name the new model after it"
        )
    bundle = load_bundle(place)
    limits = parse_budget(budget)
    problems = damaged_files(place, bundle)
    if bundle.parity is not None and not bundle.parity.passed:
        problems.append("the exported file differs from the ONNX model")
    numbers = _numbers(bundle)
    base = {"size": counted(bundle.onnx_bytes, "B"), "latency_ratio": counted(1.0)}
    budgets = tuple(judge(limit, base, numbers) for limit in limits.all())
    passed = not problems and all(checked.passed for checked in budgets)
    return BundleCheck(
        str(place), bundle.format, len(bundle.files), tuple(problems), budgets, passed
    )


def _numbers(bundle: Bundle) -> dict[str, Measurement]:
    """Measurements that a bundle holds, by the names that budgets bound."""
    numbers = {"size": counted(bundle.bytes, "B")}
    if bundle.parity is not None:
        numbers |= bundle.parity.metrics
        if bundle.parity.latency_ratio is not None:
            numbers["latency_ratio"] = bundle.parity.latency_ratio
    return numbers
