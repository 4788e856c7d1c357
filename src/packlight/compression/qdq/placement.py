"""Places for QuantizeLinear and DequantizeLinear such that a runtime fuses integer operators.

A runtime computes an operator in integers when all it reads comes out of a DequantizeLinear and
what it gives goes into a QuantizeLinear. An activation behind a convolution belongs to it.
``backends`` says for which operators that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from packlight.backends.capabilities import Capabilities, Policy
from packlight.compression.grids.ranges import (
    Affine,
    HistogramObserver,
    affine_grid,
    grid_of_range,
    grid_snr,
    wide_grid,
)
from packlight.compression.sites.weight_roles import stored
from packlight.errors import RecipeError
from packlight.model import nodes
from packlight.records.configs import StaticInt8
from packlight.records.name_pattern import name_pattern
from packlight.records.reason_code import ReasonCode
from packlight.runtime.calibration import Calibrator


def _none_is_float(node: ir.Node) -> bool:
    del node
    return False


@dataclass(slots=True)
class Plan:
    """Values that get a grid.

    Attributes:
        read: values that integer operators read: they get a grid wherever they come from.
        written: values that integer operators give and that get a grid of their own.
        shared: values that take over the grid of another, by name.
        unweighted: operators that compute in integers without a weight.
        policy: operators that get pairs.
    """

    read: dict[str, ir.Value] = field(default_factory=dict)
    written: dict[str, ir.Value] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    unweighted: list[ir.Node] = field(default_factory=list)
    policy: Policy = field(kw_only=True)

    @property
    def runtime(self) -> Capabilities:
        """Facts about the runtime."""
        return self.policy.runtime

    def ranges(self) -> Iterable[str]:
        """Names of the values whose range must be known."""
        return [name for name in {**self.read, **self.written} if name not in self.shared]

    def root(self, name: str) -> str:
        """Name of the value whose range a value's grid is of."""
        while name in self.shared:
            name = self.shared[name]
        return name

    def source(self, node: ir.Node) -> str:
        """Name of the value whose range decides the grid of an operator's first input."""
        return self.root(str(node.inputs[0].name))  # type: ignore[union-attr]

    def behind(self, node: ir.Node) -> ir.Value:
        """The value behind the activation that belongs to an operator, or its own."""
        return behind_activation(node, self.runtime.clipping)


def place_pairs(
    graph: ir.Model,
    weighted: Sequence[ir.Node],
    unseen: Collection[str] = (),
    floats: Callable[[ir.Node], bool] = _none_is_float,
    *,
    policy: Policy,
) -> Plan:
    """Decide what gets a grid.

    Args:
        graph: the model.
        weighted: operators with stored weights that are to compute in integers.
        unseen: names of values without a known range, which no other operator may give.
        floats: whether an operator without a weight is to stay in float.
        policy: operators that get pairs.
    """
    plan = Plan(policy=policy)
    chosen = set(map(id, weighted))
    for node in nodes(graph):
        if id(node) in chosen:
            source = node.inputs[0]
            assert source is not None
            plan.read[str(source.name)] = source
            _write_on_grid(plan, node)
        elif not floats(node) and _can_quantize(plan, node, unseen):
            _quantize_operator(plan, node)
    _drop_float_outputs(plan, chosen)
    for node in plan.unweighted:
        if node.op_type in policy.runtime.equal_grids:
            _share_scale(plan, node)
    return plan


def _share_scale(plan: Plan, node: ir.Node) -> None:
    output = plan.root(str(plan.behind(node).name))
    for value in node.inputs:
        assert value is not None
        name = str(value.name)
        if len(value.uses()) == 1 and name not in plan.shared and name != output:
            plan.shared[name] = output


def _can_quantize(plan: Plan, node: ir.Node, unseen: Collection[str]) -> bool:
    """Check that an operator without a weight, and all it reads, can be in integers."""
    has_kernel = node.op_type in plan.policy.integer_operators | plan.policy.code_movers
    if node.op_type in plan.runtime.weight_operators and any(map(stored, node.inputs[1:2])):
        return False  # its weight would get the grid of an activation
    if not has_kernel or plan.behind(node).name in unseen:
        return False
    data = list(data_inputs(plan, node))
    computed = [value for value in data if value is not None and stored(value) is None]
    return bool(computed) and all(value is not None and _has_grid(plan, value) for value in data)


def data_inputs(plan: Plan, node: ir.Node) -> Iterator[ir.Value | None]:
    """Inputs of an operator without a weight, but for indices and shapes."""
    inputs = list(node.inputs)
    if node.op_type in plan.policy.code_movers:
        inputs = inputs[:1]
    for value in inputs:
        tensor = stored(value)
        if tensor is None or tensor.dtype == ir.DataType.FLOAT:
            yield value


def _has_grid(plan: Plan, value: ir.Value) -> bool:
    return value.name in plan.written or (
        plan.policy.choices.quantize_constants and stored(value) is not None
    )


def _quantize_operator(plan: Plan, node: ir.Node) -> None:
    """Let an operator without a weight compute in integers."""
    for value in data_inputs(plan, node):
        assert value is not None
        plan.read[str(value.name)] = value
    _write_on_grid(plan, node)
    plan.unweighted.append(node)
    if node.op_type in plan.policy.code_movers:
        source = str(node.inputs[0].name)  # type: ignore[union-attr]
        plan.shared[str(node.outputs[0].name)] = source


def _write_on_grid(plan: Plan, node: ir.Node) -> None:
    value = plan.behind(node)
    plan.written[str(value.name)] = value


def behind_activation(node: ir.Node, activations: Collection[str]) -> ir.Value:
    """The value behind the activation that belongs to an operator, or its own."""
    value = node.outputs[0]
    readers = list(value.consumers())
    if len(readers) == 1 and not value.is_graph_output() and readers[0].op_type in activations:
        (reader,) = readers
        constant = all(stored(v) is not None for v in reader.inputs[1:] if v is not None)
        if constant and reader.graph is node.graph:
            return reader.outputs[0]
    return value


def _drop_float_outputs(plan: Plan, chosen: set[int]) -> None:
    for name, value in list(plan.written.items()):
        producer = value.producer()
        assert producer is not None
        gives = producer.op_type in plan.runtime.float_outputs and id(producer) in chosen
        if gives and name not in plan.read:
            del plan.written[name]


def float_operators(
    graph: ir.Model, plan: Plan, floats: Callable[[ir.Node], bool]
) -> Iterator[tuple[ir.Node, ReasonCode, str]]:
    """Operators without a weight that stay in float although integers reach them, and why."""
    carried = set(map(id, plan.unweighted))
    for node in nodes(graph):
        if node.op_type in plan.policy.choices.keep_float:
            yield node, "no-kernel", plan.policy.choices.keep_float[node.op_type]
        if node.op_type not in plan.policy.integer_operators or id(node) in carried:
            continue
        inputs = [value for value in data_inputs(plan, node) if value is not None]
        missing = [value for value in inputs if not _has_grid(plan, value)]
        if floats(node):
            yield node, "skipped", "skip= names it"
        elif missing and len(missing) < len(node.inputs):
            reason = f"it also reads {missing[0].name}, which no integer operator gives"
            yield node, "float-input", reason


def first_and_last(
    graph: ir.Model, weighted: Sequence[ir.Node]
) -> tuple[set[ir.Node], set[ir.Node]]:
    """The operators that read the model's inputs, and those behind which there is no other.

    Args:
        graph: the model.
        weighted: operators with weights, in the order they run.
    """
    chosen = set(weighted)
    first = _first_reached(list(graph.graph.inputs), chosen)
    return first, chosen - _with_successor(graph, chosen)


def _with_successor(graph: ir.Model, chosen: Collection[ir.Node]) -> set[ir.Node]:
    followed = set[ir.Node]()
    for node in reversed(list(nodes(graph))):
        readers = (reader for value in node.outputs for reader in value.consumers())
        if any(reader in chosen or reader in followed for reader in readers):
            followed.add(node)
    return followed


def _first_reached(values: list[ir.Value], chosen: Collection[ir.Node]) -> set[ir.Node]:
    """The first of some operators on every way on from values."""
    reached = set[ir.Node]()
    passed = set[ir.Node]()
    while values:
        for node in values.pop().consumers():
            if node in chosen:
                reached.add(node)
            elif node not in passed:
                passed.add(node)
                values.extend(node.outputs)
    return reached


AUTO = "auto"
WIDE_BELOW_SNR_DB = 25.0
"""Signal-to-noise ratio of 8 bits below which ``wide=auto`` gives a value 16 bits."""


def _is_wide(config: StaticInt8, node: ir.Node) -> bool:
    named = bool(config.wide) and config.wide != AUTO
    return named and name_pattern(config.wide).fullmatch(str(node.name))


def activation_grids(
    graph: ir.Model, plan: Plan, calibrator: Calibrator, config: StaticInt8
) -> dict[str, Affine]:
    """The grid of every value that has one and is ever reached."""
    wide = _wide_values(graph, plan, config)
    if calibrator.sizes_only:
        grids = _placeholder_grids(plan, wide)
    else:
        grids = _observed_grids(graph, plan, calibrator, config, wide)
    grids |= {name: grid for name, grid in fixed_grids(plan).items() if name in grids}
    shared = {name: plan.root(name) for name in plan.shared}
    return grids | {name: grids[root] for name, root in shared.items() if root in grids}


def _observed_grids(
    graph: ir.Model,
    plan: Plan,
    calibrator: Calibrator,
    config: StaticInt8,
    wide: Collection[str],
) -> dict[str, Affine]:
    """Grids from one pass over the samples, of 16 bits for ``wide`` or what 8 bits spoil."""
    observed = {name: HistogramObserver() for name in plan.ranges()}
    calibrator.observe(graph, {name: [histogram] for name, histogram in observed.items()})
    grids = {
        name: affine_grid(
            histogram, config.range, config.percentile, symmetric=plan.runtime.symmetric
        )
        for name, histogram in observed.items()
        if histogram.counts.any()
    }
    if config.wide == AUTO:
        wide = [
            name
            for name, grid in grids.items()
            if grid_snr(observed[name], grid) < WIDE_BELOW_SNR_DB
        ]
    more = [name for name in wide if name in grids]
    return grids | {
        name: wide_grid(observed[name], symmetric=plan.runtime.symmetric) for name in more
    }


def _placeholder_grids(plan: Plan, wide: Collection[str]) -> dict[str, Affine]:
    narrow = grid_of_range(-1.0, 1.0)
    broad = grid_of_range(-1.0, 1.0, 16)
    return {name: broad if name in wide else narrow for name in plan.ranges()}


def _wide_values(graph: ir.Model, plan: Plan, config: StaticInt8) -> set[str]:
    """Names of the values that get 16 bits because an operator is named that reads them.

    Raises:
        RecipeError: no operator is named.
    """
    readers = [node for node in nodes(graph) if _is_wide(config, node)]
    if config.wide not in ("", AUTO) and not readers:
        raise RecipeError(
            f"static,wide='{config.wide}' names no operator; packlight profile MODEL names them"
        )
    read = {str(value.name) for node in readers for value in node.inputs if value is not None}
    sources = {plan.root(name) for name in read & {*plan.read, *plan.written}}
    if readers and not sources:
        raise RecipeError(
            f"static,wide='{config.wide}' names no operator that computes in integers; packlight "
            "compress --json names those that do"
        )
    return sources


def fixed_grids(plan: Plan) -> dict[str, Affine]:
    """Grids that the runtime fixes, by the name of the value."""
    values = {**plan.read, **plan.written}
    makers = {name: value.producer() for name, value in values.items()}
    fixed = {
        name: plan.runtime.fixed_grids.get(node.op_type) for name, node in makers.items() if node
    }
    return {name: Affine(grid[0], int(grid[1])) for name, grid in fixed.items() if grid}
