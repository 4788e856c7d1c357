"""Find the operators that compute something else on another machine.

The graph is the one that ONNX Runtime fuses here. Each of its kernels is cut out and fed with the
values that it reads on this machine, here and there, so that only its own difference is seen. Many
kernels run in one call, in groups that fit a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from packlight.layers.signal_noise import SignalNoise
from packlight.machines.remote import RemoteMachine, RemoteModel, remote_session
from packlight.model import Model, has_bodies, nodes, random_operators, to_bytes
from packlight.records.portability import Cause, KernelDifference
from packlight.records.session import SessionOptions
from packlight.runtime import Session, Steps, open_session, saturation, stream
from packlight.runtime.calls import Array
from packlight.runtime.kernel_saturation import fused, operators_of_kernels

MOST_CALLS = 8
"""Calls of the model whose values are compared operator by operator."""

GROUP_BYTES = 32 << 20
GROUP_NODES = 400
"""Size of a group of kernels: what they read and give, and their number."""

ROUNDING_SNR_DB = 80.0
"""SNR from which a difference of floats is that of sums in another order."""

EQUAL_SNR_DB = 100.0
"""SNR from which a float result, or all outputs, count as equal."""

ONE_STEP = 1
NUMERIC = "fiub"
"""Kinds of NumPy types that are compared."""

CUT = "packlight.cut."
Values = Mapping[str, Array]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Operators of a model, compared one by one.

    Attributes:
        differences: in the order of the graph.
        compared: number of operators.
        skipped: number of operators that were not.
    """

    differences: tuple[KernelDifference, ...]
    compared: int
    skipped: int


@dataclass(slots=True, eq=False)
class Difference:
    """Differences of one kernel's results so far.

    Attributes:
        operator: that the kernel computes.
        kernel: its type.
        noise: energies of its results.
        numbers: counts of all numbers, and of those that differ.
        largest: difference.
        codes: whether results are integers.
    """

    operator: str
    kernel: str
    noise: SignalNoise = field(default_factory=SignalNoise)
    numbers: list[int] = field(default_factory=lambda: [0, 0])
    largest: float = 0.0
    codes: bool = True

    def add(self, call: int, here: Array, there: Array) -> None:
        """Add a result of both machines."""
        self.codes = self.codes and here.dtype.kind != "f"
        exact = here.astype(np.float64)
        actual = there.astype(np.float64)
        if exact.size:
            distance = np.abs(np.nan_to_num(actual - exact, nan=np.inf))
            self.largest = max(self.largest, float(distance.max()))
        if here.dtype.kind in "iu" and exact.size:
            actual = actual - exact.mean()  # codes are relative to a zero point
            exact = exact - exact.mean()
        self.noise.add(call, exact, actual, actual)
        self.numbers[0] += exact.size
        self.numbers[1] += int(np.count_nonzero(here != there))

    def is_equal(self) -> bool:
        """Test whether the results are as good as equal."""
        if self.codes:
            return self.numbers[1] == 0
        return self.noise.snr(1).value >= EQUAL_SNR_DB

    def result(self, saturated: float) -> KernelDifference:
        """The record.

        Args:
            saturated: share of the operator's sums that saturate there.
        """
        snr = self.noise.snr(1)
        cause: Cause = "kernel"
        if saturated:
            cause = "saturation"
        elif snr.value >= ROUNDING_SNR_DB or (self.codes and self.largest <= ONE_STEP):
            cause = "rounding"
        return KernelDifference(
            self.operator, self.kernel, cause, snr, self.numbers[1] / max(1, self.numbers[0]),
            self.largest, self.codes, saturated,
        )  # fmt: skip


def compare_operators(
    remote: RemoteMachine,
    model: Model,
    samples: Sequence[Steps],
    state: Mapping[str, str],
    options: SessionOptions,
    *,
    progress: Progress,
) -> Comparison:
    """Compare every operator of a model on this machine and on another one.

    Args:
        remote: the other machine.
        model: in the form that is shipped.
        samples: to run, few; their first calls count.
        state: by output, the input that it feeds at the next step.
        options: of the sessions.
        progress: called with the calls done and their total.

    Raises:
        DeviceError: the machine fails.
        ModelError: the model fails.
    """
    graph = fused(model, options)
    names = operators_of_kernels(model.graph, graph.graph)
    titles = {
        id(node): (names[index], node.op_type) for index, node in enumerate(nodes(graph.graph))
    }
    random = {id(node) for node in random_operators(graph.graph)}
    kernels = [node for node in graph.graph.graph if not has_bodies(node)]
    kernels = [node for node in kernels if id(node) not in random]
    differences = {
        str(value.name): Difference(*titles[id(node)])
        for node in kernels
        for value in node.outputs[:1]
    }
    groups: list[Group] = []
    total = min(MOST_CALLS, sum(len(steps) for steps in samples))
    calls = _values(graph, kernels, samples, state, options)
    for call, values in zip(range(total), calls, strict=False):
        if not groups:
            groups = [
                Group(graph, members, values, remote, options)
                for members in _grouped(kernels, values)
            ]
        for group in groups:
            group.compare(call, values, differences)
        progress(call + 1, total)
    saturated = _saturated_shares(remote, model, samples, state, options)
    compared = [difference for difference in differences.values() if difference.numbers[0]]
    records = tuple(
        difference.result(saturated.get(difference.operator, 0.0))
        for difference in compared
        if difference.operator in saturated or not difference.is_equal()
    )
    skipped = sum(1 for _ in nodes(graph.graph)) - len(compared)
    return Comparison(records, len(compared), skipped)


def _saturated_shares(
    remote: RemoteMachine,
    model: Model,
    samples: Sequence[Steps],
    state: Mapping[str, str],
    options: SessionOptions,
) -> dict[str, float]:
    """Share of the sums of each operator that saturate there; empty on other processors."""
    if not remote.machine.saturates:
        return {}
    found = saturation(model, samples, state, options)
    return {operator.operator: operator.share for operator in found if operator.saturated}


def _values(
    graph: Model,
    kernels: Sequence[ir.Node],
    samples: Sequence[Steps],
    state: Mapping[str, str],
    options: SessionOptions,
) -> Iterator[Values]:
    """What kernels read, at each call on this machine."""
    read = [str(value.name) for node in kernels for value in _computed_inputs(node)]
    return stream(graph, list(dict.fromkeys(read)), samples, state, options)


def _computed_inputs(node: ir.Node) -> list[ir.Value]:
    """Inputs of a node that are not stored."""
    return [value for value in node.inputs if value is not None and value.const_value is None]


def _grouped(kernels: Sequence[ir.Node], values: Values) -> Iterator[list[ir.Node]]:
    """Kernels whose inputs are numbers, in groups of limited size."""
    group: list[ir.Node] = []
    size = 0
    for node in kernels:
        read = [values.get(str(value.name)) for value in _computed_inputs(node)]
        if not read or any(array is None or array.dtype.kind not in NUMERIC for array in read):
            continue
        bytes_read = sum(array.nbytes for array in read if array is not None)
        if group and (size + bytes_read > GROUP_BYTES or len(group) == GROUP_NODES):
            yield group
            group = []
            size = 0
        group.append(node)
        size += bytes_read
    if group:
        yield group


class Group:
    """Kernels cut out of a graph, in a session here and one there.

    Args:
        graph: that they are of.
        members: the kernels.
        values: that they read at one call, for their types.
        remote: the other machine.
        options: of both sessions.
    """

    def __init__(
        self,
        graph: Model,
        members: Sequence[ir.Node],
        values: Values,
        remote: RemoteMachine,
        options: SessionOptions,
    ) -> None:
        cut, self.inputs = isolated(graph, members, values)
        content = to_bytes(cut)
        self.here = open_session(cut, options)
        self.there: Session = remote_session(RemoteModel(remote, content, options), self.here)

    def compare(self, call: int, values: Values, differences: Mapping[str, Difference]) -> None:
        """Run all kernels on both machines and add their differences."""
        feeds = {cut: values[name] for cut, name in self.inputs.items()}
        here = self.here.run(feeds)
        there = self.there.run(feeds)
        for name in here:
            if name in differences and here[name].dtype.kind in NUMERIC:
                differences[name].add(call, here[name], there[name])


def isolated(
    graph: Model, members: Sequence[ir.Node], values: Values
) -> tuple[Model, dict[str, str]]:
    """A model of kernels that read nothing from each other.

    Args:
        graph: that they are of; stays as it is.
        members: the kernels.
        values: that they read, for their types.

    Returns:
        The model, whose outputs are those of the kernels, and by its inputs, the values that they
        stand for.
    """
    chosen = {str(node.outputs[0].name) for node in members}
    clone = graph.graph.clone()
    main = clone.graph
    main.outputs.clear()
    cut: dict[str, ir.Value] = {}
    for node in list(main):
        if str(node.outputs[0].name) not in chosen:
            continue
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is not None:
                continue
            name = str(value.name)
            if name not in cut:
                kind = ir.TensorType(ir.DataType.from_numpy(values[name].dtype))
                cut[name] = ir.Value(name=f"{CUT}{len(cut)}", type=kind)
            node.replace_input_with(index, cut[name])
        main.outputs.extend(value for value in node.outputs if value.name)
    main.inputs.clear()
    main.inputs.extend(cut.values())
    common.RemoveUnusedNodesPass()(clone)
    return Model(clone, graph.name), {str(value.name): name for name, value in cut.items()}
