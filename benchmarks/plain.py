"""A case as other tools take it best: one flat graph, and calibration samples as a file.

Every peer starts from the same graph, which computes what the original does: normalisation folded,
nothing unread or described in it, branches resolved for the shapes of the task, opset 21. So no
peer loses by an operator that it does not know, and none pays for bytes that any tool can remove.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime

import hashlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

import packlight
from packlight.model import Model, graphs, load, nodes, raise_opset, save
from packlight.records import SessionOptions
from packlight.runtime import Feeds, open_session
from packlight.task import Task
from sources import cached
from suite import EXACT, Case

PRINT = 8
"""Characters of a digest that tell models apart."""

OPSET = 21
"""The first in which 4-bit integers and blocks can be said."""

CALLS = 10
"""Of a sample with a state: the last ones, fed with the state that the original has reached."""

SAME = 90.0
"""dB that the flat graph must reach against the original."""


def folder(case: Case) -> Path:
    """Of a case in the cache, for the model as it is now."""
    content = hashlib.sha256(case.model_path().read_bytes()).hexdigest()
    return cached("plain", f"{case.name}-{content[:PRINT]}", "model.onnx").parent


def plain_model(case: Case) -> Path:
    """The flat graph of a case, made once."""
    path = folder(case) / "model.onnx"
    if not path.exists():
        simplified = packlight.compress(case.model_path(), "simplify").model
        if any(node.op_type == "If" for node in nodes(simplified.graph)):
            simplified = flattened(simplified, next(calls(case, simplified)))
        save(Model(bare(raise_opset(simplified.clone(), OPSET)), case.name), path)
    return path


def bare(graph: ir.Model) -> ir.Model:
    """Without descriptions and shapes of what is in between, in place."""
    for inner in graphs(graph):
        kept = {*map(id, inner.inputs), *map(id, inner.outputs)}
        for node in inner:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
                if id(value) not in kept:
                    value.type = value.shape = None
    return graph


def flattened(model: Model, feeds: Feeds) -> Model:
    """Branches resolved by ONNX Runtime's basic optimiser, for the shapes of one call.

    An input of no dimensions, as a sampling rate, becomes the constant that it always is; it stays
    an input that nobody reads.
    """
    proto = ir.to_proto(model.graph)
    told = {value.name: value for value in proto.graph.input}
    settled = [name for name, array in feeds.items() if not np.ndim(array)]
    for name, array in feeds.items():
        for dim, size in zip(told[name].type.tensor_type.shape.dim, np.shape(array), strict=True):
            dim.dim_value = size
    for name in settled:
        proto.graph.input.remove(told[name])
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(feeds[name]), name))
    options, path = ort.SessionOptions(), cached("plain", "flat.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    flat = onnx.load(path)
    path.unlink()
    for name in settled:
        unread = [tensor for tensor in flat.graph.initializer if tensor.name == name]
        for tensor in unread:
            flat.graph.initializer.remove(tensor)
        flat.graph.input.append(told[name])
    return Model(ir.from_proto(flat), model.name)


def calls(case: Case, model: Model) -> Iterator[Feeds]:
    """Calls of the model on the calibration samples, each with the state it is in by then."""
    task = case.task()
    session = open_session(model, SessionOptions()) if task.state else None
    for steps in task.calibration:
        fed: list[Feeds] = [steps[0]]
        if session is not None:
            for before, after in pairwise(steps):
                outputs = session.run({**before, **carried(task, fed)})
                fed.append({**after, **{inp: outputs[out] for out, inp in task.state.items()}})
        yield from fed[-CALLS:]


def carried(task: Task, fed: list[Feeds]) -> Mapping[str, NDArray[np.generic]]:
    """The state with which the last call was fed."""
    return {name: np.asarray(fed[-1][name]) for name in task.state.values()}


def calibration_file(case: Case) -> Path:
    """Calls on calibration samples as an ``.npz``: ``CALL/INPUT`` -> array, made once."""
    path = folder(case) / "calibration.npz"
    if not path.exists():
        model = load(case.model_path())
        arrays = {
            f"{index}/{name}": np.asarray(array)
            for index, feeds in enumerate(calls(case, model))
            for name, array in feeds.items()
        }
        draft = path.with_name("draft.npz")
        np.savez(draft, **arrays)
        draft.replace(path)
    return path


def check_same(case: Case) -> float:
    """dB of the flat graph against the original, at least 90."""
    from packlight.evaluation import evaluate

    original, flat = load(case.model_path()), load(plain_model(case))
    found = evaluate(flat, case.task(), EXACT, reference=original, variant="plain",
                     reference_id="original")  # fmt: skip
    level = found.evaluation.metrics["snr"].value
    if level < SAME:
        raise SystemExit(f"the flat graph of '{case.name}' differs: {level:.1f} dB")
    return level
