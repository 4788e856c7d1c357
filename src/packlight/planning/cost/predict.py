"""What a model would cost on a device that is only described: time, memory, energy.

Each operator takes the longer of its arithmetic at the unit's peak and its traffic at the memory's
bandwidth (Williams et al., "Roofline", 2009), over the share of that which real kernels reach, and
an overhead for each call. Shares are ranges, so times are intervals. Activations that runtimes fuse
into the operator before them cost nothing. On a measured device ``kernels`` tells the time instead.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight.benchmarking.latency import CPU
from packlight.devices import operator_set
from packlight.model import nodes
from packlight.planning.already_quantized import integer_operators
from packlight.planning.cost.kernels import Kernels
from packlight.records.device import Device, Unit
from packlight.records.measurement import Measurement, counted
from packlight.records.profile import OperatorCost, Profile

Floats = NDArray[np.float64]

BYTES: Final[Mapping[str, int]] = {"float32": 4, "float16": 2, "int8": 1}
"""Of one activation."""

FAMILIES: Final[Mapping[str, str]] = {
    "Conv": "conv", "ConvTranspose": "conv", "DeformConv": "conv", "ConvInteger": "conv",
    "QLinearConv": "conv", "Gemm": "matmul", "MatMul": "matmul", "Einsum": "matmul",
    "Attention": "matmul", "MatMulInteger": "matmul", "QLinearMatMul": "matmul",
    "MatMulNBits": "matmul", "DynamicQuantizeMatMul": "matmul", "MatMulIntegerToFloat": "matmul",
    "QAttention": "matmul", "QGemm": "matmul", "DynamicQuantizeLSTM": "recurrent",
    "LSTM": "recurrent", "GRU": "recurrent", "RNN": "recurrent",
}  # fmt: skip
"""Kinds of operators whose kernels are alike; all others are ``other``."""

FUSED: Final = frozenset((
    "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Add",
    "BatchNormalization",
))  # fmt: skip
"""What runtimes compute while they write the result of a product; ``Add`` only of a stored bias."""

FREE: Final = frozenset((
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Constant", "Shape", "Cast",
    "Dropout",
))  # fmt: skip
"""What moves no data, or next to none."""

ALLOWANCE = 0.1
"""Of a ratio of times: what is common to both mostly cancels, not quite."""

ONNXRUNTIME = "onnxruntime"
DOMAINS: Final = frozenset(
    ("ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")
)
"""Of operators that ONNX Runtime has beside those of ONNX's own domain."""

MICRO = "tflite-micro"
"""The runtime of microcontrollers, which leaves weights where they are stored."""

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

SAME = Measurement(1.0, "1", 0.97, 1.03, "estimated", 1)
"""The ratio of times where arithmetic and traffic stay as they are; measured ones differ so far."""

WHOLE = 1.0
"""Bytes of a stored number below which products restore it as they read it."""

RESTING = 8_000_000
"""Bytes that a runtime takes beside the model, at most about."""

ENERGY_SPREAD = (0.5, 20.0)
"""Published energies of one operation differ by a factor of two either way. What it takes to fetch
and decode an instruction is in none of them: on a CPU tens of pJ, many times the operation's."""

OTHER_KERNELS = 1.5
"""Factor by which a ratio of times may be off where kernels of another type compute. It held for
all of eight models that were measured in float and in integers (benchmarks/RESULTS.md)."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of a model asks of a machine, operator by operator.

    Attributes:
        names: of operators.
        families: of each.
        macs: of each.
        dtypes: in which each computes as it is.
        numbers: activations read and written, each.
        weights: what is stored and read at every run, each, in numbers of four bytes.
        calls: whether each is a call of a kernel: 1, or 0 where it is fused, free or done at load.
        arena: bytes for activations as it is.
        stored: as ``weights``, in all, where operators that read the same count it once.
        unknown: operators whose cost is not known.
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    dtypes: tuple[str, ...]
    macs: Floats
    numbers: Floats
    weights: Floats
    calls: Floats
    arena: float
    stored: float
    unknown: int


def load_of(graph: ir.Model, profile: Profile) -> Load:
    """What a profiled model asks of a machine."""
    by_name = {str(node.name): node for node in nodes(graph)}
    costs = [one for one in profile.operators if one.name in by_name]
    now = integer_operators(graph, profile)
    width = [1 if one.name in now.by_type else BYTES["float32"] for one in costs]
    calls = [one.name not in now.gone and is_call(by_name[one.name], one) for one in costs]
    return Load(
        names=tuple(one.name for one in costs),
        families=tuple(family(by_name[one.name]) for one in costs),
        dtypes=tuple("int8" if one.name in now.all else "float32" for one in costs),
        macs=column(costs, "macs"),
        numbers=column(costs, "activation_bytes") / np.array(width),
        weights=column(costs, "loaded_bytes") / BYTES["float32"],
        calls=np.array(calls, float),
        arena=now.arena,
        stored=profile.totals["loaded_bytes"].value / BYTES["float32"],
        unknown=sum(one.macs is None for one in costs),
    )


def column(costs: Sequence[OperatorCost], field: str) -> Floats:
    """A cost of every operator in one run; 0 where it is not known."""
    return np.array([float(getattr(one, field) or 0) for one in costs])


def family(node: ir.Node) -> str:
    """Which kernels an operator is computed by."""
    found = FAMILIES.get(node.op_type, "other")
    if found == "conv" and node.attributes.get_int("group", 1) > 1:
        return "depthwise"
    return found


def is_call(node: ir.Node, cost: OperatorCost) -> bool:
    """Whether a runtime calls a kernel for an operator at every run."""
    if cost.at_load or cost.runs == 0 or node.op_type in FREE:
        return False
    if node.op_type not in FUSED:
        return True
    reads = [value for value in node.inputs if value is not None and value.const_value is None]
    before = reads[0].producer() if reads else None
    alone = before is not None and len(list(reads[0].uses())) == 1 and len(reads) == 1
    return not (alone and before is not None and family(before) != "other")


@dataclass(frozen=True, slots=True)
class Kind:
    """How operators compute, one entry for each.

    Attributes:
        dtypes: of products.
        weight_bytes: of one stored number as it is read at every run.
    """

    dtypes: tuple[str, ...]
    weight_bytes: Floats

    def like(self, other: Kind) -> bool:
        """Whether arithmetic and traffic are the same."""
        same = np.array_equal(self.weight_bytes, other.weight_bytes)
        return self.dtypes == other.dtypes and same


class Predictor:
    """Predicts costs of one model on one unit of a device.

    Args:
        load: what the model asks.
        device: what it runs on.
        unit: which of its units computes.
        kernels: times of them, where the unit was measured.
    """

    def __init__(
        self, load: Load, device: Device, unit: str, kernels: Kernels | None = None
    ) -> None:
        self.load = load
        self.kernels = kernels
        self.device = device
        self.unit: Unit = device.units[unit]
        self.plain = Kind(load.dtypes, np.full(len(load.names), float(BYTES["float32"])))
        self.products = np.array([name != "other" for name in load.families], bool)
        self.tables: dict[str, Floats] = {}

    def integer_products(self) -> frozenset[str]:
        """Names of the products that compute in integers as the model is."""
        codes = np.array([dtype == "int8" for dtype in self.plain.dtypes], bool)
        return frozenset(self.load.names[at] for at in np.flatnonzero(codes & self.products))

    def computes(self, dtype: str) -> str:
        """The data type that a wanted one is really computed in."""
        runtimes = [self.device.runtimes[name] for name in self.unit.runtimes]
        offered = {known for runtime in runtimes for known in runtime.dtypes}
        return dtype if dtype in self.unit.peak and dtype in offered else self.fallback()

    def fallback(self) -> str:
        """float32 where the unit has it, else its first type."""
        return "float32" if "float32" in self.unit.peak else next(iter(self.unit.peak))

    def seconds(self, kind: Kind) -> tuple[float, float]:
        """The least and the most time of one run."""
        if self.kernels is not None:
            codes = np.array([dtype == "int8" for dtype in kind.dtypes], bool)
            codes &= np.array([dtype != "int8" for dtype in self.plain.dtypes], bool)
            found = self.kernels.latency(codes & self.products, kind.weight_bytes < WHOLE)
            return found.low, found.high
        arithmetic, traffic, low, high = self.roofline(kind)
        bound = np.maximum(arithmetic, traffic) * self.load.calls
        wait = self.unit.overhead * float(self.load.calls.sum())
        return float((bound / high).sum()) + wait / 2, float((bound / low).sum()) + wait * 2

    def roofline(self, kind: Kind) -> Floats:
        """(4, operators): seconds of arithmetic and of traffic, shares of slow and fast kernels."""
        which = {dtype: place for place, dtype in enumerate(dict.fromkeys(kind.dtypes))}
        rows = np.array([which[dtype] for dtype in kind.dtypes], np.int64)
        times = np.array([self.columns(dtype) for dtype in which]).reshape(len(which), 4, len(rows))
        arithmetic, low, high, moved = (times[rows, at, np.arange(len(rows))] for at in range(4))
        moved = moved + self.load.weights * kind.weight_bytes
        traffic = moved / self.device.bandwidth if self.device.bandwidth else np.zeros_like(moved)
        return np.stack([arithmetic, traffic, low, high])

    def waiting(self) -> float:
        """Share of the time of the model as it is that goes to memory traffic, not arithmetic."""
        arithmetic, traffic, _, high = self.roofline(self.plain)
        times = np.maximum(arithmetic, traffic) * self.load.calls / high
        return float(times[traffic > arithmetic].sum() / (times.sum() or 1.0))

    def columns(self, dtype: str) -> Floats:
        """(4, operators): seconds of arithmetic, shares of slow and fast kernels, bytes moved."""
        if dtype not in self.tables:
            real = self.computes(dtype)
            shares = [self.unit.share(name, real) for name in self.load.families]
            self.tables[dtype] = np.stack([
                self.load.macs / self.unit.peak[real],
                np.array([share.low for share in shares]),
                np.array([share.high for share in shares]),
                self.load.numbers * BYTES.get(real, 4),
            ])  # fmt: skip
        return self.tables[dtype]

    def latency(self, kind: Kind) -> dict[str, Measurement]:
        """Time, and its ratio to that of the model as it is."""
        if self.load.unknown or not np.isfinite(self.load.numbers).all():
            return {}
        low, high = self.seconds(kind)
        if kind is self.plain:
            return {"latency": between(low, high, "s"), "latency_ratio": counted(1.0)}
        if kind.like(self.plain):
            return {"latency": between(low, high, "s"), "latency_ratio": SAME}
        before = self.seconds(self.plain)
        ratios = sorted((low / before[0], high / before[1]))
        off = 1 + ALLOWANCE if kind.dtypes == self.plain.dtypes else OTHER_KERNELS
        ratio = between(ratios[0] / off, ratios[1] * off, "1")
        return {"latency": between(low, high, "s"), "latency_ratio": ratio}

    def memory(self, kind: Kind, size: Measurement) -> dict[str, Measurement]:
        """Bytes while it runs: expanded weights, activations, and what the runtime takes.

        On a microcontroller weights stay where they are stored, and memory is for activations.
        """
        if math.isnan(self.load.arena):
            return {}
        arena = self.load.arena * self.width(kind) / self.width(self.plain)
        if MICRO in self.unit.runtimes:
            return {"peak_memory": between(arena, arena * 1.2, "B")}
        shared = self.load.weights.sum() or 1.0
        loaded = float(self.load.weights @ kind.weight_bytes) * min(1.0, self.load.stored / shared)
        most = loaded + arena * 1.2 + size.high + RESTING
        return {"peak_memory": between(loaded + arena, most, "B")}

    def width(self, kind: Kind) -> float:
        """Bytes of one activation, in the mean over operators."""
        widths = {dtype: BYTES.get(self.computes(dtype), 4) for dtype in set(kind.dtypes)}
        return float(np.mean([widths[dtype] for dtype in kind.dtypes] or [4]))

    def energy(self, kind: Kind) -> dict[str, Measurement]:
        """Joules of arithmetic and of traffic to memory, with room for what else that takes."""
        known = self.device.energy
        if known is None or self.load.unknown:
            return {}
        total = 0.0
        for dtype in dict.fromkeys(kind.dtypes):
            real, here = self.computes(dtype), np.array([one == dtype for one in kind.dtypes])
            if real not in known.mac:
                return {}
            total += known.mac[real] * float(self.load.macs @ here)
            total += known.byte * float(self.load.numbers @ (here * self.load.calls)) * BYTES[real]
        total += known.byte * float(self.load.weights @ (kind.weight_bytes * self.load.calls))
        least, most = ENERGY_SPREAD
        return {"energy": between(total * least, total * most, "J")}

    def costs(self, kind: Kind, size: Measurement) -> dict[str, Measurement]:
        """All of them."""
        return {**self.latency(kind), **self.memory(kind, size), **self.energy(kind)}


def between(low: float, high: float, unit: str) -> Measurement:
    """An estimate somewhere in an interval, in the middle by ratio."""
    middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
    return Measurement(middle, unit, low, high, "estimated", 1)  # type: ignore[arg-type]


def functions_of(graph: ir.Model) -> frozenset[str]:
    """Types of operators that are functions of the model's own, which a runtime writes out."""
    return frozenset(f"{domain}.{name}" for domain, name, _ in graph.functions)


def missing(
    device: Device,
    unit: str,
    profile: Profile,
    own: Collection[str],
    dtypes: Mapping[str, str] = NOTHING,
) -> Iterator[tuple[str, str]]:
    """Operators that no runtime of a unit runs, with their types, as ``Conv in bfloat16`` if only
    that is why.

    Args:
        device: what the model must run on.
        unit: of it, that computes.
        profile: of the model.
        own: types of functions of the model's own.
        dtypes: data types that operators compute in, by their names, where these are rare.
    """
    runtimes = device.units[unit].runtimes
    names = {device.runtimes[name].operators for name in runtimes}
    sets = [operator_set(name) for name in sorted(names)]
    for one in profile.operators:
        if one.op in own or (ONNXRUNTIME in runtimes and "." in one.op):
            continue  # ONNX Runtime has some of its own, and users register others: see ``foreign``
        dtype = dtypes.get(one.name, "") if unit == CPU else ""
        if one.at_load:
            continue
        if not any(known.runs(one.op) for known in sets):
            yield one.name, one.op
        elif any(one.op in known.lacks.get(dtype, ()) for known in sets):
            yield one.name, f"{one.op} in {dtype}"  # whether a converter changes types is not known


def foreign(device: Device, unit: str, profile: Profile, own: Collection[str]) -> tuple[str, ...]:
    """Types of operators that run only where a user registers them; arguments as ``missing``."""
    if ONNXRUNTIME not in device.units[unit].runtimes:
        return ()
    named = dict.fromkeys(one.op for one in profile.operators if "." in one.op)
    return tuple(op for op in named if op not in own and op.rpartition(".")[0] not in DOMAINS)
