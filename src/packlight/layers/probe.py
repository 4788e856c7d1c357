"""A model opened so that chosen values are read from it and others are replaced in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.layers.data_flow import ROUNDERS, Flow, is_real
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
    """A session that reads some values and replaces others.

    Attributes:
        session: of the model.
        taps: by key, the output where a value is read.
        replaced: by session input, the key and the type of the value that it replaces.
    """

    session: Session
    taps: Mapping[str, str]
    replaced: Mapping[str, tuple[str, np.dtype[np.generic]]]

    def run(self, feeds: Feeds, values: Values) -> tuple[dict[str, Array], dict[str, Array]]:
        """Call the model once.

        Args:
            feeds: its inputs.
            values: by key; the replaced ones are fed in the type that the model computes with.

        Returns:
            Values by key, and outputs by name.
        """
        arrays = {name: array for name, array in feeds.items() if name in self.session.inputs}
        for name, (key, dtype) in self.replaced.items():
            arrays[name] = values[key].astype(dtype, copy=False)
        outputs = self.session.run(arrays)
        return {key: outputs[name] for key, name in self.taps.items()}, outputs


def open_probe(
    model: Model,
    values: Mapping[str, str],
    replaced: Mapping[str, str],
    options: SessionOptions,
    *,
    outputs: Iterable[str] = (),
) -> Probe:
    """Open a copy of a model in which some values are read and others replaced.

    Args:
        model: stays as it is.
        values: key -> name of the value to read.
        replaced: key -> name of the root that is replaced by the value fed under the key.
        options: of the session.
        outputs: outputs of the model to return as well.
    """
    copy = model.clone()
    inputs = _add_replacement_inputs(copy, replaced)
    taps = add_taps(copy, values.values())
    session = open_session(pruned(Model(copy, model.name), {*taps.values(), *outputs}), options)
    return Probe(
        session,
        {key: taps[value] for key, value in values.items()},
        {name: inputs[name] for name in inputs if name in session.inputs},
    )


def add_taps(graph: ir.Model, names: Iterable[str]) -> dict[str, str]:
    """Make values of the main graph outputs, in place; the output's name by the value's."""
    main = {str(value.name): value for node in graph.graph for value in node.outputs}
    main.update((str(value.name), value) for value in graph.graph.inputs)
    taps: dict[str, str] = {}
    for name in dict.fromkeys(names):
        node = ir.node("Identity", [main[name]], name=f"{PREFIX}{len(taps)}.identity")
        graph.graph.append(node)
        node.outputs[0].name = taps[name] = f"{PREFIX}{len(taps)}"
        graph.graph.outputs.append(node.outputs[0])
    return taps


def _add_replacement_inputs(
    graph: ir.Model, replaced: Mapping[str, str]
) -> dict[str, tuple[str, np.dtype[np.generic]]]:
    """Let readers of some roots read new graph inputs, in place; key and type by input name."""
    flow = Flow(graph)
    inputs: dict[str, tuple[str, np.dtype[np.generic]]] = {}
    for key, name in replaced.items():
        for node, index, value in list(cuts(flow, flow.values[name])):
            kind = value.dtype or ir.DataType.FLOAT
            source = f"{CUT}{len(replaced)}.{name}.{kind.name}"
            if source not in inputs:
                inputs[source] = (key, kind.numpy())
                graph.graph.inputs.append(ir.Value(name=source, type=ir.TensorType(kind)))
            graph_input = next(value for value in graph.graph.inputs if value.name == source)
            node.replace_input_with(index, graph_input)
    return inputs


def cuts(flow: Flow, root: ir.Value) -> Iterable[tuple[ir.Node, int, ir.Value]]:
    """Uses of a root as a number: by operators, or by quantizers that give them codes."""
    for node, index, value in flow.reads(root):
        if is_real(value):
            yield node, index, value
    for value in flow.chains[root]:
        for use in value.uses():
            if (
                use.node.op_type in ROUNDERS
                and flow.passes(use.node)
                and _is_read_as_codes(flow, use.node)
            ):
                yield use.node, use.idx, value


def _is_read_as_codes(flow: Flow, rounder: ir.Node) -> bool:
    return any(not flow.passes(use.node) for use in rounder.outputs[0].uses())
