"""Laws that every recipe keeps on every random graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from generator import Feeds, RandomGraph
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from stored_weights import (
    graphs_of,
    read_model,
    restored_weights,
    stored_tensors,
    with_arrays,
)

import packlight
from packlight.errors import InputError
from packlight.model import Model, file_size, load, name_operators, to_bytes
from packlight.runtime import open_session

Array = NDArray[np.generic]
Outputs = Mapping[str, Array]

FLOAT_KINDS = {
    TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.DOUBLE: 8,
}  # fmt: skip
"""Bytes of a number."""

OPTIONS = packlight.SessionOptions(matmul_accuracy=1)
CALIBRATION_SAMPLES = 3
TEST_SAMPLES = 2

FLOAT32_TOLERANCE = 1e-5
"""Share of the largest number of an output that sums in another order may change: 1.2e-7 for one
rounding of float32, for sums over up to 400 numbers through up to 20 operators."""

FLOAT32_NOISE = 2.0**-21
"""Noise of weights, as a share of each, whose effect says how a graph amplifies roundings: four
roundings of float32."""

FLOAT16_NOISE = 2.0**-11
"""As ``FLOAT32_NOISE`` where weights are float16: ONNX Runtime leaves out a rounding to float16
between a restored weight and a product that it computes in float32."""

AMPLIFIED = 8.0
"""Times the effect of noise of a size that roundings of this size may have: they come in at every
operator, and the noise only at what is stored and fed."""

NOISE_DRAWS = 3


@dataclass(frozen=True)
class Case:
    """One recipe on one graph.

    Attributes:
        graph: the random graph.
        recipe: as text.
        reference: what is known of the original.
        made: what the recipe made.
    """

    graph: RandomGraph
    recipe: str
    reference: Reference
    made: packlight.Made

    @cached_property
    def proto(self) -> onnx.ModelProto:
        """The model that was made."""
        return read_model(to_bytes(self.made.model))

    @cached_property
    def outputs(self) -> list[Outputs]:
        """Outputs of the model that was made, for each test sample."""
        return outputs_of(self.made.model, self.reference.calls)


class Reference:
    """A random graph as packlight reads it, with its outputs and how it amplifies noise.

    Args:
        graph: the random graph.
        folder: that its file is written to and, where it has external data, read from later.
    """

    def __init__(self, graph: RandomGraph, folder: Path) -> None:
        self.graph = graph
        self.model = load(graph.write(folder))
        self.content = to_bytes(self.model)
        self.proto = read_model(self.content)
        samples = CALIBRATION_SAMPLES + TEST_SAMPLES
        feeds = [graph.feeds(index) for index in range(samples)]
        self.calls = feeds[:TEST_SAMPLES]
        self.calibration = feeds  # the test samples too: numbers beyond ranges seen are cut off
        self.outputs = outputs_of(self.model, self.calls)
        self.disturbances: dict[float, dict[str, float]] = {}

    def task(self) -> packlight.Task:
        """A task with calibration samples of this graph."""
        return packlight.Task(
            "random", [[call] for call in self.calls], packlight.METRICS["snr"],
            calibration=[[call] for call in self.calibration],
        )  # fmt: skip

    @cached_property
    def weights(self) -> dict[str, onnx.TensorProto]:
        """Stored tensors of floats, by name, without the factors by which images grow."""
        factors = {
            name
            for graph in graphs_of(self.proto.graph)
            for node in graph.node
            if node.op_type in ("Resize", "Upsample")
            for name in node.input[1:]
        }
        return {
            name: tensor
            for name, tensor in stored_tensors(self.proto).items()
            if tensor.data_type in FLOAT_KINDS and name not in factors
        }

    @property
    def stores_float16(self) -> bool:
        """True if a weight is in half precision."""
        return any(tensor.data_type == TensorProto.FLOAT16 for tensor in self.weights.values())

    def scale(self, name: str) -> float:
        """Largest absolute number of an output."""
        return max(
            float(np.abs(np.asarray(o[name], np.float64)).max(initial=0)) for o in self.outputs
        )

    def disturbance(self, noise: float) -> dict[str, float]:
        """Largest change of each output where all that is stored and fed has relative noise.

        Args:
            noise: largest change of a number, as a share of the largest of its tensor for noise
                of 2**-12 and above, as integers have it, else as a share of itself.
        """
        if noise not in self.disturbances:
            self.disturbances[noise] = self.measured(noise)
        return self.disturbances[noise]

    def measured(self, noise: float) -> dict[str, float]:
        """Measure a disturbance."""
        largest = dict.fromkeys(self.outputs[0], 0.0)
        random = np.random.default_rng(self.graph.seed)
        for _ in range(NOISE_DRAWS):
            arrays = {
                name: disturbed(numpy_helper.to_array(tensor), noise, random)
                for name, tensor in self.weights.items()
            }
            session = opened(with_arrays(self.proto, arrays))
            for call, expected in zip(self.calls, self.outputs, strict=True):
                moved = {name: disturbed(array, noise, random) for name, array in call.items()}
                for name, array in session.run(moved).items():
                    change = largest_difference(array, expected[name])
                    largest[name] = max(largest[name], change)
        return largest


def disturbed(array: Array, noise: float, random: np.random.Generator) -> Array:
    """Add uniform noise to floats; others stay."""
    if not np.issubdtype(array.dtype, np.floating) or not array.size:
        return array
    size = np.abs(array)
    if noise >= 2.0**-12:
        size = np.full_like(array, np.abs(array).max())
    return np.asarray(array + size * random.uniform(-noise, noise, array.shape), array.dtype)


def opened(proto: onnx.ModelProto) -> object:
    """Open a model as packlight evaluates it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(proto.SerializeToString())
        return open_session(load(path), OPTIONS)


def outputs_of(model: Model, calls: list[Feeds]) -> list[Outputs]:
    """Run a model as packlight evaluates it."""
    session = open_session(model, OPTIONS)
    return [dict(session.run(call)) for call in calls]


def largest_difference(first: Array, second: Array) -> float:
    """Largest absolute difference of two arrays."""
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return float(np.abs(difference).max(initial=0))


def make_case(reference: Reference, recipe: str) -> Case | InputError:
    """Apply a recipe; gives the error where the recipe cannot be applied to the graph."""
    try:
        made = packlight.compress(reference.model, recipe, task=reference.task(), options=OPTIONS)
    except InputError as error:
        return error
    return Case(reference.graph, recipe, reference, made)


# Laws


def the_original_stays(case: Case) -> None:
    """The model that the recipe was applied to has the content that it had."""
    assert to_bytes(case.reference.model) == case.reference.content


def inputs_and_outputs_stay(case: Case) -> None:
    """A default session opens the result, with the inputs and outputs that the original has."""
    before = default_session(case.reference.content)
    after = default_session(to_bytes(case.made.model))
    for side in ("get_inputs", "get_outputs"):
        old, new = ([(a.name, a.type) for a in getattr(s, side)()] for s in (before, after))
        assert old == new, f"{side} gave {old} and gives {new}"
    results = after.run(None, dict(case.reference.calls[0]))
    for expected, array in zip(case.reference.outputs[0].values(), results, strict=True):
        assert array.shape == expected.shape
        assert array.dtype == expected.dtype
        assert np.isfinite(array).all()


def default_session(content: bytes) -> onnxruntime.InferenceSession:
    """Open a model with the options that ONNX Runtime has by default, but for its log."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def the_standard_takes_it(case: Case) -> None:
    """The checker of ONNX takes the result."""
    onnx.checker.check_model(to_bytes(case.made.model))


def the_size_is_true(case: Case) -> None:
    """The size that is told is that of the file."""
    assert case.made.after == len(to_bytes(case.made.model))


def a_second_time_gives_the_same_bytes(case: Case) -> None:
    """Nothing is left to chance."""
    again = make_case(case.reference, case.recipe)
    assert isinstance(again, Case)
    assert to_bytes(again.made.model) == to_bytes(case.made.model)


def it_is_no_larger(case: Case) -> None:
    """The file grows by no byte more than names for operators that had none."""
    named = case.reference.model.clone()
    name_operators(named)
    assert case.made.after <= file_size(named), f"{case.made.before} -> {case.made.after} bytes"


def it_computes_the_same(case: Case) -> None:
    """Outputs are those of the original but for roundings of float32."""
    check_within(case, case.outputs, case.reference.outputs)


def check_within(case: Case, outputs: list[Outputs], expected: list[Outputs]) -> None:
    """Outputs differ by no more than roundings of float32."""
    for name in expected[0]:
        difference = max(
            largest_difference(a[name], b[name]) for a, b in zip(outputs, expected, strict=True)
        )
        allowed = FLOAT32_TOLERANCE * case.reference.scale(name)
        if difference <= allowed:
            continue
        noise = FLOAT16_NOISE if case.reference.stores_float16 else FLOAT32_NOISE
        allowed += AMPLIFIED * case.reference.disturbance(noise)[name]
        assert difference <= allowed, (
            f"output '{name}' differs by {difference:.3g} of {case.reference.scale(name):.3g}; "
            f"roundings explain {allowed:.3g}"
        )


def it_computes_with_the_weights_that_it_stores(case: Case) -> None:
    """Outputs are those of the original with the weights that the result restores."""
    weights = restored_weights(case.proto, case.reference.weights)
    session = opened(with_arrays(case.reference.proto, weights))
    expected = [session.run(call) for call in case.reference.calls]
    check_within(case, case.outputs, expected)


def relative_weight_error(case: Case) -> dict[str, float]:
    """Root mean square error of each stored weight, as a share of its largest number."""
    errors = {}
    for name, array in restored_weights(case.proto, case.reference.weights).items():
        original = np.asarray(numpy_helper.to_array(case.reference.weights[name]), np.float64)
        largest = np.abs(original).max(initial=0)
        assert array.shape == original.shape, f"'{name}' has another shape"
        if largest:
            error = math.sqrt(np.square(original - array).mean())
            errors[name] = error / largest
    return errors


def weights_within(share: float) -> Callable[[Case], None]:
    """Make the law that no weight is off by more than a share of its largest number (RMS)."""

    def each_weight_is_near(case: Case) -> None:
        for name, error in relative_weight_error(case).items():
            assert error <= share, f"'{name}' is off by {error:.3g}; {share:.3g} is promised"

    return each_weight_is_near


def outputs_within(noise: float, margin: float = 1.0) -> Callable[[Case], None]:
    """Make the law that outputs change no more than under noise of all that is stored and fed.

    Args:
        noise: see ``Reference.disturbance``. An 8-bit grid is off by 2**-8 of the largest number
            at most, and half precision by 2**-12 to 2**-11 of each number.
        margin: times that change that is allowed, where a method also rounds results in between.
    """

    def each_output_is_near(case: Case) -> None:
        caused = case.reference.disturbance(noise)
        for name, limit in caused.items():
            pairs = zip(case.outputs, case.reference.outputs, strict=True)
            difference = max(largest_difference(a[name], b[name]) for a, b in pairs)
            allowed = margin * (limit + noise * case.reference.scale(name))
            assert difference <= allowed, (
                f"output '{name}' differs by {difference:.3g} of "
                f"{case.reference.scale(name):.3g}; noise of {noise:.3g} explains {allowed:.3g}"
            )

    return each_output_is_near


STORES_WEIGHTS = {
    "weights": 256, "palette": 256, "sparse": 256, "float16": 128, "static": 256, "dynamic": 256,
}  # fmt: skip
"""Numbers from which each method stores a weight in fewer bytes."""

REPLACES_ONLY = ("weights", "palette", "sparse", "float16")
"""Methods that change no stored value but those of which their changes speak."""


def every_byte_of_weights_is_changed_or_refused(case: Case) -> None:
    """What is stored as before has a reader that a refusal names; the rest has changed.

    The bytes of which changes speak are those of the rest, where a recipe only replaces weights
    and moves no bias. Operators that no output depends on may stay or go.
    """
    steps = case.made.variant.recipe.steps
    limits = [STORES_WEIGHTS[step.method] for step in steps if step.method in STORES_WEIGHTS]
    if not limits:
        return
    refused = {part for refusal in case.made.variant.refusals for part in named(refusal.operator)}
    readers: dict[str, set[str]] = {}
    live = reaching(case.reference.proto.graph)
    names = {node.name for node in live}
    for node in live:
        for name in node.input:
            readers.setdefault(name, set()).add(node.name)
    read = {name for graph in graphs_of(case.proto.graph) for n in graph.node for name in n.input}
    after = {name: tensor for name, tensor in stored_tensors(case.proto).items() if name in read}
    changed = 0
    for name, tensor in stored_tensors(case.reference.proto).items():
        size = math.prod(tensor.dims)
        if tensor.data_type not in FLOAT_KINDS or size < min(limits) or name not in readers:
            continue
        kept = after.get(name)
        if kept is None or (kept.data_type, kept.dims) != (tensor.data_type, tensor.dims):
            changed += size * FLOAT_KINDS[tensor.data_type]
            continue
        assert refused & readers[name], f"'{name}' of {size} numbers is neither changed nor refused"
    if len(steps) == 1 and steps[0].method in REPLACES_ONLY:
        changes = case.made.variant.changes
        told = sum(c.before for c in changes if names.intersection(named(c.operator)))
        assert told == changed, f"changes speak of {told} bytes, and {changed} changed"


def reaching(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Operators that an output depends on, those in bodies included."""
    needed = {value.name for value in graph.output}
    found = []
    for node in reversed(graph.node):
        if not needed.intersection(node.output):
            continue
        found.append(node)
        needed.update(node.input)
        bodies = [a.g for a in node.attribute if a.HasField("g")]
        for inner in (graph for body in bodies for graph in graphs_of(body)):
            found += inner.node
            needed.update(name for one in inner.node for name in one.input)
            needed.update(value.name for value in inner.output)
    return found


def named(operator: str) -> tuple[str, str]:
    """An operator, and the call that it came out of, if any."""
    return operator, operator.rsplit("/", maxsplit=1)[0]


GENERAL: tuple[Callable[[Case], None], ...] = (
    the_original_stays,
    inputs_and_outputs_stay,
    the_standard_takes_it,
    the_size_is_true,
    every_byte_of_weights_is_changed_or_refused,
)
"""Laws for every recipe."""
