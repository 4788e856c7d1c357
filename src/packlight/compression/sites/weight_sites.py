"""Stored weights as sites, shared by every method that changes how weights are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.compression.sites.weight_roles import (
    Role,
    computed_from_stored,
    roles,
    stored,
    unclaimed,
)
from packlight.model import release
from packlight.records.storage import Note
from packlight.records.variant import Refusal

Floats = NDArray[np.float32]

SMALLEST = 256
"""Weights with fewer numbers than this are left alone: scales and operators would eat the gain."""

LARGEST = 2.0**126
"""Largest magnitude of a weight; points of a grid reach up to four times as far as its numbers."""

OPTIONAL = ("MatMul", "Gather")
"""Operators that often read no weight at all, so that a computed input is nothing to report."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A stored float32 weight and every operator that reads it as one.

    Attributes:
        value: what the operators read.
        tensor: what is stored.
        roles: how they read it, at least one; all sum over the same axes.
    """

    value: ir.Value
    tensor: ir.TensorProtocol
    roles: tuple[Role, ...]

    @property
    def operator(self) -> str:
        """Name of the first operator that reads it."""
        return self.roles[0].operator

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return tuple(self.tensor.shape.numpy())

    @property
    def summed(self) -> tuple[int, ...]:
        """Axes that its operators sum over."""
        return self.roles[0].summed

    def read(self) -> Floats:
        """A copy of the weight; what lies in external data is let go again."""
        array = np.array(self.tensor.numpy(), np.float32)
        release(self.tensor)
        return array

    def put(self, array: Floats) -> None:
        """Let its operators read other numbers from now on; ``read`` still gives the old ones."""
        self.hold(ir.Tensor(np.ascontiguousarray(array), name=self.value.name))

    def put_later(self, compute: Callable[[], Floats]) -> None:
        """As ``put``, with numbers that are computed whenever they are read."""
        dtype, shape = ir.DataType.FLOAT, ir.Shape(self.shape)
        made = partial(tensor_of, compute)
        self.hold(ir.LazyTensor(made, dtype=dtype, shape=shape, name=self.value.name))

    def restore(self) -> None:
        """Let its operators read what was stored when the site was found."""
        self.hold(self.tensor)

    def hold(self, tensor: ir.TensorProtocol) -> None:
        """Store a tensor in its place."""
        node = self.value.producer()
        if node is None:
            self.value.const_value = tensor
        else:
            node.attributes.clear()
            node.attributes["value"] = ir.AttrTensor("value", tensor)


def tensor_of(
    compute: Callable[[], Floats],
) -> ir.TensorProtocol:
    """Numbers that were computed, as a tensor."""
    return ir.Tensor(np.ascontiguousarray(compute()))


@dataclass(frozen=True, slots=True)
class WeightSite:
    """A weight that a method changes; each adds what it decides.

    Attributes:
        weight: what is stored now.
        notes: remarks on the decision.
    """

    weight: Weight
    notes: tuple[Note, ...] = field(default=(), kw_only=True)

    @property
    def operator(self) -> str:
        """Name of the operator."""
        return self.weight.operator


S = TypeVar("S", bound=WeightSite)


def decided(graph: ir.Model, decide: Callable[[Weight], S | Refusal]) -> Iterator[S | Refusal]:
    """Every stored weight as a method decides about it, and why others are none."""
    for found in weight_sites(graph):
        yield found if isinstance(found, Refusal) else decide(found)
    for node, value, remedy in unclaimed(graph, SMALLEST):
        reason = f"how {node.op_type} reads its weight '{value.name}' is not supported"
        yield Refusal(str(node.name), "unsupported-operator", reason, remedy)


def weight_sites(graph: ir.Model) -> Iterator[Weight | Refusal]:
    """Every stored float32 weight once, and why others are none."""
    found: dict[int, list[tuple[Role, ir.Value]]] = {}
    constants = cache(partial(computed_from_stored, graph))  # hardly any model needs it
    for role, value in roles(graph):
        if value is not None and stored(value) is not None:
            found.setdefault(id(value), []).append((role, value))
        elif role.node.op_type not in OPTIONAL or id(value) in constants():
            yield not_stored(role.operator, value)
    for readers in found.values():
        site = weight_site(readers[0][1], tuple(role for role, _ in readers))
        if isinstance(site, Weight) and site.tensor.size < SMALLEST:
            reason = f"its weight has {site.tensor.size} numbers: too few to gain"
            yield Refusal(site.operator, "too-small", reason)
        else:
            yield site


def not_stored(operator: str, value: ir.Value | None) -> Refusal:
    """Why a weight that an operator does not read from the file itself is no site."""
    if value is not None and value.is_graph_input():
        return Refusal(
            operator,
            "model-input",
            "its weight is an input of the model, which may be fed",
            "export the model without initializers among its inputs",
        )
    remedy = "run simplify first: it computes what is constant"
    return Refusal(operator, "computed-weight", "its weight is computed, not stored", remedy)


def weight_site(value: ir.Value, readers: tuple[Role, ...]) -> Weight | Refusal:
    """One stored weight as a site, or why it is none."""
    tensor = stored(value)
    assert tensor is not None
    name = readers[0].operator
    if tensor.dtype != ir.DataType.FLOAT:
        reason = f"its weight is stored as {tensor.dtype.name}, not as float32"
        return Refusal(name, "not-float32", reason)
    if published(value):
        reason = "its weight is also an output of the model, which must not change"
        return Refusal(name, "model-output", reason)
    if len({role.summed for role in readers}) > 1:
        others = ", ".join(role.operator for role in readers)
        return Refusal(
            name,
            "shared",
            f"its weight is shared by operators that sum over different axes ({others})",
            "store it twice, or leave it as it is",
        )
    return Weight(value, tensor, readers)


def shared(weight: Weight) -> Note:
    """A remark that a weight has no inputs of its own to be rounded by."""
    return Note("shared-weight", tuple(role.operator for role in weight.roles))


def published(value: ir.Value) -> bool:
    """Whether a value is an output of its graph, by its own name or another."""
    again = (node.outputs[0] for node in value.consumers() if node.op_type == "Identity")
    return value.is_graph_output() or any(published(other) for other in again)


def unusable(site: Weight) -> Refusal | None:
    """Why a site's numbers cannot be used; None where they can."""
    sizes = np.abs(site.read())
    bad = int(np.count_nonzero(~np.isfinite(sizes)))
    if bad:
        reason = f"its weight holds {bad} numbers that are NaN or infinite"
        return Refusal(site.operator, "not-finite", reason)
    most = float(sizes.max(initial=0.0))
    if most > LARGEST:
        reason = f"its weight reaches {most:.2g}: points beside it would leave the range of float32"
        return Refusal(site.operator, "overflow", reason)
    return None
