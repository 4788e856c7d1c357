"""Stored weights as sites, shared by every method that changes how weights are stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.sites.stored_codes import FLOAT_TYPES, is_restored, stores_floats_behind
from packlight.compression.sites.weight_roles import (
    MATRIX,
    Role,
    constant_values,
    split_groups,
    stored,
    weight_roles,
)
from packlight.model import release
from packlight.records.storage import Note
from packlight.records.variant import Refusal

Floats = NDArray[np.float32]

MIN_WEIGHT_SIZE = 256
"""Number of elements below which a weight stays: scales and operators would eat the gain."""

MAX_MAGNITUDE = 2.0**126
"""Largest magnitude of a weight; the points of a grid reach up to four times as far."""

MAX_HALF = 2.0**13
"""As ``MAX_MAGNITUDE``, of a weight in half precision."""

CAST_BYTES = 60

FLOAT32_REMEDY = "convert the model to float32 first"

_OFTEN_WITHOUT_WEIGHT = ("Attention", "FusedMatMul", "Gather", "MatMul", "TransposeMatMul")
"""Operators that often read no weight, so that a computed input is nothing to report."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A stored weight of floats and every operator that reads it as one.

    Attributes:
        value: read by the operators.
        tensor: stored content of the value.
        roles: of the operators, at least one; all sum over the same axes of the same groups.
    """

    value: ir.Value
    tensor: ir.TensorProtocol
    roles: tuple[Role, ...]

    @property
    def operator(self) -> str:
        """Name of the first operator that reads it."""
        return self.roles[0].operator

    @property
    def dtype(self) -> ir.DataType:
        """Type of its numbers, in which its operators compute."""
        return self.tensor.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return tuple(self.tensor.shape.numpy())

    @property
    def split_shape(self) -> tuple[int, ...]:
        """Its shape, with an axis more where groups of outputs lie along the axis of inputs."""
        return split_groups(self.roles[0].node, self.shape)

    @property
    def summed(self) -> tuple[int, ...]:
        """Axes of ``split_shape`` that its operators sum over."""
        return self.roles[0].summed

    @property
    def lies_along_one_axis(self) -> bool:
        """True if one DequantizeLinear can give every output a scale: it has one axis for them."""
        split = self.split_shape
        outer = [axis for axis, size in enumerate(split) if axis not in self.summed and size > 1]
        return len(outer) < MATRIX and all(split[axis] == self.shape[axis] for axis in outer)

    @property
    def cast_bytes(self) -> int:
        """Approximate size in the file of the Cast to its type, where it is not float32."""
        return 0 if self.dtype == ir.DataType.FLOAT else CAST_BYTES

    @property
    def is_table(self) -> bool:
        """True where no operator sums over its products, as far as is known."""
        return not self.roles[0].kind

    def read(self) -> Floats:
        """A copy of the weight as float32; external data is released again."""
        with np.errstate(over="ignore"):
            array = np.array(self.tensor.numpy(), np.float32)
        release(self.tensor)
        return array

    def put(self, array: Floats) -> None:
        """Let its operators read this array from now on; ``read`` still gives the original."""
        self.store(_tensor(array, self.dtype, self.value.name))

    def put_later(self, compute: Callable[[], Floats]) -> None:
        """As ``put``, with an array that is computed whenever it is read."""
        shape = ir.Shape(self.shape)
        dtype = self.dtype
        tensor = ir.LazyTensor(
            lambda: _tensor(compute(), dtype), dtype=dtype, shape=shape, name=self.value.name
        )
        self.store(tensor)

    def restore(self) -> None:
        """Let its operators read the original weight again."""
        self.store(self.tensor)

    def store(self, tensor: ir.TensorProtocol) -> None:
        """Store a tensor in place of the weight."""
        node = self.value.producer()
        if node is None:
            self.value.const_value = tensor
        else:
            node.attributes.clear()
            node.attributes["value"] = ir.AttrTensor("value", tensor)


def _tensor(array: Floats, dtype: ir.DataType, name: str | None = None) -> ir.TensorProtocol:
    typed = np.ascontiguousarray(array).astype(dtype.numpy(), copy=False)
    return ir.Tensor(typed, dtype=dtype, name=name)


@dataclass(frozen=True, slots=True)
class WeightSite:
    """A weight that a method changes; each method adds its decisions.

    Attributes:
        weight: the stored weight.
        notes: remarks on the decision.
    """

    weight: Weight
    notes: tuple[Note, ...] = field(default=(), kw_only=True)

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return self.weight.operator


S = TypeVar("S", bound=WeightSite)


def weight_sites(graph: ir.Model, *, fused: bool = False) -> Iterator[Weight | Refusal]:
    """Every stored weight of a product or lookup once, and refusals of unsuitable weights.

    Args:
        graph: the model.
        fused: whether weights of ONNX Runtime's own operators are listed too.
    """
    roles: dict[int, list[tuple[Role, ir.Value]]] = {}
    constants = cache(partial(constant_values, graph))  # hardly any model needs it
    for role, value in weight_roles(graph, fused=fused):
        if value is not None and stored(value) is not None:
            roles.setdefault(id(value), []).append((role, value))
        elif fused and stores_floats_behind(value, MIN_WEIGHT_SIZE):
            continue  # they are sites of their own
        elif role.node.op_type not in _OFTEN_WITHOUT_WEIGHT or id(value) in constants():
            yield not_stored_refusal(graph, role.operator, value, constants())
    for readers in roles.values():
        site = weight_site(readers[0][1], tuple(role for role, _ in readers))
        if isinstance(site, Weight) and site.tensor.size < MIN_WEIGHT_SIZE:
            reason = f"its weight has {site.tensor.size} numbers: too few to gain"
            yield Refusal(site.operator, "too-small", reason)
        else:
            yield site


def every_weight_site(graph: ir.Model) -> Iterator[Weight | Refusal]:
    """As ``weight_sites``, and those of ONNX Runtime's own operators after them."""
    named = set()
    for site in weight_sites(graph):
        named.add(site.operator)
        yield site
    yield from (site for site in weight_sites(graph, fused=True) if site.operator not in named)


def not_stored_refusal(
    graph: ir.Model, operator: str, value: ir.Value | None, constants: Collection[int] = ()
) -> Refusal:
    """Refusal of a weight that is an input, of the model or of a body, or is computed.

    Args:
        graph: the model.
        operator: that reads it.
        value: the weight.
        constants: identities of the values that are computed from stored ones.
    """
    if value is not None and value.is_graph_input() and value not in graph.graph.inputs:
        return Refusal(
            operator,
            "computed-weight",
            "its weight comes into the body of a loop anew at every iteration",
            "run simplify first: what stays the same is then read from outside",
        )
    if value is not None and value.is_graph_input():
        return Refusal(
            operator,
            "model-input",
            "its weight is an input of the model, which may be fed",
            "export the model without initializers among its inputs",
        )
    if is_restored(value, 1):
        return Refusal(operator, "already-quantized", "its weight is stored in codes already")
    if id(value) not in constants:
        return Refusal(operator, "computed-weight", "its weight depends on the model's inputs")
    remedy = "run simplify first: it computes what is constant"
    return Refusal(operator, "computed-weight", "its weight is computed, not stored", remedy)


def weight_site(value: ir.Value, readers: tuple[Role, ...]) -> Weight | Refusal:
    """One stored weight as a site, or its refusal."""
    tensor = stored(value)
    assert tensor is not None
    name = readers[0].operator
    if tensor.dtype not in FLOAT_TYPES:
        reason = f"its weight is stored as {tensor.dtype.name}, not in floating point"
        return Refusal(name, "not-float32", reason)
    if is_model_output(value):
        reason = "its weight is also an output of the model, which must not change"
        return Refusal(name, "model-output", reason)
    shape = tuple(tensor.shape.numpy())
    if len({(role.summed, split_groups(role.node, shape)) for role in readers}) > 1:
        names = ", ".join(role.operator for role in readers)
        return Refusal(
            name,
            "shared",
            f"its weight is shared by operators that sum over different axes ({names})",
            "store it twice, or leave it as it is",
        )
    return Weight(value, tensor, readers)


def float32_refusal(weight: Weight) -> Refusal | None:
    """Refusal of a weight of another type by methods that compute; None where it is float32."""
    if weight.dtype == ir.DataType.FLOAT:
        return None
    reason = f"its weight is stored as {weight.dtype.name}, not as float32"
    return Refusal(weight.operator, "not-float32", reason, FLOAT32_REMEDY)


def is_model_output(value: ir.Value) -> bool:
    """Check a value and its copies by Identity."""
    copies = (node.outputs[0] for node in value.consumers() if node.op_type == "Identity")
    return value.is_graph_output() or any(map(is_model_output, copies))


def shared_weight_note(weight: Weight) -> Note:
    """Remark that several operators with separate inputs read a weight."""
    return Note("shared-weight", tuple(role.operator for role in weight.roles))


STANDS_IN = "packlight.stands_in"
"""Note of a tensor that stands in for one whose numbers no method refuses."""


def stand_in(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Zeros of a tensor's type and shape, made when they are read.

    Methods take its numbers as usable: give none for a tensor that they may refuse.
    """
    dtype = tensor.dtype
    shape = tensor.shape.numpy()
    zeros = ir.LazyTensor(
        lambda: ir.Tensor(np.zeros(shape, dtype.numpy()), dtype=dtype),
        dtype=dtype,
        shape=ir.Shape(shape),
        name=tensor.name,
        cache=False,
    )
    zeros.meta[STANDS_IN] = True
    return zeros


def weight_defect(site: Weight) -> Refusal | None:
    """Refusal of a weight whose numbers cannot be quantized; None where they can."""
    if STANDS_IN in site.tensor.meta:
        return None
    sizes = np.abs(site.read())
    bad = int(np.count_nonzero(~np.isfinite(sizes)))
    if bad:
        reason = f"its weight holds {bad} numbers that are NaN or infinite"
        return Refusal(site.operator, "not-finite", reason + _in_float32(site))
    most = float(sizes.max(initial=0.0))
    half = site.dtype == ir.DataType.FLOAT16
    if most > (MAX_HALF if half else MAX_MAGNITUDE):
        kind = "float16" if half else "float32"
        reason = f"its weight reaches {most:.2g}: points beside it would leave the range of {kind}"
        return Refusal(site.operator, "overflow", reason)
    if site.dtype == ir.DataType.DOUBLE and most < SMALLEST_NORMAL and _holds_numbers(site.tensor):
        reason = "all numbers of its weight are below the range of float32"
        return Refusal(site.operator, "underflow", reason)
    return None


SMALLEST_NORMAL = float(np.finfo(np.float32).smallest_normal)


def _in_float32(site: Weight) -> str:
    return " in float32" if site.dtype == ir.DataType.DOUBLE else ""


def _holds_numbers(tensor: ir.TensorProtocol) -> bool:
    return bool(np.any(tensor.numpy()))
