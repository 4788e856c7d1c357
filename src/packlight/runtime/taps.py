"""Values of chosen tensors while a model runs, one call at a time.

A tensor of the main graph becomes an output. One inside bodies of If and Loop is inserted into a
sequence that is threaded through them, so that a branch that is not taken gives nothing and a
Loop gives one piece per iteration, of whatever shape. A Scan stacks, so there it is a scan output.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from packlight.errors import ModelError
from packlight.model import Model
from packlight.records.session import SessionOptions
from packlight.runtime.calls import Session, Steps
from packlight.runtime.nested_graphs import Body, ValueIndex, index_values, infer_types
from packlight.runtime.session import open_session

Inside = Callable[[ir.Value], ir.Value]
"""From the sequence as it enters a body to the sequence as it leaves."""


def _collected(main: ir.Graph, path: Sequence[Body], value: ir.Value, stem: str) -> ir.Value:
    """The sequence of all pieces of a value, in the main graph.

    Args:
        main: the outermost graph.
        path: the bodies around the value, outermost first: of If and Loop.
        value: of a known type.
        stem: start of the names of what is added.
    """
    assert value.dtype is not None
    empty = ir.node("SequenceEmpty", [], {"dtype": int(value.dtype)}, name=f"{stem}.empty")
    main.insert_before(path[0].node, empty)
    return _deeper(list(path), named(empty.outputs[0], f"{stem}.empty", value), value, stem)


def _deeper(path: list[Body], pieces: ir.Value, value: ir.Value, stem: str) -> ir.Value:
    """The sequence after the outermost operator of a path."""
    body = path[0]
    inner = path[1:]
    here = f"{stem}.{len(path)}"

    def inside(entering: ir.Value) -> ir.Value:
        if inner:
            return _deeper(inner, entering, value, stem)
        return _appended(body.graph, "SequenceInsert", [entering, value], f"{here}.insert", value)

    return THREAD[body.node.op_type](body, pieces, inside, here, value)


def _through_if(
    body: Body, pieces: ir.Value, inside: Inside, stem: str, like: ir.Value
) -> ir.Value:
    for other in body.siblings():
        other.outputs.append(_unchanged(other, pieces, stem, like))
    body.graph.outputs.append(inside(pieces))
    return named(_added_output(body.node), f"{stem}.if", like)


def _unchanged(graph: ir.Graph, pieces: ir.Value, stem: str, like: ir.Value) -> ir.Value:
    """The same sequence as a value of a graph: one piece is added and taken away again.

    Identity takes no sequences before opset 14.
    """
    assert like.dtype is not None
    nothing = ir.Tensor(np.empty(0, like.dtype.numpy()), dtype=like.dtype)
    piece = ir.node("Constant", [], {"value": nothing}, name=f"{stem}.piece")
    graph.append(piece)
    piece.outputs[0].name = f"{stem}.piece"
    more = _appended(graph, "SequenceInsert", [pieces, piece.outputs[0]], f"{stem}.more", like)
    return _appended(graph, "SequenceErase", [more], f"{stem}.same", like)


def _through_loop(
    body: Body, pieces: ir.Value, inside: Inside, stem: str, like: ir.Value
) -> ir.Value:
    """Out of a Loop, as one more value that it carries from iteration to iteration."""
    node = body.node
    graph = body.graph
    carried = len(graph.inputs) - 2  # before them: the iteration number and the condition
    node.resize_inputs(len(node.inputs) + 1)
    node.replace_input_with(len(node.inputs) - 1, pieces)
    entering = named(ir.Value(), f"{stem}.entering", like)
    graph.inputs.append(entering)
    graph.outputs.insert(1 + carried, inside(entering))
    _added_output(node)
    for index in reversed(range(carried, len(node.outputs) - 1)):
        _move(node.outputs[index], node.outputs[index + 1])
    return named(node.outputs[carried], f"{stem}.loop", like)


THREAD: dict[str, Callable[[Body, ir.Value, Inside, str, ir.Value], ir.Value]] = {
    "If": _through_if,
    "Loop": _through_loop,
}
"""How a sequence gets through an operator with bodies."""


def _scan_output(body: Body, value: ir.Value, stem: str) -> ir.Value:
    """A value in the body of a Scan, stacked along a new first axis, outside it."""
    node = body.node
    same = ir.node("Identity", [value], name=f"{stem}.same")
    body.graph.append(same)
    same.outputs[0].name = f"{stem}.same"
    same.outputs[0].type = value.type
    body.graph.outputs.append(same.outputs[0])
    for name in ("scan_output_axes", "scan_output_directions"):
        if name in node.attributes:
            stated = list(node.attributes[name].as_ints())
            node.attributes[name] = ir.AttrInt64s(name, [*stated, 0])
    stacked = _added_output(node)
    stacked.name = f"{stem}.stacked"
    stacked.type = value.type
    return stacked


def _appended(
    graph: ir.Graph, op: str, inputs: list[ir.Value], name: str, like: ir.Value
) -> ir.Value:
    node = ir.node(op, inputs, name=name)
    graph.append(node)
    return named(node.outputs[0], name, like)


def named(value: ir.Value, name: str, like: ir.Value) -> ir.Value:
    """A sequence of tensors of the type of another value."""
    assert like.dtype is not None
    value.name = name
    value.shape = None
    value.type = ir.SequenceType(ir.TensorType(like.dtype))
    return value


def _added_output(node: ir.Node) -> ir.Value:
    node.resize_outputs(len(node.outputs) + 1)
    return node.outputs[-1]


def _move(old: ir.Value, new: ir.Value) -> None:
    new.name = old.name
    new.type = old.type
    new.shape = old.shape
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    old.name = None


Array = NDArray[np.generic]
SEQUENCES_FROM = 13
"""The first opset whose If and Loop carry sequences."""

PREFIX = "packlight.tap."

ROUNDING = ("WeightBiasQuantization",)
"""Optimisations that round float weights between pairs of QuantizeLinear and DequantizeLinear,
which would show values of another graph than the one that is looked at."""


@dataclass(frozen=True, slots=True)
class Tap:
    """Where a tapped model gives a tensor's value.

    Attributes:
        output: name of the output.
        pieces: whether it is a sequence, empty where the tensor was not computed.
        repeated: whether the tensor is computed once per iteration of a Loop.
    """

    output: str
    pieces: bool = False
    repeated: bool = False


def stream(
    model: Model,
    names: Sequence[str],
    samples: Iterable[Steps],
    state: Mapping[str, str],
    options: SessionOptions,
) -> Iterator[dict[str, Array]]:
    """Values of chosen tensors, one dict for each call of the model, nothing kept.

    Args:
        model: the model.
        names: of tensors, in subgraphs too; of the model's inputs, outputs and weights as well.
        samples: each a sequence of calls.
        state: by output, the input that it feeds at the next step.
        options: of the session whose values these are.

    Yields:
        Value by name. A tensor on a branch that is not taken is absent; one in a Loop or Scan is
        stacked along a new first axis (iterations).

    Raises:
        ModelError: a tensor does not exist or cannot be followed; the model fails.
        TaskError: a sample does not fit the model.
    """
    watched, taps = tapped(model, names)
    wanted = {tap.output for found in taps.values() for tap in found}
    session = open_session(pruned(watched, wanted | set(state)), options, without=ROUNDING)
    for steps in samples:
        yield from calls(session, steps, state, taps)


def calls(
    session: Session, steps: Steps, state: Mapping[str, str], taps: Mapping[str, Sequence[Tap]]
) -> Iterator[dict[str, Array]]:
    """Values at each call of one sample."""
    session.check_state(steps, state)
    carried: dict[str, Array] = {}
    for feeds in steps:
        outputs = session.run({**feeds, **carried})
        carried = {into: outputs[out] for out, into in state.items()}
        read = {name: _value_of(name, sites, outputs) for name, sites in taps.items()}
        yield {name: value for name, value in read.items() if value is not None}


def _value_of(name: str, taps: Sequence[Tap], outputs: Mapping[str, Array]) -> Array | None:
    """A tensor's value from the outputs of a call; None where it was not computed.

    Raises:
        ModelError: a Loop gave it another shape at each iteration.
    """
    pieces: list[Array] = []
    for tap in taps:
        found = outputs[tap.output]
        pieces += cast("list[Array]", found) if tap.pieces else [found]
    if len(pieces) <= 1 and not any(tap.repeated for tap in taps):
        return pieces[0] if pieces else None
    if len({piece.shape for piece in pieces}) > 1:
        raise ModelError(
            f"tensor '{name}' has another shape at each iteration of a Loop, so its values cannot "
            "be stacked; exclude its operator"
        )
    return np.stack(pieces) if pieces else None


def tapped(model: Model, names: Sequence[str]) -> tuple[Model, dict[str, tuple[Tap, ...]]]:
    """A model that also gives the values of chosen tensors.

    Returns:
        The model, with the outputs it had and more, and by name where to find each tensor: mostly
        one place, more where branches use one name.

    Raises:
        ModelError: a tensor does not exist, has no known type, or lies where it cannot be followed.
    """
    clone = model.clone()
    index = index_values(clone)
    for name in names:
        if name not in index.values:
            raise ModelError(f"'{model.name}' has no tensor '{name}'")
    if any(index.nested(name) for name in names):
        clone = infer_types(clone)
        index = index_values(clone)
    taps: dict[str, tuple[Tap, ...]] = {}
    count = 0
    for name in dict.fromkeys(names):
        found = []
        for place in range(len(index.values[name])):
            found.append(tap(clone, index, name, place, f"{PREFIX}{count}"))
            count += 1
            if found[-1].repeated:
                index = index_values(clone)  # a Loop that carries more has new output values
        taps[name] = tuple(found)
    return Model(clone, model.name), taps


def pruned(model: Model, wanted: Collection[str]) -> Model:
    """The model without what none of the wanted outputs needs, in place."""
    graph = model.graph.graph
    for output in list(graph.outputs):
        if output.name not in wanted:
            graph.outputs.remove(output)
    common.RemoveUnusedNodesPass()(model.graph)
    for name, value in list(graph.initializers.items()):
        if not (value.uses() or value.is_graph_input() or value.is_graph_output()):
            del graph.initializers[name]
    return model


def tap(model: ir.Model, index: ValueIndex, name: str, place: int, output: str) -> Tap:
    """Lead one value to a new output, in place."""
    value, graph = index.values[name][place]
    path = index.path(graph)
    while path and path[-1].node.op_type == "Scan":
        value = _scan_output(path.pop(), value, f"{output}.scan.{len(path)}")
    if not path:
        found = ir.node("Identity", [value], name=f"{output}.identity")
        model.graph.append(found)
        return _lead_out(model, found.outputs[0], Tap(output))
    _check_followed(model, name, value, [step.node for step in path])
    repeated = any(step.node.op_type == "Loop" for step in path)
    pieces = _collected(model.graph, path, value, output)
    return _lead_out(model, pieces, Tap(output, pieces=True, repeated=repeated))


def _lead_out(model: ir.Model, value: ir.Value, found: Tap) -> Tap:
    value.name = found.output
    model.graph.outputs.append(value)
    return found


def _check_followed(model: ir.Model, name: str, value: ir.Value, around: Sequence[ir.Node]) -> None:
    """Refuse what cannot be carried out of the bodies of operators as a sequence."""
    where = f"tensor '{name}' inside {' inside '.join(n.op_type for n in reversed(around))}"
    foreign = [node.op_type for node in around if node.op_type not in ("If", "Loop")]
    if foreign:
        raise ModelError(f"{where} cannot be followed out of {foreign[-1]}; exclude its operator")
    opset = model.opset_imports.get("", 0)
    if opset < SEQUENCES_FROM:
        raise ModelError(
            f"{where} can be followed from opset {SEQUENCES_FROM} on; the model has {opset}. "
            f"Convert it to {SEQUENCES_FROM} or newer"
        )
    if not isinstance(value.type, ir.TensorType):
        raise ModelError(f"{where} has no type that is known, so it cannot be followed")
