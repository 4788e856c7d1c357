"""Evidence for detectors: one walk over samples, every weight once, and cures of the variant.

A cure is a copy of the variant without some of its errors; its outputs show what these cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.diagnosis.value_spread import Grid, Spread, grid_of
from packlight.diagnosis.weight_storage import (
    Storage,
    by_channel,
    channel_axis,
    levels_of,
    storage_of,
)
from packlight.evaluation import Reference
from packlight.evaluation.reference import sample_outputs
from packlight.layers import (
    CallValues,
    MatchedPair,
    SignalNoise,
    Walk,
    evenly_spread,
    match_models,
)
from packlight.layers.data_flow import Flow
from packlight.layers.weights import is_folded, refolded, weight_pairs
from packlight.metrics.fidelity import float_vector, signal_and_noise
from packlight.model import Model, stored_tensor
from packlight.profiling.source_lines import source_of
from packlight.records import Measurement, Profile, Recipe, SessionOptions, SourceLine
from packlight.runtime import open_session
from packlight.runtime.progress import Progress, silent
from packlight.task import Task

Rows = NDArray[np.float64]
Array = NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """The pair of models to diagnose.

    Attributes:
        reference: the original.
        variant: the compressed model.
        task: its samples are run, and its calibration samples compared with the ranges.
        options: of the sessions of the runtime.
        limit: samples at most.
        seed: of everything random.
        profiles: measured costs of both models; None where time was not measured.
        ratio: time of the variant over that of the reference; None where it was not measured.
        sizes: bytes of both files.
        recipe: that made the variant of the reference; None where it is not known.
        progress: told of what takes long.
    """

    reference: Model
    variant: Model
    task: Task
    options: SessionOptions = field(default_factory=SessionOptions)
    limit: int = 32
    seed: int = 0
    profiles: tuple[Profile, Profile] | None = None
    ratio: Measurement | None = None
    sizes: tuple[int, int] = (0, 0)
    recipe: Recipe | None = None
    progress: Progress = silent


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """An activation that the variant rounds.

    Attributes:
        key: its name in the reference.
        operator: of the reference, that gives it; for an input, the input's name.
        op: type of that operator.
        readers: types of the operators that read it.
        grid: with one stored scale; None for another kind of grid.
        spread: statistics of its numbers in the reference.
        calibrated: statistics on calibration samples; None where there are none.
        noise: energy of the rounding on the variant's own values relative to the signal.
    """

    key: str
    operator: str
    op: str
    readers: tuple[str, ...]
    grid: Grid | None
    spread: Spread
    calibrated: Spread | None
    noise: float


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A weight of the variant and the reference's.

    Attributes:
        node: operator of the reference.
        index: of the weight among its inputs.
        reference: the reference's weight (channels, numbers).
        variant: the variant's.
        storage: its storage in the variant.
        levels: different numbers in one channel, at most.
        shape: of the reference's weight, as its operator reads it.
    """

    node: ir.Node
    index: int
    reference: Rows
    variant: Rows
    storage: Storage
    levels: int
    shape: tuple[int, ...]

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return str(self.node.name)

    @property
    def noise(self) -> float:
        """Energy of the difference relative to that of the weight."""
        energy = float((self.reference**2).sum())
        noise = np.nan_to_num(self.variant - self.reference, posinf=1e18, neginf=-1e18)
        if energy:
            return float((noise**2).sum()) / energy
        return 0.0

    def as_read(self, rows: Rows) -> Rows:
        """Numbers (channels, numbers) in the shape in which the operator reads them."""
        axis = channel_axis(self.node, self.index, len(self.shape))
        moved = [self.shape[axis], *self.shape[:axis], *self.shape[axis + 1 :]]
        return np.asarray(np.moveaxis(rows.reshape(moved), 0, axis))

    @property
    def bits(self) -> float:
        """Bits that the different numbers in one channel need."""
        return float(np.log2(max(self.levels, 2)))


class Survey:
    """Measurements of a pair, computed at first use.

    Args:
        subject: the pair to diagnose.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.samples = evenly_spread(len(subject.task.samples), subject.limit)
        self.noise: dict[str, SignalNoise] = {}
        self.spreads: dict[str, Spread] = {}

    @cached_property
    def pair(self) -> MatchedPair:
        """Both models, matched."""
        return match_models(self.subject.reference, self.subject.variant, self.subject.options)

    @cached_property
    def rounded(self) -> dict[str, list[tuple[ir.Node, ir.Node]]]:
        """Quantize-dequantize pairs of the variant by the reference's name of their value."""
        flow = self.pair.matched.variant
        rounded = {}
        for key, name in self.pair.names.items():
            pairs = list(flow.rounders(flow.values[name]))
            if pairs:
                rounded[key] = pairs
        return rounded

    @cached_property
    def roundings(self) -> list[Rounding]:
        """Every activation that the variant rounds, with its statistics."""
        grids = {key: grid_of(pairs[0][0]) for key, pairs in self.rounded.items()}
        self.spreads = {key: Spread(grids.get(key)) for key in self.pair.names}
        turns = {sample: turn for turn, sample in enumerate(self.samples)}
        self.noise = {key: SignalNoise() for key in self.pair.names}
        for values in self.walked(self.subject.task):
            turn = turns[values.sample]
            for key, noise in self.noise.items():
                self.spreads[key].add(values.reference[key])
                tensors = values.reference[key], values.variant[key], values.isolated[key]
                noise.add(turn, *tensors)
        calibrated = self.calibrated(grids)
        return [self.rounding(key, grids[key], calibrated.get(key)) for key in grids]

    def walked(self, task: Task) -> Iterator[CallValues]:
        """Values of both models over the samples."""
        return Walk(self.pair, task.state).over(task.samples, self.samples)

    def calibrated(self, grids: Mapping[str, Grid | None]) -> dict[str, Spread]:
        """Statistics of values with a grid on calibration samples; empty where there are none."""
        task = self.subject.task
        if not len(task.calibration):
            return {}
        spreads = {key: Spread(grid) for key, grid in grids.items() if grid is not None}
        indices = evenly_spread(len(task.calibration), self.subject.limit)
        for values in Walk(self.pair, task.state).over(task.calibration, indices):
            for key, spread in spreads.items():
                spread.add(values.reference[key])
        return spreads

    def rounding(self, key: str, grid: Grid | None, calibrated: Spread | None) -> Rounding:
        """Collect what is known of one rounded activation."""
        flow = self.pair.matched.reference
        producer = self.pair.maker(key)
        readers = {node.op_type for node, _, _ in flow.reads(flow.values[key])}
        spread = self.spreads[key]
        return Rounding(
            key, self.operator(key), "input" if producer is None else producer.op_type,
            tuple(sorted(readers)), grid, spread, calibrated,
            spread.noise if grid else self.noise[key].local_noise(),
        )  # fmt: skip

    def operator(self, key: str) -> str:
        """Name of the operator of the reference that gives a value; for an input, its own name."""
        producer = self.pair.maker(key)
        if producer is None:
            return key
        return str(producer.name)

    def source(self, operator: str) -> SourceLine | None:
        """The source line of an operator of the reference."""
        nodes = self.pair.matched.reference.operators
        return next((source_of(node) for node in nodes if node.name == operator), None)

    @cached_property
    def weights(self) -> list[Weight]:
        """Every weight that differs, and every one that the variant stores in another way."""
        return [
            weight for weight in self.all_weights() if weight.noise > 0 or weight.storage.unpacked
        ]

    def all_weights(self) -> Iterator[Weight]:
        """Weights of two dimensions and more of both models, one at a time."""
        operators = self.pair.matched.operators
        for node, index, weight, variant_weight in weight_pairs(self.pair):
            if weight.ndim < 2:  # noqa: PLR2004
                continue
            value = operators[node].inputs[index]
            assert value is not None
            axis = channel_axis(node, index, weight.ndim)
            rows = by_channel(variant_weight, axis)
            folded = is_folded(self.pair, node)
            reference = refolded(weight, variant_weight) if folded else weight
            yield Weight(
                node,
                index,
                by_channel(reference, axis),
                rows,
                storage_of(value),
                levels_of(rows),
                weight.shape,
            )

    @cached_property
    def own_noise(self) -> dict[str, float]:
        """Energy of each operator's own error relative to the signal, by value."""
        self.roundings  # noqa: B018  (walks over the samples)
        return {key: noise.local_noise() for key, noise in self.noise.items()}

    @cached_property
    def exactly(self) -> SessionOptions:
        """Options of exact arithmetic."""
        return self.pair.options

    @cached_property
    def reference_outputs(self) -> Reference:
        """The reference's outputs."""
        return Reference(self.subject.reference, self.subject.task, self.exactly)

    @cached_property
    def energies(self) -> Rows:
        """Energy of the reference's outputs and of the variant's error, computed exactly (2,)."""
        return self.outputs_of(self.pair.variant, self.exactly)

    def outputs_of(self, model: Model, options: SessionOptions) -> Rows:
        """Energy of the reference's outputs and of a model's difference to them (2,)."""
        return output_error(model, options, self.reference_outputs, self.samples)

    def cured_model(self, cure: Cure) -> Model:
        """The variant without some of its errors."""
        return _cured(self.pair, cure)

    def cure(self, cure: Cure) -> Rows:
        """Energies of the outputs and of the error with some errors removed (2,)."""
        return self.outputs_of(self.cured_model(cure), self.exactly)


def output_error(
    model: Model, options: SessionOptions, reference: Reference, indices: Iterable[int]
) -> Rows:
    """Energy of the reference's outputs and of a model's difference to them (2,).

    Args:
        model: to run.
        options: of its session.
        reference: with its task, whose samples both run.
        indices: of the samples.
    """
    session = open_session(model, options)
    task = reference.task
    total = np.zeros(2)
    for index in indices:
        steps = task.samples[index]
        expected = float_vector(reference.outputs(index, steps))
        total += output_energies(float_vector(sample_outputs(session, steps, task.state)), expected)
    return total


def output_energies(actual: Rows, expected: Rows) -> Rows:
    """Energy of expected outputs and of the error (2,); non-finite numbers are all error."""
    if actual.size != expected.size:
        return np.array([expected @ expected, expected @ expected])
    invalid = ~np.isfinite(actual)
    if invalid.any():
        magnitude = np.abs(expected)
        actual = np.where(invalid, expected + np.maximum(magnitude, magnitude.mean()), actual)
    return signal_and_noise(actual, expected)


@dataclass(frozen=True, slots=True, eq=False)
class Cure:
    """Errors to remove.

    Attributes:
        roundings: names in the reference of activations that are no longer rounded.
        weights: by operator of the reference and input index, the weight to read instead.
    """

    roundings: tuple[str, ...] = ()
    weights: Mapping[tuple[ir.Node, int], Array] = field(default_factory=dict)


def _cured(pair: MatchedPair, cure: Cure) -> Model:
    """Copy the variant without some of its errors."""
    copy = pair.variant.clone()
    flow = Flow(copy)
    nodes = list(copy.graph)
    for key in cure.roundings:
        root = flow.values[pair.names[key]]
        limited = clipped(copy.graph, root, _grid_limits(pair, key), pair.names[key])
        _unround(flow, root, limited)
    order = {node: position for position, node in enumerate(pair.variant.graph.graph)}
    for (node, index), weight in cure.weights.items():
        position = order[pair.matched.operators[node]]
        value = nodes[position].inputs[index]
        assert value is not None
        dtype = (value.dtype or ir.DataType.FLOAT).numpy()
        name = f"packlight.cure.{position}.{index}"
        stored = ir.Value(name=name, const_value=ir.Tensor(weight.astype(dtype), name=name))
        copy.graph.register_initializer(stored)
        nodes[position].replace_input_with(index, stored)
    return Model(copy, pair.variant.name)


def _grid_limits(pair: MatchedPair, key: str) -> tuple[float, float] | None:
    """Limits of an activation that the variant applies by the ends of its grid; None without one.

    Tools drop a Relu or Clip before a QuantizeLinear whose range has the same effect.
    """
    node = pair.maker(key)
    counterpart = pair.counterpart(key)
    if node is None or node.op_type not in LIMITS:
        return None
    if counterpart is not None and counterpart.op_type == node.op_type:
        return None
    low, high = LIMITS[node.op_type]
    bounds = [node.attributes.get_float("min", low), node.attributes.get_float("max", high)]
    for index, value in enumerate(node.inputs[1:3]):
        tensor = stored_tensor(value)
        if tensor is not None:
            bounds[index] = float(np.asarray(tensor.numpy()).reshape(-1)[0])
    return bounds[0], bounds[1]


LIMITS = {"Relu": (0.0, np.inf), "Clip": (-np.inf, np.inf)}
"""Default limits of activations."""


def clipped(
    graph: ir.Graph, root: ir.Value, limits: tuple[float, float] | None, stem: str
) -> ir.Value:
    """Clip a value to limits, by operators behind its producer, in place."""
    producer = root.producer()
    if limits is None or producer is None:
        return root
    value = root
    dtype = (root.dtype or ir.DataType.FLOAT).numpy()
    for op, bound in zip(("Max", "Min"), limits, strict=True):
        if not np.isfinite(bound):
            continue
        name = f"packlight.limit.{op}.{stem}"
        limit = ir.Value(name=name, const_value=ir.Tensor(np.array(bound, dtype), name=name))
        graph.register_initializer(limit)
        node = ir.node(op, [value, limit], name=f"{name}.node")
        node.outputs[0].name = f"{name}.out"
        graph.insert_after(producer, node)
        producer = node
        value = node.outputs[0]
    return value


def _unround(flow: Flow, root: ir.Value, plain_value: ir.Value) -> None:
    """Let readers of a value, and outputs, have it without rounding, in place."""
    for _, dequantizer in list(flow.rounders(root)):
        output = dequantizer.outputs[0]
        name = f"{dequantizer.name}.plain"
        plain = ir.node("Identity", [plain_value], name=name)
        if output.dtype is not None and root.dtype is not None and output.dtype != root.dtype:
            plain = ir.node("Cast", [plain_value], {"to": int(output.dtype)}, name=name)
        graph = dequantizer.graph
        assert isinstance(graph, ir.Graph)
        ir.convenience.replace_nodes_and_values(
            graph, dequantizer, [dequantizer], [plain], [output], [plain.outputs[0]]
        )
