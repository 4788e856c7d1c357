"""Integer arithmetic where it gains on this machine, or the reason why there is none.

The model is timed by operator in float and in integers, both as they really run; an exact cut
chooses what to compute in integers, conversions at the borders counted. Borders can cost more than
conversions, as float operators next to each other share a layout that one between integers does not
have, so the choice is timed beside all in integers, and the quicker one is taken. What comes
out is timed against the original, and offered only where it is surely faster.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import onnx_ir as ir

from packlight.api.compress import Compressed, compress
from packlight.api.measured_profile import measured_profile
from packlight.api.profile import Timing
from packlight.api.profile_detail import profile_of, shapes_in_use
from packlight.compression.methods.static import INTEGER
from packlight.compression.qdq import placement
from packlight.model import Model, nodes
from packlight.planning.cost.integer_cut import Passing, Times, cheapest
from packlight.records import Measurement, Profile, Recipe, SessionOptions, Step
from packlight.records.recipe import Option
from packlight.records.session import DEFAULT_SESSION
from packlight.runtime import Feeds, compare_latency, latency_of, open_session
from packlight.runtime.progress import Progress, silent
from packlight.sources.opening import AnyModel, AnyTask, source_of, task_for
from packlight.task import Task

Method = Literal["static", "dynamic"]
SKETCH: Mapping[Method, Mapping[str, Option]] = {
    "static": {"rounding": "nearest", "bias": False, "range": "minmax", "search": "minmax"},
    "dynamic": {"rounding": "nearest", "search": "minmax"},
}
"""Options under which a model runs as fast as under any others, and is made quickly."""

SIZES = (1 << 12, 1 << 20)
"""Numbers in two arrays whose conversions are timed."""


@dataclass(frozen=True, slots=True)
class IntegerSearch:
    """Integer arithmetic on this machine.

    Attributes:
        made: the model; also where it is declined, so that it can be looked at.
        ratio: its latency over that of the original.
        floats: operators that could compute in integers and stay in float, because that is faster.
        reason: why it is declined; empty where it is offered.
    """

    made: Compressed
    ratio: Measurement
    floats: tuple[str, ...]
    reason: str

    @property
    def offered(self) -> bool:
        """Whether it is surely faster than the original."""
        return not self.reason


def quantize_where_faster(
    model: AnyModel,
    task: AnyTask,
    method: Method = "static",
    config: Mapping[str, Option] | None = None,
    *,
    options: SessionOptions = DEFAULT_SESSION,
    seconds: float = 2.0,
    seed: int = 0,
    progress: Progress = silent,
) -> IntegerSearch:
    """Compute in integers exactly what gains by it here.

    Args:
        model: stays as it is.
        task: whose samples are timed and calibrated with.
        method: with ranges fixed beforehand, or found at every call.
        config: options of the method; its own where none are given.
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
    sketch = make(Recipe((Step(method, dict(SKETCH[method])),), seed))
    times = [by_name(timed(one, data, options, seconds, seed)) for one in (original, sketch.model)]
    able = tuple(change.operator for change in sketch.variant.changes)
    if method == "dynamic":
        chosen = cheapest(of_products(able, sketch.model, times[0], times[1]), ())
    else:
        each = conversions(options, seconds, seed)
        counts = {
            name: math.prod(size for size in shape if size is not None)
            for name, shape in shapes_in_use(original, data).items()
        }
        moved = {name: (each[0] * n, each[1] * n) for name, n in counts.items()}
        costs = {name: Times(times[0].get(name, 0.0), times[1].get(name, 0.0)) for name in able}
        chosen = regions(original, costs, moved)
    time = partial(against, original, task=data, options=options, seconds=seconds, seed=seed)
    build = partial(recipe_of, method, able=able, seed=seed)
    tried = {frozenset(able): sketch}
    if chosen:
        tried |= {chosen: make(build(dict(SKETCH[method]), chosen))}
    ratios = {names: time(one.model).value for names, one in tried.items()}
    best = min(ratios, key=lambda names: ratios[names])
    chosen = best if ratios[best] < 1 else frozenset()
    made = make(build(dict(config or {}), chosen))
    ratio = time(made.model)
    floats = tuple(name for name in able if name not in chosen)
    why = reason(chosen, ratio) if able else f"'{method}' has no integers for any of its operators"
    return IntegerSearch(made, ratio, floats, why)


def against(
    original: Model, made: Model, *, task: Task, options: SessionOptions, seconds: float, seed: int
) -> Measurement:
    """Latency of a model over that of the original, in turns with it."""
    return compare_latency(
        lambda: open_session(original, options), lambda: open_session(made, options),
        task.samples[:1], task.state, seconds=seconds, seed=seed,
    )["latency_ratio"]  # fmt: skip


def reason(chosen: frozenset[str], ratio: Measurement) -> str:
    """Why integers are declined; empty where they are not."""
    if not chosen:
        return "no operator gains by integers here, with the conversions that they need"
    if ratio.high >= 1:
        return (
            f"it takes {ratio.value:.2f} times as long as the original "
            f"({ratio.low:.2f} to {ratio.high:.2f}), which is not surely less"
        )
    return ""


def recipe_of(
    method: Method,
    config: dict[str, Option],
    chosen: frozenset[str],
    *,
    able: Sequence[str],
    seed: int,
) -> Recipe:
    """The recipe that computes what was chosen in integers, and nothing where nothing was."""
    if not chosen:
        return Recipe((), seed)
    floats = [name for name in able if name not in chosen]
    if method == "static" and floats:
        asked = [f"(?:{config['skip']})"] if config.get("skip") else []
        config["skip"] = "|".join([*asked, *map(re.escape, floats)])
    where = f"^({'|'.join(map(re.escape, sorted(chosen)))})$" if method == "dynamic" else ""
    return Recipe((Step(method, config, where),), seed)


def timed(model: Model, task: Task, options: SessionOptions, seconds: float, seed: int) -> Profile:
    """A model with the time of each of its operators on this machine."""
    found = profile_of(model, {}, task)
    return measured_profile(model, found, task, Timing(options, seconds, seed))


def by_name(found: Profile) -> dict[str, float]:
    """Seconds of each operator with a kernel of its own, what is fused into it included."""
    return {one.name: one.latency.value for one in found.operators if one.latency is not None}


def regions(
    model: Model, costs: Mapping[str, Times], moved: Mapping[str, tuple[float, float]]
) -> frozenset[str]:
    """The operators to compute in integers with fixed ranges.

    Args:
        model: in float.
        costs: of the operators that can compute in integers, by name.
        moved: seconds to quantize and to dequantize each value, by name.
    """
    graph = model.clone()
    chosen = {str(node.name): node for node in nodes(graph) if node.name in costs}
    plan = placement.place(graph, [n for n in chosen.values() if n.op_type in INTEGER])
    needs = [
        (str(node.name), str(giver.name))
        for node in plan.carriers
        for giver in givers(node)
        if giver.name in chosen and node.name in chosen
    ]
    return cheapest(costs, list(passings(plan, chosen, moved)), needs)


def of_products(
    able: Sequence[str], model: Model, floats: Mapping[str, float], codes: Mapping[str, float]
) -> dict[str, Times]:
    """Times of products quantized at every call; those that share codes share their cost."""
    spent = dict.fromkeys(able, 0.0)
    for node in nodes(model.graph):
        product = next((n for n in (node.name, parent(str(node.name))) if n in spent), "")
        if product:
            spent[product] += codes.get(str(node.name), 0.0)
        if product and node.op_type == "MatMulInteger":
            made = node.inputs[0].producer()  # type: ignore[union-attr]
            assert made is not None
            spent[product] += codes.get(str(made.name), 0.0) / len(made.outputs[0].uses())
    return {name: Times(floats.get(name, 0.0), spent[name]) for name in able}


def parent(name: str) -> str:
    """Name of the operator that one of the operators in its place belongs to."""
    return name.rpartition(".")[0]


def givers(node: ir.Node) -> Iterator[ir.Node]:
    """The operators that give what an operator reads, seen through activations."""
    for value in node.inputs:
        maker = None if value is None else value.producer()
        while maker is not None and maker.op_type in placement.ONNXRUNTIME.activations:
            source = maker.inputs[0]
            maker = None if source is None else source.producer()
        if maker is not None:
            yield maker


def passings(
    plan: placement.Plan,
    chosen: Mapping[str, ir.Node],
    seconds: Mapping[str, tuple[float, float]],
) -> Iterator[Passing]:
    """Every value that an operator gives or reads that can compute in integers.

    Args:
        plan: what would get a grid.
        chosen: operators that can compute in integers, by name.
        seconds: to quantize and to dequantize each value, by name.
    """
    made = {str(placement.behind_activation(node).name): name for name, node in chosen.items()}
    values = {str(value.name): value for value in (*plan.read.values(), *plan.given.values())}
    for name, value in values.items():
        readers = [str(node.name) for node in value.consumers()]
        if value.is_graph_output():
            readers.append("")
        names = tuple(reader if reader in chosen else "" for reader in readers)
        yield Passing(made.get(name, ""), names, *seconds.get(name, (0.0, 0.0)))


def conversions(options: SessionOptions, seconds: float, seed: int) -> tuple[float, float]:
    """Seconds to quantize and to dequantize one number here, from arrays of two sizes."""
    slopes = []
    for make in (quantizer, dequantizer):
        taken = []
        for size in SIZES:
            model, feeds = make(size)
            session = open_session(model, options)
            run = latency_of(session, [[feeds]], {}, seconds=seconds / 8, seed=seed)
            taken.append(run["latency"].value)
        slopes.append(max(0.0, (taken[1] - taken[0]) / (SIZES[1] - SIZES[0])))
    return slopes[0], slopes[1]


def quantizer(size: int) -> tuple[Model, Feeds]:
    """A model that quantizes so many numbers, with what to feed it."""
    x, y = ir.val("x", ir.DataType.FLOAT, (size,)), ir.val("y", ir.DataType.UINT8, (size,))
    return mover("QuantizeLinear", x, y), {"x": np.linspace(-1, 1, size, dtype=np.float32)}


def dequantizer(size: int) -> tuple[Model, Feeds]:
    """A model that dequantizes so many codes, with what to feed it."""
    x, y = ir.val("x", ir.DataType.UINT8, (size,)), ir.val("y", ir.DataType.FLOAT, (size,))
    return mover("DequantizeLinear", x, y), {"x": np.arange(size).astype(np.uint8)}


def mover(kind: str, x: ir.Value, y: ir.Value) -> Model:
    """A model of one conversion."""
    given = [
        ir.val(name, const_value=ir.tensor(array, name=name))
        for name, array in (("scale", np.float32(0.01)), ("zero", np.uint8(100)))
    ]
    node = ir.Node("", kind, [x, *given], outputs=[y])
    graph = ir.Graph(
        [x], [y], nodes=[node], initializers=given, opset_imports={"": 13}, name="conversion"
    )
    return Model(ir.Model(graph, ir_version=8), "conversion")
