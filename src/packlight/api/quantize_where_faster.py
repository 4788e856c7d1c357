"""Integer arithmetic where it is faster on this machine, or the reason why nowhere.

Latency is measured by operator in float and in integers; a minimum cut chooses the operators to
compute in integers, with the cost of conversions at the borders. Borders can cost more than
conversions, because neighboring float operators share a layout that one between integers lacks.
So the cut is compared with the model all in integers, and the faster one is chosen. The result is
measured interleaved with the original, and offered only if it is significantly faster.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import onnx_ir as ir

from packlight.api.compress import Compressed, compress
from packlight.backends.capabilities import capabilities, policy
from packlight.compression.qdq import placement
from packlight.model import Model, nodes, producer_of
from packlight.planning.cost.integer_cut import OperatorTimes, PassedValue, cheapest_integers
from packlight.profiling.sample_runs import (
    Timing,
    measure_operators,
    profile_for_task,
    sample_shapes,
)
from packlight.records import Measurement, Profile, Recipe, SessionOptions, Step
from packlight.records.configs import DynamicInt8, StaticInt8
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime import Feeds, compare_latency, latency_of, open_session
from packlight.runtime.progress import Progress, silent
from packlight.sources.opening import AnyModel, AnyTask, source_of, task_for
from packlight.task import Task

IntegerConfig = StaticInt8 | DynamicInt8
SKETCH: Mapping[type[IntegerConfig], IntegerConfig] = {
    StaticInt8: StaticInt8(rounding="nearest", bias=False, range="minmax", search="minmax"),
    DynamicInt8: DynamicInt8(rounding="nearest", search="minmax"),
}
"""Fast configs for the search; latency does not depend on their other options."""

SIZES = (1 << 12, 1 << 20)
"""Sizes of the two arrays whose conversions are timed."""


OfferCode = Literal["offered", "no-operators", "no-gain", "not-faster"]
REASONS: Mapping[OfferCode, str] = {
    "offered": "",
    "no-operators": "the method has no integer kernel for any of the model's operators",
    "no-gain": "no operator is faster in integers here, conversions included",
    "not-faster": (
        "it takes {ratio.value:.2f} times as long as the original "
        "({ratio.low:.2f} to {ratio.high:.2f}), which is not significantly faster"
    ),
}
"""Sentences for the reasons to decline integer arithmetic."""


@dataclass(frozen=True, slots=True)
class IntegerSearch:
    """Integer arithmetic on this machine.

    Attributes:
        compressed: the model, also if it is declined.
        ratio: its latency over that of the original.
        floats: operators with an integer kernel that stay in float because that is faster.
        code: ``offered``, or the reason to decline: no operator has an integer kernel, none is
            faster, or the model is not significantly faster.
    """

    compressed: Compressed
    ratio: Measurement
    floats: tuple[str, ...]
    code: OfferCode

    @property
    def offered(self) -> bool:
        """True if it is significantly faster than the original."""
        return self.code == "offered"

    @property
    def reason(self) -> str:
        """Reason to decline it, as a sentence; empty if it is offered."""
        return REASONS[self.code].format(ratio=self.ratio)


def quantize_where_faster(
    model: AnyModel,
    task: AnyTask,
    config: IntegerConfig = StaticInt8(),
    *,
    options: SessionOptions = DEFAULT_SESSION,
    seconds: float = 2.0,
    seed: int = 0,
    progress: Progress = silent,
) -> IntegerSearch:
    """Compute in integers the operators that are faster in integers on this machine.

    Args:
        model: stays as it is.
        task: whose samples are timed and calibrated with.
        config: of the method: ``StaticInt8`` with ranges fixed beforehand, or ``DynamicInt8`` with
            ranges found at every call.
        options: of all sessions; the choice holds for their threads.
        seconds: to spend on each measurement.
        seed: of everything random.
        progress: told what is being done.

    Raises:
        InputError: the model or the task cannot be used.
    """
    original = source_of(model, runs=True).model
    data = task_for(task, original)
    make = partial(compress, original, task=data, options=options, progress=progress)
    sketch = make(Recipe((Step(SKETCH[type(config)]),), seed))
    times = [
        _latency_by_name(timed(version, data, options, seconds, seed))
        for version in (original, sketch.model)
    ]
    able = tuple(change.operator for change in sketch.variant.changes)
    if isinstance(config, DynamicInt8):
        chosen = cheapest_integers(product_times(able, sketch.model, times[0], times[1]), ())
    else:
        to_codes, to_floats = conversions(options, seconds, seed)
        counts = {
            name: math.prod(size for size in shape if size is not None)
            for name, shape in sample_shapes(original, data).items()
        }
        moved = {name: (to_codes * n, to_floats * n) for name, n in counts.items()}
        costs = {
            name: OperatorTimes(times[0].get(name, 0.0), times[1].get(name, 0.0)) for name in able
        }
        chosen = integer_operators(original, costs, moved)
    time = partial(latency_ratio, original, task=data, options=options, seconds=seconds, seed=seed)
    build = partial(recipe_of, able=able, seed=seed)
    tried = {frozenset(able): sketch}
    if chosen:
        tried |= {chosen: make(build(SKETCH[type(config)], chosen))}
    ratios = {names: time(candidate.model).value for names, candidate in tried.items()}
    best = min(ratios, key=lambda names: ratios[names])
    chosen = best if ratios[best] < 1 else frozenset()
    compressed = make(build(config, chosen))
    ratio = time(compressed.model)
    floats = tuple(name for name in able if name not in chosen)
    code = offer(chosen, ratio) if able else "no-operators"
    return IntegerSearch(compressed, ratio, floats, code)


def latency_ratio(
    original: Model,
    compressed: Model,
    *,
    task: Task,
    options: SessionOptions,
    seconds: float,
    seed: int,
) -> Measurement:
    """Latency of a model over that of the original, interleaved with it."""
    return compare_latency(
        lambda: open_session(original, options), lambda: open_session(compressed, options),
        task.samples[:1], task.state, seconds=seconds, seed=seed,
    )["latency_ratio"]  # fmt: skip


def offer(chosen: frozenset[str], ratio: Measurement) -> OfferCode:
    """Code for offering integers, or for the reason to decline them."""
    if not chosen:
        return "no-gain"
    if ratio.high >= 1:
        return "not-faster"
    return "offered"


def recipe_of(
    config: IntegerConfig,
    chosen: frozenset[str],
    *,
    able: Sequence[str],
    seed: int,
) -> Recipe:
    """The recipe that computes what was chosen in integers, and nothing where nothing was."""
    if not chosen:
        return Recipe((), seed)
    floats = [name for name in able if name not in chosen]
    if isinstance(config, DynamicInt8):
        where = f"^({'|'.join(map(re.escape, sorted(chosen)))})$"
        return Recipe((Step(config, where),), seed)
    if floats:
        skipped = [f"(?:{config.skip})"] if config.skip else []
        config = replace(config, skip="|".join([*skipped, *map(re.escape, floats)]))
    return Recipe((Step(config),), seed)


def timed(model: Model, task: Task, options: SessionOptions, seconds: float, seed: int) -> Profile:
    """Profile with the latency of each operator on this machine."""
    profile = profile_for_task(model, {}, task)
    return measure_operators(model, profile, task, Timing(options, seconds, seed))


def _latency_by_name(profile: Profile) -> dict[str, float]:
    return {
        operator.name: operator.latency.value
        for operator in profile.operators
        if operator.latency is not None
    }


def integer_operators(
    model: Model, costs: Mapping[str, OperatorTimes], moved: Mapping[str, tuple[float, float]]
) -> frozenset[str]:
    """Choose the operators to compute in integers with fixed ranges.

    Args:
        model: in float.
        costs: of the operators that can compute in integers, by name.
        moved: seconds to quantize and to dequantize each value, by name.
    """
    graph = model.clone()
    chosen = {str(node.name): node for node in nodes(graph) if node.name in costs}
    pairs = policy("onnxruntime")
    weighted = [n for n in chosen.values() if n.op_type in pairs.runtime.weight_operators]
    plan = placement.place_pairs(graph, weighted, policy=pairs)
    needs = [
        (str(node.name), str(giver.name))
        for node in plan.unweighted
        for giver in _producers_of(node)
        if giver.name in chosen and node.name in chosen
    ]
    return cheapest_integers(costs, list(_passings(plan, chosen, moved)), needs)


def product_times(
    able: Sequence[str], model: Model, floats: Mapping[str, float], codes: Mapping[str, float]
) -> dict[str, OperatorTimes]:
    """Times of products with dynamic quantization; products that share codes share their cost."""
    spent = dict.fromkeys(able, 0.0)
    for node in nodes(model.graph):
        product = next((n for n in (node.name, parent(str(node.name))) if n in spent), "")
        if product:
            spent[product] += codes.get(str(node.name), 0.0)
        if product and node.op_type == "MatMulInteger":
            quantizer = node.inputs[0].producer()  # type: ignore[union-attr]
            assert quantizer is not None
            spent[product] += codes.get(str(quantizer.name), 0.0) / len(quantizer.outputs[0].uses())
    return {name: OperatorTimes(floats.get(name, 0.0), spent[name]) for name in able}


def parent(name: str) -> str:
    """Name of the operator that a part of it belongs to."""
    return name.rpartition(".")[0]


def _producers_of(node: ir.Node) -> Iterator[ir.Node]:
    """Operators that compute the inputs of an operator, through activations."""
    for value in node.inputs:
        maker = producer_of(value)
        while maker is not None and maker.op_type in capabilities("onnxruntime").clipping:
            maker = producer_of(maker.inputs[0])
        if maker is not None:
            yield maker


def _passings(
    plan: placement.Plan,
    chosen: Mapping[str, ir.Node],
    seconds: Mapping[str, tuple[float, float]],
) -> Iterator[PassedValue]:
    """Values that operators read or write that can compute in integers.

    Args:
        plan: values that would get a grid.
        chosen: operators that can compute in integers, by name.
        seconds: to quantize and to dequantize each value, by name.
    """
    clipping = plan.policy.runtime.clipping
    producers = {
        str(placement.behind_activation(node, clipping).name): name for name, node in chosen.items()
    }
    values = {str(value.name): value for value in (*plan.read.values(), *plan.written.values())}
    for name, value in values.items():
        readers = [str(node.name) for node in value.consumers()]
        if value.is_graph_output():
            readers.append("")
        names = tuple(reader if reader in chosen else "" for reader in readers)
        yield PassedValue(producers.get(name, ""), names, *seconds.get(name, (0.0, 0.0)))


def conversions(options: SessionOptions, seconds: float, seed: int) -> tuple[float, float]:
    """Seconds to quantize and to dequantize a number, from arrays of two sizes."""
    slopes = []
    for make in (quantizer, _dequantizer):
        times = []
        for size in SIZES:
            model, feeds = make(size)
            session = open_session(model, options)
            run = latency_of(session, [[feeds]], {}, seconds=seconds / 8, seed=seed)
            times.append(run["latency"].value)
        slopes.append(max(0.0, (times[1] - times[0]) / (SIZES[1] - SIZES[0])))
    return slopes[0], slopes[1]


def quantizer(size: int) -> tuple[Model, Feeds]:
    """Model that quantizes ``size`` numbers, with its inputs."""
    x = ir.val("x", ir.DataType.FLOAT, (size,))
    y = ir.val("y", ir.DataType.UINT8, (size,))
    return _conversion_model("QuantizeLinear", x, y), {
        "x": np.linspace(-1, 1, size, dtype=np.float32)
    }


def _dequantizer(size: int) -> tuple[Model, Feeds]:
    x = ir.val("x", ir.DataType.UINT8, (size,))
    y = ir.val("y", ir.DataType.FLOAT, (size,))
    return _conversion_model("DequantizeLinear", x, y), {"x": np.arange(size).astype(np.uint8)}


def _conversion_model(kind: str, x: ir.Value, y: ir.Value) -> Model:
    """Model of one conversion."""
    constants = [
        ir.val(name, const_value=ir.tensor(array, name=name))
        for name, array in (("scale", np.float32(0.01)), ("zero", np.uint8(100)))
    ]
    node = ir.Node("", kind, [x, *constants], outputs=[y])
    graph = ir.Graph(
        [x], [y], nodes=[node], initializers=constants, opset_imports={"": 13}, name="conversion"
    )
    return Model(ir.Model(graph, ir_version=8), "conversion")
