"""A LiteRT file under construction: tensors, operators, buffers, and the bytes of all.

The tables are those of https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/schema/schema.fbs
as the package ``ai_edge_litert`` has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from packlight.exporting.litert.layouts import Shape
from packlight.exporting.litert.versions import operator_version
from packlight.records.export import WeightForm

Array = NDArray[Any]

SCHEMA_VERSION = 3
IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Bytes to which kernels want weights aligned."""

SIGNATURE = "serving_default"
GENERIC_CODES = 127
"""Largest code of an operator that files of the first schema could state."""

TYPES: Mapping[str, int] = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "float64": schema.TensorType.FLOAT64,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "uint8": schema.TensorType.UINT8,
    "uint16": schema.TensorType.UINT16,
    "uint32": schema.TensorType.UINT32,
    "bool": schema.TensorType.BOOL,
    "int4": schema.TensorType.INT4,
}
"""Types of elements by their names in NumPy and ml_dtypes."""

OPTIONS: Mapping[str, str] = {
    "ADD": "Add",
    "ARG_MAX": "ArgMax",
    "ARG_MIN": "ArgMin",
    "AVERAGE_POOL_2D": "Pool2D",
    "BATCH_MATMUL": "BatchMatMul",
    "CAST": "Cast",
    "CONCATENATION": "Concatenation",
    "CONV_2D": "Conv2D",
    "CONV_3D": "Conv3D",
    "CUMSUM": "Cumsum",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "DEPTH_TO_SPACE": "DepthToSpace",
    "DIV": "Div",
    "FULLY_CONNECTED": "FullyConnected",
    "GATHER": "Gather",
    "GELU": "Gelu",
    "LEAKY_RELU": "LeakyRelu",
    "LOCAL_RESPONSE_NORMALIZATION": "LocalResponseNormalization",
    "MAX_POOL_2D": "Pool2D",
    "MEAN": "Reducer",
    "MIRROR_PAD": "MirrorPad",
    "MUL": "Mul",
    "ONE_HOT": "OneHot",
    "REDUCE_ALL": "Reducer",
    "REDUCE_ANY": "Reducer",
    "REDUCE_MAX": "Reducer",
    "REDUCE_MIN": "Reducer",
    "REDUCE_PROD": "Reducer",
    "RESHAPE": "Reshape",
    "RESIZE_BILINEAR": "ResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor",
    "SOFTMAX": "Softmax",
    "SPACE_TO_DEPTH": "SpaceToDepth",
    "SPLIT": "Split",
    "STRIDED_SLICE": "StridedSlice",
    "SUB": "Sub",
    "SUM": "Reducer",
    "TRANSPOSE_CONV": "TransposeConv",
}
"""Table of options by operator; others have none that matter."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """What the integers of a tensor stand for.

    Attributes:
        scale: real value of a step, one for the tensor or one for each slice of ``axis``.
        zero: code of 0.0, as many.
        axis: of the slices, in the stored order.
    """

    scale: tuple[float, ...]
    zero: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the file.

    Attributes:
        index: in the file.
        shape: as stored.
        dtype: name of its elements' type.
        quantization: of integers that stand for real values.
        is_stored: its value is in the file.
    """

    index: int
    shape: Shape
    dtype: str
    quantization: Quantization | None = None
    is_stored: bool = False


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose first byte kernels can read as a number of any type."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - name in flatbuffers
        content = None
        if self.data is not None:
            content = _aligned_vector(builder, self.data)
        schema.BufferStart(builder)
        if content is not None:
            schema.BufferAddData(builder, content)
        return schema.BufferEnd(builder)


def _aligned_vector(builder: Any, content: bytes) -> Any:
    builder.StartVector(1, len(content), ALIGNMENT)
    builder.head = builder.Head() - len(content)
    builder.Bytes[builder.Head() : builder.Head() + len(content)] = content
    return builder.EndVector()


class FileBuilder:
    """Collects tensors and operators in the order in which they run."""

    def __init__(self) -> None:
        self.operator_names: list[str] = []
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [_AlignedBuffer()]
        self._operators: list[Any] = []
        self._zeros: dict[tuple[int, ...], Any] = {}
        self._codes: dict[tuple[str, int], int] = {}
        self._stored: dict[tuple[str, str, Shape, bytes, Quantization | None], Tensor] = {}
        self.recorded: dict[str, tuple[WeightForm, int]] = {}

    def tensor(
        self, name: str, shape: Sequence[int], dtype: str, quantization: Quantization | None = None
    ) -> Tensor:
        """Add a tensor that an operator computes, or an input."""
        return self._add_tensor(name, tuple(shape), dtype, quantization, 0)

    def store(self, name: str, array: Array, quantization: Quantization | None = None) -> Tensor:
        """Add a tensor whose value is in the file; equal ones are stored once, codes by name."""
        dtype = array.dtype.name
        content = _packed(array)
        key = (name if quantization else "", dtype, array.shape, content, quantization)
        if key not in self._stored:
            buffer = _AlignedBuffer()
            buffer.data = content
            self._buffers.append(buffer)
            index = len(self._buffers) - 1
            self._stored[key] = self._add_tensor(name, array.shape, dtype, quantization, index)
        return self._stored[key]

    def record(self, name: str, form: WeightForm, count: int) -> None:
        """State how a weight is stored, and in how many bytes, more than its earlier parts."""
        _, before = self.recorded.get(name, (form, 0))
        self.recorded[name] = (form, before + count)

    def _add_tensor(
        self,
        name: str,
        shape: Shape,
        dtype: str,
        quantization: Quantization | None,
        buffer: int,
    ) -> Tensor:
        table = schema.TensorT()
        table.name = name
        table.shape = np.array(shape, np.int32)
        table.type = TYPES[dtype]
        table.buffer = buffer
        table.hasRank = True
        if quantization is not None:
            table.quantization = _SharingQuantization(quantization, self._zeros)
        self._tensors.append(table)
        index = len(self._tensors) - 1
        return Tensor(index, shape, dtype, quantization, is_stored=buffer > 0)

    def operator(
        self,
        name: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        **options: Any,
    ) -> None:
        """Add an operator; None is an input that it goes without."""
        table = schema.OperatorT()
        present = [tensor for tensor in inputs if tensor is not None]
        scales = present[0].quantization
        per_channel = scales is not None and len(scales.scale) > 1
        version = operator_version(name, present, per_channel, options)
        table.opcodeIndex = self._code(name, version)
        while inputs[-1] is None:
            inputs = inputs[:-1]
        table.inputs = [-1 if tensor is None else tensor.index for tensor in inputs]
        table.outputs = [tensor.index for tensor in outputs]
        kind = OPTIONS.get(name)
        if kind is not None:
            table.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
            table.builtinOptions = getattr(schema, f"{kind}OptionsT")()
            for key, value in options.items():
                assert hasattr(table.builtinOptions, key), (name, key)
                setattr(table.builtinOptions, key, value)
        self._operators.append(table)
        self.operator_names.append(name)

    def _code(self, name: str, version: int) -> int:
        return self._codes.setdefault((name, version), len(self._codes))

    def finish(
        self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor], description: str
    ) -> bytes:
        """Write the file.

        Args:
            inputs: of the model by name.
            outputs: of the model by name; no tensor twice.
            description: for people.
        """
        for name, tensor in (*inputs.items(), *outputs.items()):
            self._tensors[tensor.index].name = name
        self._drop_unread([tensor.index for tensor in outputs.values()])
        graph = schema.SubGraphT()
        graph.tensors = self._tensors
        graph.operators = self._operators
        graph.inputs = [tensor.index for tensor in inputs.values()]
        graph.outputs = [tensor.index for tensor in outputs.values()]
        graph.name = "main"
        self._renumber(graph)
        model = schema.ModelT()
        model.version = SCHEMA_VERSION
        model.description = description
        model.operatorCodes = [_code_table(name, version) for name, version in self._codes]
        model.subgraphs = [graph]
        model.buffers = self._buffers
        model.signatureDefs = [_signature(inputs, outputs, graph)]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _drop_unread(self, outputs: Sequence[int]) -> None:
        """Leave out operators that no output depends on."""
        needed = set(outputs)
        needed_rows = []
        for table, name in reversed(list(zip(self._operators, self.operator_names, strict=True))):
            if needed.isdisjoint(table.outputs):
                continue
            needed.update(table.inputs)
            needed_rows.append((table, name))
        needed_rows.reverse()
        self._operators = [table for table, _ in needed_rows]
        self.operator_names = [name for _, name in needed_rows]

    def _renumber(self, graph: Any) -> None:
        """Leave out tensors and buffers that nothing reads, and number the others anew."""
        used = {index for table in self._operators for index in (*table.inputs, *table.outputs)}
        used |= {*graph.inputs, *graph.outputs}
        used.discard(-1)
        order = sorted(used)
        places = {-1: -1} | {index: place for place, index in enumerate(order)}
        graph.tensors = [self._tensors[index] for index in order]
        graph.inputs = [places[index] for index in graph.inputs]
        graph.outputs = [places[index] for index in graph.outputs]
        for table in self._operators:
            table.inputs = [places[index] for index in table.inputs]
            table.outputs = [places[index] for index in table.outputs]
        buffers = sorted({tensor.buffer for tensor in graph.tensors} | {0})
        numbers = {index: place for place, index in enumerate(buffers)}
        self._buffers = [self._buffers[index] for index in buffers]
        for tensor in graph.tensors:
            tensor.buffer = numbers[tensor.buffer]


def _packed(array: Array) -> bytes:
    """Bytes of an array as LiteRT stores it; 4-bit integers two a byte, the first one low."""
    if array.dtype.name != "int4":
        return np.ascontiguousarray(array).tobytes()
    codes = array.astype(np.int8).view(np.uint8).reshape(-1) & 0xF
    pairs = np.zeros(-(-codes.size // 2) * 2, np.uint8)
    pairs[: codes.size] = codes
    return (pairs[0::2] | (pairs[1::2] << 4)).tobytes()


class _SharingQuantization(schema.QuantizationParametersT):  # type: ignore[misc]
    """Scales and zeros of a tensor; equal vectors of zeros are written once for all tensors.

    A zero takes twice the bytes of a scale and is nearly always 0.
    """

    def __init__(self, quantization: Quantization, written: dict[tuple[int, ...], Any]) -> None:
        super().__init__()
        self.quantization = quantization
        self.written = written

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - name in flatbuffers
        scale = builder.CreateNumpyVector(np.array(self.quantization.scale, np.float32))
        zero = self.quantization.zero
        if zero not in self.written:
            self.written[zero] = builder.CreateNumpyVector(np.array(zero, np.int64))
        schema.QuantizationParametersStart(builder)
        schema.QuantizationParametersAddScale(builder, scale)
        schema.QuantizationParametersAddZeroPoint(builder, self.written[zero])
        schema.QuantizationParametersAddQuantizedDimension(builder, self.quantization.axis)
        return schema.QuantizationParametersEnd(builder)


def _code_table(name: str, version: int) -> Any:
    table = schema.OperatorCodeT()
    table.builtinCode = getattr(schema.BuiltinOperator, name)
    table.deprecatedBuiltinCode = min(table.builtinCode, GENERIC_CODES)
    table.version = version
    return table


def _signature(inputs: Iterable[str], outputs: Iterable[str], graph: Any) -> Any:
    table = schema.SignatureDefT()
    table.signatureKey = SIGNATURE
    table.subgraphIndex = 0
    table.inputs = _named(inputs, graph.inputs)
    table.outputs = _named(outputs, graph.outputs)
    return table


def _named(names: Iterable[str], indices: Sequence[int]) -> list[Any]:
    tables = []
    for name, index in zip(names, indices, strict=True):
        table = schema.TensorMapT()
        table.name = name
        table.tensorIndex = index
        tables.append(table)
    return tables
