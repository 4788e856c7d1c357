"""Causes that lie in what operators compute: another graph, other weights, float16."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.diagnosis.causes import HALVES, Sites, is_on_grid, is_zeroed
from packlight.diagnosis.evidence import Survey, apart
from packlight.diagnosis.findings import level, measured, named, of_quality
from packlight.diagnosis.value_spread import HALF_HIGHEST, HALF_LOWEST
from packlight.evaluation.reference import results
from packlight.layers import Walk
from packlight.layers.data_flow import RESTORERS, ROUNDERS, SEEN_THROUGH, Flow
from packlight.layers.probe import open_probe
from packlight.metrics.fidelity import float_vector
from packlight.records import Finding

Rows = NDArray[np.float64]

OFF = 1e-4
"""Own error of an operator, relative to the signal, from which on it computes something else: 40
dB, where float32 in another order stays above 100."""

PREPARES = frozenset({
    "Sub", "Div", "Mul", "Add", "Cast", "Transpose", "Reshape", "Resize", "Pad", "Slice", "Gather",
    "Concat", "Split", "Unsqueeze", "Squeeze", "Identity",
})  # fmt: skip
"""Operators that prepare an input before the first that was trained."""

HALF = ir.DataType.FLOAT16
LOSS = 1e-6
"""Own error of an operator in float16, relative to the signal, from which on its range is the
cause: rounding to 11 bits alone leaves 1e-7."""


def restored(survey: Survey, key: str) -> Rows:
    """Energies where one operator is the reference's own, fed with what the variant has there."""
    pair, task = survey.pair, survey.subject.task
    outputs = {f"out {name}": name for name in pair.variant.outputs() if name not in task.state}
    cut = {key: pair.names[key]}
    keep = tuple(task.state)
    probe = open_probe(pair.variant, outputs, cut, survey.exactly, keep=keep)
    total = np.zeros(2)
    walk = Walk(pair, task.state, back=True)
    last: dict[int, Rows] = {}
    wanted: dict[int, Rows] = {}
    for seen in walk.over(task.samples, survey.places):
        found, _ = probe.run(seen.feeds, seen.ours)
        piece = float_vector({name.removeprefix("out "): value for name, value in found.items()})
        last[seen.sample] = np.concatenate([last.get(seen.sample, piece[:0]), piece])
    for place in survey.places:
        steps = task.samples[place]
        wanted[place] = by_call(survey, place, len(steps))
        total += apart(last[place], wanted[place])
    return total


def by_call(survey: Survey, place: int, calls: int) -> Rows:
    """The reference's outputs on a sample, call after call."""
    steps = survey.subject.task.samples[place]
    if calls == 1:
        return float_vector(survey.wanted.outputs(place, steps))
    whole = results(survey.wanted.session, steps, survey.subject.task.state)
    pieces = [
        float_vector({name: array[at] for name, array in whole.items()}) for at in range(calls)
    ]
    return np.concatenate(pieces)


def other_operators(survey: Survey) -> Iterator[Finding]:
    """Operators that compute something else though nothing in them is compressed."""
    suspects = sorted(
        (key for key, noise in survey.own_noise.items() if noise > OFF and is_plain(survey, key)),
        key=lambda key: list(survey.pair.names).index(key),
    )
    if not suspects:
        return
    worst = max(suspects, key=lambda key: survey.own_noise[key])
    first = suspects[0] if survey.own_noise[suspects[0]] * 100 > survey.own_noise[worst] else worst
    operator = survey.operator(first)
    prepares = is_preparation(survey, first)
    cause = "preprocessing-mismatch" if prepares else "export-mismatch"
    why = (
        "the inputs are prepared in another way"
        if prepares
        else "the two graphs compute different things there"
    )
    yield from of_quality(
        survey,
        cause,
        f"'{operator}' gives something else for equal inputs though nothing of it is compressed: "
        f"{why}",
        NEXT[cause],
        cured=restored(survey, first),
        operators=[operator, *(survey.operator(key) for key in suspects if key != first)],
        evidence={
            "own_snr": measured(level(survey.own_noise[first], 1), "dB", len(survey.places)),
            "correlation": measured(correlation(survey, first), n=len(survey.places)),
        },
    )


NEXT = {
    "preprocessing-mismatch": "feed both models alike: check mean, scale, order of channels and "
    "layout, and whether the normalisation is inside one graph and outside the other",
    "export-mismatch": "export both from the same weights with the same options, and compare "
    "attributes and weights of this operator before compressing anything",
}


def correlation(survey: Survey, key: str) -> float:
    """Cosine of what both operators give for the reference's values, over the samples."""
    sums = np.zeros(3)
    for seen in survey.walked(survey.subject.task):
        ours, theirs = (
            side[key].reshape(-1).astype(np.float64) for side in (seen.reference, seen.own)
        )
        sums += [ours @ theirs, ours @ ours, theirs @ theirs]
    lengths = float(np.sqrt(sums[1] * sums[2]))
    return float(sums[0]) / lengths if lengths else 0.0


def is_plain(survey: Survey, key: str) -> bool:
    """Whether nothing between the variant's value and those before it is compressed."""
    pair = survey.pair
    flow = pair.matched.variant
    root = flow.values[pair.names[key]]
    if key in survey.rounded or root.dtype == HALF:
        return False
    compressed = {
        (pair.matched.operators[one.node], one.place)
        for one in survey.weights
        if one.storage.kind in HALVES or is_on_grid(one) or is_zeroed(one)
    }
    for node in segment(flow, root, set(pair.matched.values.values())):
        if node.op_type in (*ROUNDERS, *RESTORERS) or "Quant" in node.op_type:
            return False
        if any((node, place) in compressed for place in range(len(node.inputs))):
            return False
        if any("Integer" in node.op_type or is_short(value) for _, value in flow.weights(node)):
            return False
    return True


def is_short(value: ir.Value) -> bool:
    """Whether a weight is stored in another type than it is read in."""
    return value.producer() is not None and value.producer().op_type != "Constant"  # type: ignore[union-attr]


def segment(flow: Flow, root: ir.Value, known: set[ir.Value]) -> list[ir.Node]:
    """Operators that give a value from matched ones, those that are seen through included."""
    found: list[ir.Node] = []
    rest = [root.producer()]
    while rest:
        node = rest.pop()
        if node is None or node in found:
            continue
        found.append(node)
        for value in node.inputs:
            if value is None or value in flow.constant:
                continue
            if value.producer() is not None and value not in known:
                inside = flow.root(value) not in known or node.op_type not in SEEN_THROUGH
                rest += [value.producer()] if inside and flow.root(value) not in known else []
    return found


def is_preparation(survey: Survey, key: str) -> bool:
    """Whether only what prepares an input lies between the inputs and an operator, or in it.

    The first operator with a weight counts where its weight and attributes are the same: then what
    it is fed differs.
    """
    flow = survey.pair.matched.reference
    maker = survey.pair.maker(key)
    if maker is None:
        return True
    changed = {one.node for one in survey.weights}
    other = survey.pair.matched.operators.get(maker)
    rest, seen = [maker], {maker}
    while rest:
        node = rest.pop()
        plain = node.op_type in PREPARES
        same = node is maker and node not in changed and other is not None and alike(node, other)
        if not plain and not same:
            return False
        for value in flow.data(node):
            before = None if value is None else value.producer()
            if before is not None and before not in seen:
                seen.add(before)
                rest.append(before)
    return True


def alike(one: ir.Node, other: ir.Node) -> bool:
    """Whether two operators have equal attributes."""
    return {name: held.value for name, held in one.attributes.items()} == {
        name: held.value for name, held in other.attributes.items()
    }


def half(survey: Survey) -> Iterator[Finding]:
    """Numbers too large or too small for float16, in weights and in what is computed."""
    told = list(half_weights(survey))
    yield from told
    known = {one.cause for one in told}
    yield from (one for one in half_values(survey) if one.cause not in known)


def half_weights(survey: Survey) -> Iterator[Finding]:
    """Weights that do not fit into float16; what is worst of each kind."""
    stored = Sites(survey).weights["half"]
    for cause, test in (("float16-overflow", overflows), ("float16-underflow", underflows)):
        hit = [one for one in stored if test(one.wanted) and one.noise > LOSS]
        hit.sort(key=lambda one: -one.noise)
        keys = [key for one in hit[:1] for key in given_by(survey, one.node)]
        for key in keys[:1]:
            operators = [one.operator for one in hit]
            largest = max(float(np.abs(one.wanted).max()) for one in hit)
            yield from of_quality(
                survey, cause, f"weights of {named(operators)} {SAYS[cause]}", REMEDY[cause],
                cured=restored(survey, key), operators=operators,
                evidence={"largest": measured(largest)},
            )  # fmt: skip


def given_by(survey: Survey, node: ir.Node) -> list[str]:
    """Matched values that an operator of the reference gives."""
    return [str(v.name) for v in node.outputs if str(v.name) in survey.pair.names]


SAYS = {
    "float16-overflow": "are too large for float16 (65504) and became infinite, or were cut off",
    "float16-underflow": "are too small for float16 (6e-8) and became 0",
}
REMEDY = {
    "float16-overflow": "keep these operators in float32 (where=), or scale the weights before "
    "them down and those behind them up",
    "float16-underflow": "keep these operators in float32 (where=), or scale these numbers up and "
    "undo it behind them",
}


def overflows(numbers: Rows) -> bool:
    """Whether some numbers are too large for float16."""
    return bool((np.abs(numbers) > HALF_HIGHEST).any())


def underflows(numbers: Rows) -> bool:
    """Whether some numbers are too small for float16 to keep their digits."""
    size = np.abs(numbers[numbers != 0])
    return bool(size.size and np.median(size) < HALF_LOWEST * 2**11)


def half_values(survey: Survey) -> Iterator[Finding]:
    """What is computed in float16 and does not fit there; the first of each kind."""
    for cause, gives in GIVES.items():
        suspects = [key for key in survey.pair.names if is_unfit(survey, cause, key)]
        lossy = [key for key in suspects if survey.own_noise[key] > LOSS]
        for key in lossy[:1]:
            seen, operator = survey.spreads[key], survey.operator(key)
            yield from of_quality(
                survey, cause, f"what '{operator}' gives {gives}", REMEDY[cause],
                cured=restored(survey, key), operators=[operator],
                evidence={"largest": measured(max(seen.high, -seen.low), n=seen.count)},
            )  # fmt: skip
        if suspects and not lossy and cause == "float16-overflow":
            yield foretold(survey, suspects)


def is_unfit(survey: Survey, cause: str, key: str) -> bool:
    """Whether a value is computed in float16 and too large, or all too small, for it."""
    flow, seen = survey.pair.matched.variant, survey.spreads[key]
    root = flow.values[survey.pair.names[key]]
    faint = max(seen.high, -seen.low) < HALF_LOWEST * 2**11
    bad = seen.huge > 0 if cause == "float16-overflow" else faint
    return bad and HALF in (root.dtype, flow.delivered(root).dtype)


def foretold(survey: Survey, keys: list[str]) -> Finding:
    """An overflow that this CPU hides, because it computes such operators in float32."""
    operators = [survey.operator(key) for key in keys]
    seen = survey.spreads[keys[0]]
    share = seen.huge / seen.count
    return Finding(
        "float16-overflow", "warning", "quality",
        f"what {named(operators)} {GIVE_ON[len(operators) > 1]}; the runtime here computes it in "
        "float32, but hardware that computes in float16 gives infinity",
        operator=operators[0],
        evidence={
            "largest": measured(max(seen.high, -seen.low), n=seen.count),
            "share_of_numbers_too_large": measured(share, n=seen.count),
        },
        next_step=REMEDY["float16-overflow"],
        operators=tuple(operators),
        source=survey.source(operators[0]),
        weight=share,
    )  # fmt: skip


GIVE_ON = ("gives is too large for float16 (65504)", "give is too large for float16 (65504)")
GIVES = {
    "float16-overflow": "is too large for float16 (65504)",
    "float16-underflow": "is so small that float16 keeps few digits of it, or none",
}
