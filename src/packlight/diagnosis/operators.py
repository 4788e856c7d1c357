"""Causes in the computation of operators: another graph, other weights, float16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.diagnosis.causes import HALVES, Sites, is_on_grid, is_zeroed
from packlight.diagnosis.evidence import Survey, output_energies
from packlight.diagnosis.findings import level, measured, named, of_quality
from packlight.diagnosis.value_spread import HALF_HIGHEST, HALF_LOWEST
from packlight.evaluation.reference import sample_outputs
from packlight.layers import Walk
from packlight.layers.data_flow import RESTORERS, ROUNDERS, Flow
from packlight.layers.probe import open_probe
from packlight.metrics.fidelity import float_vector
from packlight.model import producer_of
from packlight.records import Finding

Rows = NDArray[np.float64]

OFF = 1e-4
"""Own error of an operator, relative to the signal, from which on its computation differs: 40 dB,
where float32 sums in another order stay above 100."""

PREPARES = frozenset({
    "Sub", "Div", "Mul", "Add", "Cast", "Transpose", "Reshape", "Resize", "Pad", "Slice", "Gather",
    "Concat", "Split", "Unsqueeze", "Squeeze", "Identity",
})  # fmt: skip
"""Operators that preprocess an input before the first operator with weights."""

HALF = ir.DataType.FLOAT16
LOSS = 1e-6
"""Own error of an operator in float16, relative to the signal, from which on its range is the
cause: rounding to 11 bits alone leaves 1e-7."""
FAINT = HALF_LOWEST * 2**11
"""Magnitude below which float16 keeps few digits."""


def _restored(survey: Survey, key: str) -> Rows:
    """Energies (2,) with one operator of the reference in place, on the variant's values."""
    pair = survey.pair
    task = survey.subject.task
    outputs = {f"out {name}": name for name in pair.variant.outputs() if name not in task.state}
    cut = {key: pair.names[key]}
    probe = open_probe(pair.variant, outputs, cut, survey.exactly, outputs=task.state)
    actual: dict[int, Rows] = {}
    for values in Walk(pair, task.state, back=True).over(task.samples, survey.samples):
        results, _ = probe.run(values.feeds, values.isolated_reference)
        piece = float_vector({name.removeprefix("out "): array for name, array in results.items()})
        previous = actual.get(values.sample, piece[:0])
        actual[values.sample] = np.concatenate([previous, piece])
    total = np.zeros(2)
    for index in survey.samples:
        expected = _by_call(survey, index, len(task.samples[index]))
        total += output_energies(actual[index], expected)
    return total


def _by_call(survey: Survey, index: int, calls: int) -> Rows:
    """The reference's outputs on a sample, call after call."""
    steps = survey.subject.task.samples[index]
    if calls == 1:
        return float_vector(survey.reference_outputs.outputs(index, steps))
    session = survey.reference_outputs.session
    outputs = sample_outputs(session, steps, survey.subject.task.state)
    pieces = [
        float_vector({name: array[call] for name, array in outputs.items()})
        for call in range(calls)
    ]
    return np.concatenate(pieces)


def other_operators(survey: Survey) -> Iterator[Finding]:
    """Find operators with another computation although nothing in them is compressed."""
    noise = survey.own_noise
    order = {key: position for position, key in enumerate(survey.pair.names)}
    suspects = [key for key, value in noise.items() if value > OFF and _is_plain(survey, key)]
    suspects.sort(key=order.__getitem__)
    if not suspects:
        return
    first = suspects[0]
    worst = max(suspects, key=noise.__getitem__)
    if noise[first] * 100 <= noise[worst]:
        first = worst
    operator = survey.operator(first)
    cause = "preprocessing-mismatch" if _is_preparation(survey, first) else "export-mismatch"
    n = len(survey.samples)
    yield from of_quality(
        survey,
        cause,
        f"'{operator}' gives other results for equal inputs although it is not compressed: "
        f"{REASON[cause]}",
        NEXT[cause],
        cured=_restored(survey, first),
        operators=[operator, *(survey.operator(key) for key in suspects if key != first)],
        evidence={
            "own_snr": measured(level(noise[first], 1), "dB", n),
            "correlation": measured(correlation(survey, first), n=n),
        },
    )


REASON = {
    "preprocessing-mismatch": "the inputs are preprocessed differently",
    "export-mismatch": "the two graphs differ there",
}
NEXT = {
    "preprocessing-mismatch": "feed both models the same inputs: check mean, scale, channel order "
    "and layout, and that exactly one of graph and preprocessing normalizes",
    "export-mismatch": "export both from the same weights with the same options, and compare "
    "attributes and weights of this operator before compressing",
}


def correlation(survey: Survey, key: str) -> float:
    """Cosine of both operators' results for the reference's values, over the samples."""
    sums = np.zeros(3)
    for values in survey.walked(survey.subject.task):
        expected = values.reference[key].reshape(-1).astype(np.float64)
        actual = values.isolated[key].reshape(-1).astype(np.float64)
        sums += [expected @ actual, expected @ expected, actual @ actual]
    lengths = float(np.sqrt(sums[1] * sums[2]))
    return float(sums[0]) / lengths if lengths else 0.0


def _is_plain(survey: Survey, key: str) -> bool:
    """Return whether nothing between the variant's value and matched ones before is compressed."""
    pair = survey.pair
    flow = pair.matched.variant
    root = flow.values[pair.names[key]]
    if key in survey.rounded or root.dtype == HALF:
        return False
    compressed = {
        (pair.matched.operators[weight.node], weight.index)
        for weight in survey.weights
        if weight.storage.kind in HALVES or is_on_grid(weight) or is_zeroed(weight)
    }
    for node in _segment(flow, root, set(pair.matched.values.values())):
        if node.op_type in (*ROUNDERS, *RESTORERS) or "Quant" in node.op_type:
            return False
        if any((node, index) in compressed for index in range(len(node.inputs))):
            return False
        if any("Integer" in node.op_type or _is_unpacked(value) for _, value in flow.weights(node)):
            return False
    return True


def _is_unpacked(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type != "Constant"


def _segment(flow: Flow, root: ir.Value, matched: set[ir.Value]) -> list[ir.Node]:
    """Operators between matched values and a value, those looked through included."""
    nodes: list[ir.Node] = []
    pending = [root.producer()]
    while pending:
        node = pending.pop()
        if node is None or node in nodes:
            continue
        nodes.append(node)
        for value in node.inputs:
            if value is None or value in flow.constant or value in matched:
                continue
            if flow.root(value) not in matched:
                pending.append(value.producer())
    return nodes


def _is_preparation(survey: Survey, key: str) -> bool:
    """Return whether only preprocessing lies between the inputs and an operator, or in it.

    The first operator with a weight counts as well where its weight and attributes are equal: then
    its inputs differ.
    """
    flow = survey.pair.matched.reference
    first = survey.pair.maker(key)
    if first is None:
        return True
    counterpart = survey.pair.matched.operators.get(first)
    unchanged = counterpart is not None and _have_equal_attributes(first, counterpart)
    if any(weight.node is first for weight in survey.weights):
        unchanged = False
    pending = [first]
    visited = {first}
    while pending:
        node = pending.pop()
        if node.op_type not in PREPARES and not (node is first and unchanged):
            return False
        for value in flow.data(node):
            producer = producer_of(value)
            if producer is not None and producer not in visited:
                visited.add(producer)
                pending.append(producer)
    return True


def _have_equal_attributes(first: ir.Node, second: ir.Node) -> bool:
    return {name: attribute.value for name, attribute in first.attributes.items()} == {
        name: attribute.value for name, attribute in second.attributes.items()
    }


def float16_range(survey: Survey) -> Iterator[Finding]:
    """Find numbers too large or too small for float16, in weights and in computed values."""
    findings = list(_half_weights(survey))
    yield from findings
    causes = {finding.cause for finding in findings}
    yield from (finding for finding in _half_values(survey) if finding.cause not in causes)


def _half_weights(survey: Survey) -> Iterator[Finding]:
    """Report weights that do not fit into float16, for each cause."""
    stored = Sites(survey).weights["half"]
    for cause, test in (("float16-overflow", _overflows), ("float16-underflow", _underflows)):
        unfit = [weight for weight in stored if test(weight.reference) and weight.noise > LOSS]
        unfit.sort(key=lambda weight: -weight.noise)
        keys = [key for weight in unfit[:1] for key in _output_keys(survey, weight.node)]
        for key in keys[:1]:
            operators = [weight.operator for weight in unfit]
            largest = max(float(np.abs(weight.reference).max()) for weight in unfit)
            yield from of_quality(
                survey, cause, f"weights of {named(operators)} {WEIGHT_TEXT[cause]}", REMEDY[cause],
                cured=_restored(survey, key), operators=operators,
                evidence={"largest": measured(largest)},
            )  # fmt: skip


def _output_keys(survey: Survey, node: ir.Node) -> list[str]:
    return [str(v.name) for v in node.outputs if str(v.name) in survey.pair.names]


WEIGHT_TEXT = {
    "float16-overflow": "are too large for float16 (65504) and became infinite, or were clipped",
    "float16-underflow": "are too small for float16 (6e-8) and became 0",
}
REMEDY = {
    "float16-overflow": "keep these operators in float32 (where=), or scale the weights before "
    "them down and the weights behind them up",
    "float16-underflow": "keep these operators in float32 (where=), or scale these numbers up and "
    "undo it behind them",
}


def _overflows(numbers: Rows) -> bool:
    return bool((np.abs(numbers) > HALF_HIGHEST).any())


def _underflows(numbers: Rows) -> bool:
    size = np.abs(numbers[numbers != 0])
    return bool(size.size and np.median(size) < FAINT)


def _half_values(survey: Survey) -> Iterator[Finding]:
    """Report values computed in float16 that do not fit; the first for each cause."""
    for cause, text in VALUE_TEXT.items():
        suspects = [key for key in survey.pair.names if _is_unfit(survey, cause, key)]
        lossy = [key for key in suspects if survey.own_noise[key] > LOSS]
        for key in lossy[:1]:
            spread = survey.spreads[key]
            operator = survey.operator(key)
            yield from of_quality(
                survey, cause, f"outputs of '{operator}' {text}", REMEDY[cause],
                cured=_restored(survey, key), operators=[operator],
                evidence={"largest": measured(max(spread.high, -spread.low), n=spread.count)},
            )  # fmt: skip
        if suspects and not lossy and cause == "float16-overflow":
            yield _hidden_overflow(survey, suspects)


def _is_unfit(survey: Survey, cause: str, key: str) -> bool:
    """Return whether a value is computed in float16 and too large, or all too small, for it."""
    flow = survey.pair.matched.variant
    spread = survey.spreads[key]
    root = flow.values[survey.pair.names[key]]
    unfit = max(spread.high, -spread.low) < FAINT
    if cause == "float16-overflow":
        unfit = spread.huge > 0
    return unfit and HALF in (root.dtype, flow.delivered(root).dtype)


def _hidden_overflow(survey: Survey, keys: list[str]) -> Finding:
    """Report an overflow that this CPU hides, because it computes such operators in float32."""
    operators = [survey.operator(key) for key in keys]
    spread = survey.spreads[keys[0]]
    share = spread.huge / spread.count
    return Finding(
        "float16-overflow", "warning", "quality",
        f"outputs of {named(operators)} {VALUE_TEXT['float16-overflow']}; this runtime "
        "computes them in float32, but hardware that computes in float16 gives infinity",
        operator=operators[0],
        evidence={
            "largest": measured(max(spread.high, -spread.low), n=spread.count),
            "share_of_numbers_too_large": measured(share, n=spread.count),
        },
        next_step=REMEDY["float16-overflow"],
        operators=tuple(operators),
        source=survey.source(operators[0]),
        weight=share,
    )  # fmt: skip


VALUE_TEXT = {
    "float16-overflow": "are too large for float16 (65504)",
    "float16-underflow": "are so small that float16 keeps few of their digits, or none",
}
