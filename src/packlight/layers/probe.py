"""A model opened so that chosen values come out of it and chosen values are fed into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers.data_flow import FLOATS, ROUNDERS, Flow
from packlight.model import Model
from packlight.records import SessionOptions
from packlight.runtime import Feeds, Session, open_session
from packlight.runtime.taps import PREFIX, pruned

Array = NDArray[np.generic]
Values = Mapping[str, Array]

CUT = "packlight.cut."
NATIVE: dict[ir.DataType | None, ir.DataType] = {None: ir.DataType.FLOAT}


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A session with values that are read and values that are fed.

    Attributes:
        session: of the model.
        taps: by key, the output where a value comes out.
        fed: by input of the session, the key of the value that it takes and the type.
    """

    session: Session
    taps: Mapping[str, str]
    fed: Mapping[str, tuple[str, np.dtype[np.generic]]]

    def run(self, feeds: Feeds, values: Values) -> tuple[dict[str, Array], dict[str, Array]]:
        """Call the model once.

        Args:
            feeds: its inputs.
            values: by key; those that it takes are fed, in the type that it computes with.

        Returns:
            Values by key, and outputs by name.
        """
        cut = {name: values[key].astype(kind, copy=False) for name, (key, kind) in self.fed.items()}
        known = {name: array for name, array in feeds.items() if name in self.session.inputs}
        outputs = self.session.run({**known, **cut})
        return {key: outputs[name] for key, name in self.taps.items()}, outputs


def open_probe(
    model: Model,
    read: Mapping[str, str],
    fed: Mapping[str, str],
    options: SessionOptions,
    *,
    keep: Iterable[str] = (),
) -> Probe:
    """Open a copy of a model in which operators read what is fed.

    Args:
        model: stays as it is.
        read: key -> name of the value to give.
        fed: key -> name of the root whose readers take the value that is fed under the key.
        options: of the session.
        keep: outputs of the model to give as well.
    """
    copy = model.clone()
    inputs = feed(copy, fed)
    taps = give(copy, read.values())
    session = open_session(pruned(Model(copy, model.name), {*taps.values(), *keep}), options)
    return Probe(
        session,
        {key: taps[value] for key, value in read.items()},
        {name: held for name, held in inputs.items() if name in session.inputs},
    )


def give(graph: ir.Model, names: Iterable[str]) -> dict[str, str]:
    """Make outputs of values of the main graph, in place; by name, that of the output."""
    main = {str(value.name): value for node in graph.graph for value in node.outputs}
    main.update((str(value.name), value) for value in graph.graph.inputs)
    made: dict[str, str] = {}
    for name in dict.fromkeys(names):
        node = ir.node("Identity", [main[name]], name=f"{PREFIX}{len(made)}.identity")
        graph.graph.append(node)
        node.outputs[0].name = made[name] = f"{PREFIX}{len(made)}"
        graph.graph.outputs.append(node.outputs[0])
    return made


def feed(graph: ir.Model, fed: Mapping[str, str]) -> dict[str, tuple[str, np.dtype[np.generic]]]:
    """Make inputs of what the readers of some roots read, in place; by input, key and type."""
    flow = Flow(graph)
    made: dict[str, tuple[str, np.dtype[np.generic]]] = {}
    for key, name in fed.items():
        for node, place, value in list(cuts(flow, flow.values[name])):
            kind = value.dtype or ir.DataType.FLOAT
            source = f"{CUT}{len(fed)}.{name}.{kind.name}"
            if source not in made:
                made[source] = (key, kind.numpy())
                graph.graph.inputs.append(ir.Value(name=source, type=ir.TensorType(kind)))
            taken = next(one for one in graph.graph.inputs if one.name == source)
            node.replace_input_with(place, taken)
    return made


def cuts(flow: Flow, root: ir.Value) -> Iterable[tuple[ir.Node, int, ir.Value]]:
    """Where a root is read as a number: by operators, and by roundings that give them codes."""
    for node, place, value in flow.reads(root):
        if value.dtype in FLOATS:
            yield node, place, value
    for value in flow.chains[root]:
        for use in value.uses():
            if (
                use.node.op_type in ROUNDERS
                and flow.passes(use.node)
                and is_read_as_codes(flow, use.node)
            ):
                yield use.node, use.idx, value


def is_read_as_codes(flow: Flow, rounder: ir.Node) -> bool:
    """Whether an operator takes the codes that a rounding gives as they are."""
    return any(not flow.passes(use.node) for use in rounder.outputs[0].uses())
