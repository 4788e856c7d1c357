"""The neutral form of a model: its float graph, and the encoding of every stored weight.

Writers walk the graph and ask for the encoding of each stored value that an operator reads.
QuantizeLinear and DequantizeLinear of activations stay in the graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from packlight.exporting.reading import float_weights
from packlight.exporting.weights import (
    Array,
    DenseWeight,
    Encoding,
    FloatWeight,
    GridWeight,
    PaletteWeight,
    Shared,
    SparseWeight,
    StoredWeight,
    shared_parts,
)
from packlight.model import Model, load, nodes, save

GRAPH_FILE = "graph.onnx"
ARRAYS_FILE = "weights.npz"
ENCODINGS_FILE = "encodings.json"


@dataclass(frozen=True, slots=True, eq=False)
class Neutral:
    """A model ready to be written in any format.

    Attributes:
        name: of the model, for people.
        graph: with fixed shapes, without functions; every encoded weight is an input of its own
            name behind the model's inputs, and other stored values are initializers.
        weights: every stored weight of floats or codes by the name that operators read, those
            that are initializers of the graph included.
        bound: values and sizes that inputs and dimensions were bound to.
    """

    name: str
    graph: ir.Model
    weights: Mapping[str, StoredWeight]
    bound: Mapping[str, str]

    @property
    def inputs(self) -> dict[str, ir.Value]:
        """Inputs of a call by name, without weights."""
        encoded = self.encoded
        stored = self.graph.graph.initializers
        return {
            str(value.name): value
            for value in self.graph.graph.inputs
            if value.name not in encoded and value.name not in stored
        }

    @property
    def outputs(self) -> dict[str, ir.Value]:
        """Outputs by name."""
        return {str(value.name): value for value in self.graph.graph.outputs}

    @property
    def encoded(self) -> dict[str, StoredWeight]:
        """Weights that are inputs of the graph: all but plain initializers."""
        stored = self.graph.graph.initializers
        return {name: weight for name, weight in self.weights.items() if name not in stored}

    def readers(self, name: str) -> list[tuple[ir.Node, int]]:
        """Operators that read a weight, with the number of the input."""
        return list(self._value(name).uses())

    def float_graph(self) -> ir.Model:
        """A copy of the graph with every weight as an initializer of floats."""
        copy = self.graph.clone()
        encoded = self.encoded
        for value in list(copy.graph.inputs):
            weight = encoded.get(str(value.name))
            if weight is not None:
                copy.graph.inputs.remove(value)
                value.const_value = _decoded(weight)
                copy.graph.register_initializer(value)
        return copy

    def float_model(self) -> Model:
        """The model with every weight in floats; what it computes is unchanged."""
        return Model(self.float_graph(), self.name)

    def with_weights(self, weights: Mapping[str, StoredWeight]) -> Neutral:
        """The same model with some encodings replaced."""
        return replace(self, weights={**self.weights, **weights})

    def shape(self, value: ir.Value) -> tuple[int, ...]:
        """The fixed shape of a value.

        Raises:
            ValueError: it is not known.
        """
        if value.shape is None or not value.shape.is_static():
            raise ValueError(f"the shape of '{value.name}' is not fixed")
        return tuple(value.shape.numpy())

    def dtype(self, value: ir.Value) -> str:
        """Name of a value's type in NumPy; float32 where it is not known."""
        return (value.dtype or ir.DataType.FLOAT).numpy().name

    def has_quantized_activations(self) -> bool:
        """Tell whether activations pass QuantizeLinear."""
        return any(node.op_type == "QuantizeLinear" for node in nodes(self.graph))

    def _value(self, name: str) -> ir.Value:
        stored = self.graph.graph.initializers.get(name)
        if stored is not None:
            return stored
        return next(value for value in self.graph.graph.inputs if value.name == name)


def _decoded(weight: StoredWeight) -> ir.LazyTensor:
    dtype = ir.DataType.from_numpy(np.dtype(weight.dtype))

    def tensor() -> ir.TensorProtocol:
        return ir.Tensor(weight.decode(), dtype=dtype, name=weight.name)

    return ir.LazyTensor(tensor, dtype=dtype, shape=ir.Shape(weight.shape), name=weight.name)


def neutral_of(
    graph: ir.Model, name: str, encoded: Mapping[str, StoredWeight], bound: Mapping[str, str]
) -> Neutral:
    """Join a prepared graph with its encodings; floats are read from the graph."""
    unread = [value for value in graph.graph.inputs if value.name in encoded and not value.uses()]
    for value in unread:
        graph.graph.inputs.remove(value)
    kept = {str(value.name) for value in graph.graph.inputs}
    used = {weight: stored for weight, stored in encoded.items() if weight in kept}
    return Neutral(name, graph, {**used, **float_weights(graph)}, bound)


def save_neutral(neutral: Neutral, folder: Path) -> None:
    """Write a neutral form to a folder, for another process."""
    save(Model(neutral.graph, neutral.name), folder / GRAPH_FILE)
    arrays: dict[str, Array] = {}
    rows = []
    for index, weight in enumerate(neutral.encoded.values()):
        row = {
            "name": weight.name,
            "dtype": weight.dtype,
            "shape": list(weight.shape),
            "codes": weight.codes,
        }
        rows.append({**row, **_describe(weight.encoding, f"{index}", arrays)})
    record = {"name": neutral.name, "bound": dict(neutral.bound), "weights": rows}
    (folder / ENCODINGS_FILE).write_text(json.dumps(record), "utf-8")
    with (folder / ARRAYS_FILE).open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_neutral(folder: Path) -> Neutral:
    """Read what ``save_neutral`` wrote."""
    record = json.loads((folder / ENCODINGS_FILE).read_text("utf-8"))
    graph = load(folder / GRAPH_FILE).graph
    weights = {}
    with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
        for index, row in enumerate(record["weights"]):
            encoding = _encoding(row, f"{index}", arrays)
            shape = tuple(row["shape"])
            weights[row["name"]] = StoredWeight(
                row["name"], encoding, shape, row["dtype"], row["codes"]
            )
    return neutral_of(graph, record["name"], weights, record["bound"])


def _describe(encoding: Encoding, stem: str, arrays: dict[str, Array]) -> dict[str, object]:
    """Plain values of an encoding; its arrays go into ``arrays`` under names with this stem."""
    row: dict[str, object] = {"kind": encoding.kind}
    if isinstance(encoding, SparseWeight):
        arrays[f"{stem}.mask"] = np.packbits(encoding.mask)
        row["mask_shape"] = list(encoding.mask.shape)
        row["values"] = _describe(encoding.values, stem, arrays)
        return row
    if isinstance(encoding, FloatWeight):
        array = encoding.array
        row["type"] = str(array.dtype)
        if array.dtype.kind == "V":  # NumPy's files have no bfloat16
            array = array.view(np.uint16)
        arrays[f"{stem}.codes"] = array
        return row
    row["bits"] = encoding.bits
    for part, shared in shared_parts(encoding).items():
        arrays[f"{stem}.{part}"] = shared.values
        row[part] = list(shared.block)
    arrays[f"{stem}.codes"] = encoding.codes
    return row


def _encoding(row: Mapping[str, object], stem: str, arrays: Mapping[str, Array]) -> Encoding:
    if row["kind"] == "sparse":
        shape = row["mask_shape"]
        inner = row["values"]
        assert isinstance(shape, list)
        assert isinstance(inner, dict)
        count = int(np.prod(shape, dtype=np.int64))
        bits = np.unpackbits(arrays[f"{stem}.mask"].astype(np.uint8), count=count)
        return SparseWeight(bits.reshape(shape).astype(np.bool_), _dense(inner, stem, arrays))
    return _dense(row, stem, arrays)


def _dense(row: Mapping[str, object], stem: str, arrays: Mapping[str, Array]) -> DenseWeight:
    codes = arrays[f"{stem}.codes"]
    if row["kind"] == "float":
        if row["type"] == "bfloat16":
            codes = codes.view(ir.DataType.BFLOAT16.numpy())
        return FloatWeight(codes)
    integers = codes.astype(codes.dtype)
    assert integers.dtype.kind in "iu"
    shared = {}
    for part in ("scale", "zero", "table"):
        block = row.get(part)
        if isinstance(block, list):
            shared[part] = Shared(arrays[f"{stem}.{part}"], tuple(block))
    bits = row["bits"]
    assert isinstance(bits, int)
    if row["kind"] == "palette":
        return PaletteWeight(integers, shared["table"], shared.get("scale"), bits)
    return GridWeight(integers, shared["scale"], shared.get("zero"), bits)
