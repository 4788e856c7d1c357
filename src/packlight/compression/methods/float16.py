"""Half precision: weights stored as FLOAT16, computed in the type that they had.

Inputs and outputs of the model keep their types. The Cast back is computed once, when
the session starts, so speed is that of float32 on processors without float16 kernels.
Source: IEEE 754-2019, binary16: largest 65,504, smallest normal 6.1e-5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from packlight.compression.encoding.storage import Expansion
from packlight.compression.method import Method
from packlight.compression.sites.table_sites import SETTLED, stored_floats
from packlight.compression.sites.weight_sites import STANDS_IN, not_stored_refusal
from packlight.model import release
from packlight.records.configs import Float16
from packlight.records.storage import StoredFloat16
from packlight.records.variant import Change, Refusal
from packlight.runtime.calibration import Calibrator

LARGEST = float(np.finfo(np.float16).max)
LEAST = 2.0**-17
"""The least number of which a half keeps 8 binary digits, of 11 that it has elsewhere."""

HALF_BYTES = 2

SMALLEST = 128
"""Numbers below which the Cast and its names take more bytes than the halving saves."""


@dataclass(frozen=True, slots=True)
class Site:
    """A stored tensor of floats.

    Attributes:
        value: what the operators read.
        tensor: what is stored.
        operator: name of the first operator that reads it.
    """

    value: ir.Value
    tensor: ir.TensorProtocol
    operator: str


def sites(graph: ir.Model, config: Float16) -> Iterator[Site | Refusal]:
    """Every stored tensor of floats that gains, and refusals of others."""
    del config
    for value, tensor in stored_floats(graph, 1):
        name = str(next(iter(value.consumers())).name)
        if tensor.size < SMALLEST:
            reason = f"its '{value.name}' has {tensor.size} numbers: too few to gain"
            yield Refusal(name, "too-small", reason)
        elif tensor.dtype.itemsize <= HALF_BYTES:
            reason = f"its '{value.name}' is stored in 16 bits already"
            yield Refusal(name, "not-smaller", reason)
        elif value.is_graph_input():
            yield not_stored_refusal(graph, name, value)
        elif value.is_graph_output():
            reason = f"its '{value.name}' is an output of the model: must not change"
            yield Refusal(name, "model-output", reason)
        else:
            yield Site(value, tensor, name)


def range_refusal(site: Site) -> Refusal | None:
    """Reason why a tensor does not fit into 16 bits; None where it does. NaN and infinity do."""
    if STANDS_IN in site.tensor.meta:
        return None
    array = np.abs(site.tensor.numpy())
    release(site.tensor)
    finite = np.isfinite(array)
    over = int(np.count_nonzero(finite & (array > LARGEST)))
    if over:
        reason = f"{over} numbers of '{site.value.name}' are above {LARGEST:.0f}"
        return Refusal(site.operator, "overflow", reason)
    if 0 < array.max(initial=0.0, where=finite) < LEAST:
        reason = f"all numbers of '{site.value.name}' are below {LEAST:.2g}, where digits get lost"
        return Refusal(site.operator, "underflow", reason)
    return None


def apply(
    graph: ir.Model, sites: Sequence[Site], calibrator: Calibrator, config: Float16
) -> list[Change | Refusal]:
    """Store each tensor in 16 bits, with a Cast before its first use."""
    del calibrator, config
    return [halve(graph, site) for site in sites]


def halve(graph: ir.Model, site: Site, *, settled: bool = False) -> Change:
    """Store one tensor in 16 bits, with a Cast before its first use.

    Args:
        graph: the model.
        site: of the tensor.
        settled: whether later steps leave it so.
    """
    expansion = Expansion(graph, site.value)

    def half() -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
        rounded = np.array(site.tensor.numpy()).astype(np.float16)
        release(site.tensor)
        return rounded

    shape = site.tensor.shape.numpy()
    codes = expansion.store("half", ir.DataType.FLOAT16, shape, half)
    if settled:
        codes.meta[SETTLED] = True
    expansion.replace(expansion.operator("Cast", [codes], to=int(site.tensor.dtype)))
    size = site.tensor.nbytes
    return Change(site.operator, "float16", StoredFloat16(), size, site.tensor.size * HALF_BYTES)


METHOD = Method(
    summary="store weights in 16 bits, compute in float32",
    config=Float16,
    opset=lambda _: 1,
    sites=sites,
    apply=apply,
    least_size=SMALLEST,
    inspect=range_refusal,
)
