"""From a graph of ONNX with fixed shapes to a LiteRT file, operator by operator.

A value may lie in the file in several layouts. Each operator asks for the one that its kernel
needs, and a transpose is written where no tensor has it yet; a Transpose of ONNX is but another
layout of the same tensor. What QuantizeLinear and DequantizeLinear enclose is computed in integers
where a kernel for it exists (``integer_operators``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from packlight.exporting.litert.flatbuffer import Array, FileBuilder, Quantization, Tensor
from packlight.exporting.litert.layouts import (
    Layout,
    channels_last,
    keeps_order,
    natural,
    steps_between,
    stored_shape,
    with_leading_axes,
)
from packlight.exporting.litert.stored import store_weight
from packlight.exporting.litert.values import (
    Operator,
    UnsupportedError,
    Value,
    stored_value,
    value_of,
)
from packlight.exporting.weights import StoredWeight
from packlight.model import optional_input

Result = Value | tuple[Value, ...]
Function = Callable[["Lowering", Operator], Result]

CLIPPED = {(0.0, 6.0): 3, (-1.0, 1.0): 2}
"""Activations that kernels apply themselves, by their bounds; codes of ActivationFunctionType."""

RELU = 1
SPATIAL_RANK = 4
"""Axes of the tensors that kernels with windows take."""


class Lowering:
    """A file under construction, and what is known of the graph.

    Args:
        weights: stored with encodings, by the name of the value that operators read.
    """

    def __init__(self, weights: Mapping[str, StoredWeight]) -> None:
        self.builder = FileBuilder()
        self.weights = weights
        self.values: dict[ir.Value, Value] = {}
        self.absorbed: set[ir.Node] = set()
        self._stem = ""
        self._written = 0

    def begin(self, node: ir.Node) -> None:
        """Name what is written from now on after an operator's output."""
        self._stem = str(node.outputs[0].name)
        self._written = 0

    def name(self) -> str:
        """A name for the next tensor."""
        self._written += 1
        if self._written == 1:
            return self._stem
        return f"{self._stem}:{self._written - 1}"

    # Values

    def constant(self, array: Any, dtype: str = "float32") -> Tensor:
        """Store numbers that an operator needs."""
        return self.builder.store("", np.asarray(array, dtype=dtype))

    def form(self, value: Value, layout: Layout | None = None) -> Tensor:
        """The tensor that holds a value in a layout, the order of ONNX unless one is given."""
        if layout is None:
            layout = natural(value.rank)
        if layout not in value.forms:
            value.forms[layout] = self._new_form(value, layout)
        return value.forms[layout]

    def _new_form(self, value: Value, layout: Layout) -> Tensor:
        if value.array is not None:
            return self.builder.store(value.name, value.array.transpose(layout))
        if value.weight is not None and not value.forms:
            tensor, arranged = store_weight(self.builder, value.weight, layout)
            if arranged == layout:
                return tensor
            value.forms[arranged] = tensor
        if value.codes is not None and not value.forms:
            codes = self.form(value.codes, layout)
            return self.emit("DEQUANTIZE", [codes], codes.shape, "float32")
        source, tensor = next(iter(value.forms.items()))
        shape = stored_shape(value.shape, layout)
        if keeps_order(value.shape, source, layout):
            return self.reshape(tensor, shape)
        steps = self.constant(steps_between(source, layout), "int32")
        return self.emit(
            "TRANSPOSE", [tensor, steps], shape, tensor.dtype, quantization=tensor.quantization
        )

    def layouts(self, value: Value) -> list[Layout]:
        """Layouts in which a value can be had without a transpose."""
        if value.forms:
            return list(value.forms)
        if value.codes is None:
            return []
        return self.layouts(value.codes)

    def common_layout(self, values: Sequence[Value]) -> Layout:
        """The layout in which all values of one rank can be had with the fewest bytes moved."""
        rank = values[0].rank
        candidates = [layout for value in values for layout in self.layouts(value)]
        best = natural(rank)
        best_cost = self._cost(values, best)
        for layout in candidates:
            cost = self._cost(values, layout)
            if cost < best_cost or (cost == best_cost and layout == channels_last(rank)):
                best = layout
                best_cost = cost
        return best

    def _cost(self, values: Sequence[Value], layout: Layout) -> int:
        cost = 0
        for value in values:
            known = self.layouts(value)
            if value.is_stored or layout in known:
                continue
            cost += 1
            if not any(keeps_order(value.shape, source, layout) for source in known):
                cost += value.size
        return cost

    def broadcast(self, value: Value, rank: int) -> Value:
        """A value with axes of size 1 in front, up to a rank."""
        missing = rank - value.rank
        if missing <= 0:
            return value
        shape = (1,) * missing + value.shape
        if value.array is not None:
            return stored_value(value.name, value.array.reshape(shape))
        if not self.layouts(value):
            self.form(value)
        forms = {}
        for layout in self.layouts(value):
            target = with_leading_axes(layout, missing)
            tensor = self.form(value, layout)
            forms[target] = self.reshape(tensor, (1,) * missing + tensor.shape)
        return Value(value.name, shape, value.dtype, forms)

    # Operators

    def emit(
        self,
        name: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        dtype: str,
        quantization: Quantization | None = None,
        **options: Any,
    ) -> Tensor:
        """Write an operator with one output, and return that."""
        output = self.builder.tensor(self.name(), shape, dtype, quantization)
        self.builder.operator(name, inputs, [output], **options)
        return output

    def reshape(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """The same numbers in another shape."""
        if tensor.shape == tuple(shape):
            return tensor
        sizes = self.constant(shape, "int32")
        return self.emit(
            "RESHAPE", [tensor, sizes], shape, tensor.dtype, tensor.quantization,
            newShape=np.array(shape, np.int32),
        )  # fmt: skip

    def unary(self, name: str, tensor: Tensor, **options: Any) -> Tensor:
        """An operator that changes each number."""
        return self.emit(name, [tensor], tensor.shape, tensor.dtype, **options)

    def binary(self, name: str, left: Tensor, right: Tensor | float, **options: Any) -> Tensor:
        """An operator over two tensors of one rank, or over a tensor and a number."""
        if not isinstance(right, Tensor):
            right = self.constant(right, left.dtype)
        shape = np.broadcast_shapes(left.shape, right.shape)
        return self.emit(name, [left, right], shape, left.dtype, **options)

    def reduce(self, name: str, tensor: Tensor, axes: Sequence[int], *, keep: bool) -> Tensor:
        """A reduction over axes as stored."""
        shape = [size for axis, size in enumerate(tensor.shape) if axis not in axes]
        if keep:
            shape = [1 if axis in axes else size for axis, size in enumerate(tensor.shape)]
        positions = self.constant(sorted(axes), "int32")
        return self.emit(name, [tensor, positions], shape, tensor.dtype, keepDims=keep)

    def slice(self, tensor: Tensor, begin: Sequence[int], size: Sequence[int]) -> Tensor:
        """A block of a tensor as stored."""
        if tuple(size) == tensor.shape:
            return tensor
        bounds = [self.constant(begin, "int32"), self.constant(size, "int32")]
        return self.emit("SLICE", [tensor, *bounds], size, tensor.dtype, tensor.quantization)

    def concatenate(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors one after the other along an axis as stored."""
        first = tensors[0]
        if len(tensors) == 1:
            return first
        shape = list(first.shape)
        shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
        return self.emit(
            "CONCATENATION", tensors, shape, first.dtype, first.quantization, axis=axis
        )

    def pad(self, tensor: Tensor, pads: Sequence[tuple[int, int]], fill: float = 0.0) -> Tensor:
        """A tensor with numbers around it, before and after along each axis as stored."""
        if not any(before or after for before, after in pads):
            return tensor
        shape = [
            size + before + after for size, (before, after) in zip(tensor.shape, pads, strict=True)
        ]
        widths = self.constant(pads, "int32")
        if fill == 0:
            return self.emit("PAD", [tensor, widths], shape, tensor.dtype, tensor.quantization)
        filling = self.builder.store("", np.array([fill], tensor.dtype), tensor.quantization)
        return self.emit(
            "PADV2", [tensor, widths, filling], shape, tensor.dtype, tensor.quantization
        )

    def gather(self, tensor: Tensor, indices: Array | Tensor, axis: int) -> Tensor:
        """Slices of a tensor along an axis as stored, by indices that are not negative."""
        if not isinstance(indices, Tensor):
            indices = self.constant(indices, "int32")
        shape = (*tensor.shape[:axis], *indices.shape, *tensor.shape[axis + 1 :])
        return self.emit(
            "GATHER", [tensor, indices], shape, tensor.dtype, tensor.quantization, axis=axis
        )

    # Neighbors

    def only_reader(self, value: ir.Value) -> ir.Node | None:
        """The one operator that reads a value once; None where others or the outputs do."""
        uses = list(value.uses())
        if len(uses) != 1 or value.is_graph_output():
            return None
        return uses[0][0]

    def absorb_activation(self, output: ir.Value) -> tuple[int, ir.Value]:
        """Take a Relu or a Clip that follows into the operator before.

        Returns:
            activation: that the kernel applies; 0 for none.
            output: what the operator then computes.
        """
        reader = self.only_reader(output)
        if reader is None:
            return 0, output
        activation = self._activation(reader)
        if activation:
            self.absorbed.add(reader)
            return activation, reader.outputs[0]
        return 0, output

    def _activation(self, node: ir.Node) -> int:
        if node.domain:
            return 0
        if node.op_type == "Relu":
            return RELU
        if node.op_type != "Clip":
            return 0
        return CLIPPED.get(self.clip_bounds(node), 0)

    def clip_bounds(self, node: ir.Node) -> tuple[float, float]:
        """Bounds of a Clip; not numbers where they are computed."""
        bounds = []
        for index, (name, default) in enumerate((("min", -np.inf), ("max", np.inf)), start=1):
            bound = node.attributes.get_float(name, default)
            if optional_input(node, index) is not None:
                bound = np.nan
            numbers = self.stored_numbers(node, index)
            if numbers is not None:
                bound = float(numbers.reshape(-1)[0])
            bounds.append(bound)
        return bounds[0], bounds[1]

    def value(self, source: ir.Value | None) -> Value | None:
        """What is known of a value; None where it is left out."""
        if source is None:
            return None
        return self.values.get(source)

    def stored_numbers(self, node: ir.Node, index: int) -> Array | None:
        """Numbers that an input stores; None where it is computed or left out."""
        value = self.value(optional_input(node, index))
        if value is None or not value.is_stored:
            return None
        return value.numbers()

    def bind(self, output: ir.Value, value: Value) -> None:
        """State which value an output of the graph's operators is."""
        self.values[output] = value


def spatial_form(lowering: Lowering, value: Value) -> Tensor:
    """A value (batch, channels, positions...) as (batch, height, width, channels)."""
    tensor = lowering.form(value, channels_last(value.rank))
    if value.rank == SPATIAL_RANK:
        return tensor
    if value.rank == SPATIAL_RANK - 1:
        batch, length, channels = tensor.shape
        return lowering.reshape(tensor, (batch, 1, length, channels))
    raise UnsupportedError(f"{value.rank - 2} spatial axes")


def from_spatial(lowering: Lowering, tensor: Tensor, rank: int) -> Value:
    """The reverse of ``spatial_form``."""
    if rank < SPATIAL_RANK:
        tensor = lowering.reshape(tensor, (tensor.shape[0], *tensor.shape[2:]))
    return value_of("", tensor, channels_last(rank))
