"""Predicted latency, memory and energy of a model on a device.

On a described device an operator takes the longer of its arithmetic at the unit's peak and its
traffic at the memory's bandwidth (Williams et al., "Roofline", 2009), divided by the share of those
that real kernels reach, plus an overhead for each call. Shares are ranges, so latencies are
intervals. Activations that runtimes fuse into the operator before them cost nothing. On a measured
device ``kernels`` predicts the latency instead.
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
"""Of one activation, by data type."""

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
"""Operators computed while the result of a product is written; ``Add`` only of a stored bias."""

FREE: Final = frozenset((
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Constant", "Shape", "Cast",
    "Dropout",
))  # fmt: skip
"""Operators that move no data, or next to none."""

RATIO_ERROR = 0.1
"""Relative error of a ratio of latencies: most errors are common to both and cancel."""

ONNXRUNTIME = "onnxruntime"
DOMAINS: Final = frozenset(
    ("ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")
)
"""Domains of ONNX Runtime's own operators."""

MICRO = "tflite-micro"
"""Runtime of microcontrollers, which leaves weights where they are stored."""

NO_DTYPES: Final[Mapping[str, str]] = MappingProxyType({})

UNCHANGED_RATIO = Measurement(1.0, "1", 0.97, 1.03, "estimated", 1)
"""Ratio of latencies where arithmetic and traffic stay the same; measured ones spread so far."""

FUSED_BELOW_BYTES = 1.0
"""Bytes of a stored number below which products restore it as they read it."""

RUNTIME_BYTES = 8_000_000
"""Memory of the runtime itself, at most about."""

ENERGY_SPREAD = (0.5, 20.0)
"""Published energies of one operation differ by a factor of two either way. None includes fetching
and decoding an instruction: on a CPU tens of pJ, many times the operation's."""

OTHER_KERNELS = 1.5
"""Error factor of a ratio of latencies where kernels of another type compute. It held for all of
eight models that were measured in float and in integers (benchmarks/RESULTS.md)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Work of one run of a model, operator by operator.

    Attributes:
        names: of operators.
        families: of each.
        dtypes: in which each computes in the original model.
        macs: of each.
        numbers: activations read and written, each.
        weights: stored values read at every run, each, in numbers of four bytes.
        calls: 1 where an operator is a call of a kernel; 0 where it is fused, free or done at load.
        arena: bytes for activations.
        stored: total of ``weights``, where operators that read the same value count it once.
        unknown: number of operators whose cost is not known.
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


def workload_of(graph: ir.Model, profile: Profile) -> Workload:
    """Work of a profiled model."""
    by_name = {str(node.name): node for node in nodes(graph)}
    costs = [cost for cost in profile.operators if cost.name in by_name]
    integer = integer_operators(graph, profile)
    width = [1 if cost.name in integer.by_type else BYTES["float32"] for cost in costs]
    calls = [cost.name not in integer.gone and is_call(by_name[cost.name], cost) for cost in costs]
    return Workload(
        names=tuple(cost.name for cost in costs),
        families=tuple(kernel_family(by_name[cost.name]) for cost in costs),
        dtypes=tuple("int8" if cost.name in integer.all else "float32" for cost in costs),
        macs=_cost_column(costs, "macs"),
        numbers=_cost_column(costs, "activation_bytes") / np.array(width),
        weights=_cost_column(costs, "loaded_bytes") / BYTES["float32"],
        calls=np.array(calls, float),
        arena=integer.arena,
        stored=profile.totals["loaded_bytes"].value / BYTES["float32"],
        unknown=sum(cost.macs is None for cost in costs),
    )


def _cost_column(costs: Sequence[OperatorCost], field: str) -> Floats:
    """A cost of every operator in one run; 0 where it is not known."""
    return np.array([float(getattr(cost, field) or 0) for cost in costs])


def kernel_family(node: ir.Node) -> str:
    """Family of the kernels that compute an operator."""
    family = FAMILIES.get(node.op_type, "other")
    if family == "conv" and node.attributes.get_int("group", 1) > 1:
        return "depthwise"
    return family


def is_call(node: ir.Node, cost: OperatorCost) -> bool:
    """Tell whether a runtime calls a kernel for an operator at every run."""
    if cost.at_load or cost.runs == 0 or node.op_type in FREE:
        return False
    if node.op_type not in FUSED:
        return True
    reads = [value for value in node.inputs if value is not None and value.const_value is None]
    if len(reads) != 1 or len(list(reads[0].uses())) != 1:
        return True
    maker = reads[0].producer()
    return maker is None or kernel_family(maker) == "other"


@dataclass(frozen=True, slots=True)
class Precision:
    """Precision of each operator.

    Attributes:
        dtypes: of products.
        weight_bytes: of one stored number as it is read at every run.
    """

    dtypes: tuple[str, ...]
    weight_bytes: Floats

    def equals(self, precision: Precision) -> bool:
        """Check that arithmetic and traffic are the same."""
        same_bytes = np.array_equal(self.weight_bytes, precision.weight_bytes)
        return self.dtypes == precision.dtypes and same_bytes


class Predictor:
    """Predicts costs of one model on one unit of a device.

    Args:
        workload: of the model.
        device: that it runs on.
        unit: of the device, that computes.
        kernels: their latencies, where the unit was measured.
        larger: of the model that this one was made of by structural steps.
    """

    def __init__(
        self,
        workload: Workload,
        device: Device,
        unit: str,
        kernels: Kernels | None = None,
        larger: Predictor | None = None,
    ) -> None:
        self.workload = workload
        self.kernels = kernels
        self.larger = larger
        self.device = device
        self.unit: Unit = device.units[unit]
        float_bytes = np.full(len(workload.names), float(BYTES["float32"]))
        self.original = Precision(workload.dtypes, float_bytes)
        self.products = np.array([name != "other" for name in workload.families], bool)
        self._columns: dict[str, Floats] = {}

    def integer_products(self) -> frozenset[str]:
        """Names of the products that compute in integers in the original model."""
        codes = np.array([dtype == "int8" for dtype in self.original.dtypes], bool)
        return frozenset(self.workload.names[row] for row in np.flatnonzero(codes & self.products))

    def computes(self, dtype: str) -> str:
        """The data type in which the unit really computes products of this one."""
        runtimes = [self.device.runtimes[name] for name in self.unit.runtimes]
        if dtype in self.unit.peak and any(dtype in runtime.dtypes for runtime in runtimes):
            return dtype
        return "float32" if "float32" in self.unit.peak else next(iter(self.unit.peak))

    def seconds(self, precision: Precision) -> tuple[float, float]:
        """The least and the most seconds of one run."""
        if self.kernels is not None:
            codes = np.array([dtype == "int8" for dtype in precision.dtypes], bool)
            codes &= np.array([dtype != "int8" for dtype in self.original.dtypes], bool)
            blocks = precision.weight_bytes < FUSED_BELOW_BYTES
            latency = self.kernels.latency(codes & self.products, blocks)
            return latency.low, latency.high
        arithmetic, traffic, low, high = self.roofline(precision)
        bound = np.maximum(arithmetic, traffic) * self.workload.calls
        overhead = self.unit.overhead * float(self.workload.calls.sum())
        return float((bound / high).sum()) + overhead / 2, float((bound / low).sum()) + overhead * 2

    def roofline(self, precision: Precision) -> Floats:
        """(4, operators): seconds of arithmetic and of traffic, shares of slow and fast kernels."""
        index = {dtype: i for i, dtype in enumerate(dict.fromkeys(precision.dtypes))}
        rows = np.array([index[dtype] for dtype in precision.dtypes], np.int64)
        table = np.array([self.columns(dtype) for dtype in index]).reshape(len(index), 4, len(rows))
        arithmetic, low, high, moved = (table[rows, i, np.arange(len(rows))] for i in range(4))
        moved = moved + self.workload.weights * precision.weight_bytes
        traffic = np.zeros_like(moved)
        if self.device.bandwidth:
            traffic = moved / self.device.bandwidth
        return np.stack([arithmetic, traffic, low, high])

    def memory_share(self) -> float:
        """Share of the original model's latency that goes to memory traffic, not arithmetic."""
        arithmetic, traffic, _, high = self.roofline(self.original)
        times = np.maximum(arithmetic, traffic) * self.workload.calls / high
        return float(times[traffic > arithmetic].sum() / (times.sum() or 1.0))

    def columns(self, dtype: str) -> Floats:
        """(4, operators): seconds of arithmetic, shares of slow and fast kernels, bytes moved."""
        if dtype not in self._columns:
            real = self.computes(dtype)
            shares = [self.unit.share(name, real) for name in self.workload.families]
            self._columns[dtype] = np.stack([
                self.workload.macs / self.unit.peak[real],
                np.array([share.low for share in shares]),
                np.array([share.high for share in shares]),
                self.workload.numbers * BYTES.get(real, 4),
            ])  # fmt: skip
        return self._columns[dtype]

    def latency(self, precision: Precision) -> dict[str, Measurement]:
        """Latency, and its ratio to that of the original model."""
        if self.workload.unknown or not np.isfinite(self.workload.numbers).all():
            return {}
        low, high = self.seconds(precision)
        return {
            "latency": estimate_between(low, high, "s"),
            "latency_ratio": self.latency_ratio(precision, low, high),
        }

    def latency_ratio(self, precision: Precision, low: float, high: float) -> Measurement:
        """Ratio of a latency of ``low`` to ``high`` seconds to that of the original model."""
        base = self.larger or self
        if base is self and precision is self.original:
            return counted(1.0)
        if base is self and precision.equals(self.original):
            return UNCHANGED_RATIO
        original = base.seconds(base.original)
        ratios = sorted((low / original[0], high / original[1]))
        error = OTHER_KERNELS
        if base is self and precision.dtypes == self.original.dtypes:
            error = 1 + RATIO_ERROR
        return estimate_between(ratios[0] / error, ratios[1] * error, "1")

    def memory(self, precision: Precision, size: Measurement) -> dict[str, Measurement]:
        """Bytes during a run: expanded weights, activations, and the runtime.

        On a microcontroller weights stay where they are stored, and memory is for activations.
        """
        if math.isnan(self.workload.arena):
            return {}
        arena = self.workload.arena * self.activation_bytes(precision)
        arena /= self.activation_bytes(self.original)
        if MICRO in self.unit.runtimes:
            return {"peak_memory": estimate_between(arena, arena * 1.2, "B")}
        shared = min(1.0, self.workload.stored / (self.workload.weights.sum() or 1.0))
        loaded = float(self.workload.weights @ precision.weight_bytes) * shared
        most = loaded + arena * 1.2 + size.high + RUNTIME_BYTES
        return {"peak_memory": estimate_between(loaded + arena, most, "B")}

    def activation_bytes(self, precision: Precision) -> float:
        """Bytes of one activation, in the mean over operators."""
        widths = {dtype: BYTES.get(self.computes(dtype), 4) for dtype in set(precision.dtypes)}
        return float(np.mean([widths[dtype] for dtype in precision.dtypes] or [4]))

    def energy(self, precision: Precision) -> dict[str, Measurement]:
        """Joules of arithmetic and memory traffic, with a wide margin for everything else."""
        energy = self.device.energy
        work = self.workload
        if energy is None or work.unknown:
            return {}
        total = 0.0
        for dtype in dict.fromkeys(precision.dtypes):
            real = self.computes(dtype)
            rows = np.array([name == dtype for name in precision.dtypes])
            if real not in energy.mac:
                return {}
            total += energy.mac[real] * float(work.macs @ rows)
            total += energy.byte * float(work.numbers @ (rows * work.calls)) * BYTES[real]
        total += energy.byte * float(work.weights @ (precision.weight_bytes * work.calls))
        least, most = ENERGY_SPREAD
        return {"energy": estimate_between(total * least, total * most, "J")}

    def costs(self, precision: Precision, size: Measurement) -> dict[str, Measurement]:
        """Latency, memory and energy, as far as they can be predicted."""
        memory = self.memory(precision, size)
        return {**self.latency(precision), **memory, **self.energy(precision)}


def estimate_between(low: float, high: float, unit: str) -> Measurement:
    """An estimate with this interval, at its geometric mean."""
    middle = (low + high) / 2
    if low > 0:
        middle = math.sqrt(low * high)
    return Measurement(middle, unit, low, high, "estimated", 1)  # type: ignore[arg-type]


def model_functions(graph: ir.Model) -> frozenset[str]:
    """Types of operators that are functions of the model's own, which a runtime inlines."""
    return frozenset(f"{domain}.{name}" for domain, name, _ in graph.functions)


def unsupported_operators(
    device: Device,
    unit: str,
    profile: Profile,
    functions: Collection[str],
    dtypes: Mapping[str, str] = NO_DTYPES,
) -> Iterator[tuple[str, str]]:
    """Operators that no runtime runs, with types; ``Conv in bfloat16`` where that is the reason.

    Args:
        device: that the model must run on.
        unit: of the device, that computes.
        profile: of the model.
        functions: types of functions of the model's own.
        dtypes: rare data types that operators compute in, by operator name.
    """
    runtimes = device.units[unit].runtimes
    names = {device.runtimes[name].operators for name in runtimes}
    sets = [operator_set(name) for name in sorted(names)]
    for operator in profile.operators:
        op = operator.op
        if operator.at_load or op in functions or (ONNXRUNTIME in runtimes and "." in op):
            continue  # of ONNX Runtime's own, or registered by users: see ``custom_operators``
        dtype = dtypes.get(operator.name, "") if unit == CPU else ""
        if not any(supported.runs(op) for supported in sets):
            yield operator.name, op
        elif any(op in supported.lacks.get(dtype, ()) for supported in sets):
            yield operator.name, f"{op} in {dtype}"  # converters may not change types


def custom_operators(
    device: Device, unit: str, profile: Profile, functions: Collection[str]
) -> tuple[str, ...]:
    """Types of operators that run only where a user registers them.

    Arguments are those of ``unsupported_operators``.
    """
    if ONNXRUNTIME not in device.units[unit].runtimes:
        return ()
    named = dict.fromkeys(operator.op for operator in profile.operators if "." in operator.op)
    return tuple(op for op in named if op not in functions and op.rpartition(".")[0] not in DOMAINS)
