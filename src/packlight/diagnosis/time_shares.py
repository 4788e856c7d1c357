"""Where a variant's time goes: kernels by type of operator and arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from packlight.backends.capabilities import capabilities
from packlight.diagnosis.unfused_qdq import PAIRS
from packlight.records import Measurement, OperatorCost, Profile
from packlight.records.diagnosis import Arithmetic, TimeShare

DYNAMIC = ("LSTM",)
"""Operators that ``dynamic`` puts into integers and ``static`` does not."""

MIN_SHARE = 0.01
"""Share of the time from which on a step is proposed."""


def time_shares(
    before: Profile, after: Profile, matched: Mapping[str, str]
) -> tuple[TimeShare, ...]:
    """Sum the kernels of a variant by type and arithmetic, most time first.

    Args:
        before: measured costs of the reference.
        after: measured costs of the variant.
        matched: by operator of the variant, that of the reference.
    """
    groups: dict[tuple[str, Arithmetic], list[OperatorCost]] = {}
    around_codes = {cost.into for cost in after.operators if cost.op in PAIRS and cost.into}
    for cost in after.operators:
        if cost.latency is not None and cost.latency.value > 0:
            groups.setdefault((cost.op, _arithmetic_of(cost, around_codes)), []).append(cost)
    total = sum(_seconds(costs) for costs in groups.values())
    reference = {cost.name: cost for cost in before.operators}
    shares = [
        _share(op, arithmetic, costs, total, _before(costs, reference, matched))
        for (op, arithmetic), costs in groups.items()
    ]
    return tuple(sorted(shares, key=lambda share: -share.time.value))


def _arithmetic_of(cost: OperatorCost, around_codes: set[str]) -> Arithmetic:
    """Arithmetic of a kernel: integers if the pairs around it are fused into it."""
    kind = cost.op.rpartition(".")[2]
    if cost.name in around_codes or kind in capabilities("onnxruntime").code_operators:
        return "int8"
    return "float"


def _share(
    op: str, arithmetic: Arithmetic, costs: list[OperatorCost], total: float, before: float | None
) -> TimeShare:
    ordered = sorted(costs, key=lambda cost: -_seconds([cost]))
    share = _seconds(costs) / total
    step = ""
    if arithmetic == "float" and share >= MIN_SHARE:
        step = integer_step(op)
    time = Measurement(
        _seconds(costs),
        "s",
        sum(cost.latency.low for cost in costs if cost.latency),
        sum(cost.latency.high for cost in costs if cost.latency),
        costs[0].latency.how if costs[0].latency else "measured",
        len(costs),
    )
    return TimeShare(op, arithmetic, tuple(c.name for c in ordered), time, share, before, step)


def integer_step(op: str) -> str:
    """The step of a recipe that computes a type of operators in integers with ONNX Runtime."""
    table = capabilities("onnxruntime")
    if op in table.weight_operators or op in table.integer_operators:
        return "static"
    if op in DYNAMIC:
        return "dynamic"
    return ""


def _before(
    costs: Iterable[OperatorCost],
    reference: Mapping[str, OperatorCost],
    matched: Mapping[str, str],
) -> float | None:
    """Seconds of the same operators in the reference; None if none has a time there."""
    same = [reference.get(matched.get(cost.name, cost.name)) for cost in costs]
    timed = [cost for cost in same if cost is not None and cost.latency is not None]
    if not timed:
        return None
    return _seconds(timed)


def _seconds(costs: Iterable[OperatorCost]) -> float:
    return sum(cost.latency.value for cost in costs if cost.latency is not None)
