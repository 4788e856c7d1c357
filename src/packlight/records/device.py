"""Description of a device: figures, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from packlight.errors import DeviceError
from packlight.records.device_checks import covers, faults
from packlight.records.display import Displayed

How = Literal["stated", "derived", "assumed", "measured"]


@dataclass(frozen=True, slots=True)
class Citation:
    """The source of figures.

    Attributes:
        how: ``stated`` by the document; ``derived`` from what documents state, by the arithmetic
            in the text; ``assumed`` where at least one step is in no document; ``measured``.
        text: title, address and date of the document, and the arithmetic.
    """

    how: How
    text: str


@dataclass(frozen=True, slots=True)
class Share:
    """From what to what share of the roofline real kernels reach; both in (0, 1]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that computes: a group of CPU cores, a GPU or an NPU.

    Attributes:
        peak: multiply-accumulates a second by data type, all ``cores`` together, at the highest
            clock. A type that the unit does not compute in is left out.
        runtimes: those of the device that reach this unit.
        efficiency: by family of operators: the roofline's time divided by the real time. A key
            ``conv:int8`` says it for one data type.
        overhead: seconds that a call of one operator takes beyond its arithmetic and traffic.
        cores: that ``peak`` counts; of a CPU, the fast ones.
        one_core: share of ``peak`` that the fastest core reaches alone; None where work is never
            given to one core.
    """

    peak: Mapping[str, float]
    runtimes: tuple[str, ...]
    efficiency: Mapping[str, Share]
    overhead: float
    cores: int | None = None
    one_core: float | None = None

    def share(self, family: str, dtype: str) -> Share:
        """Achieved share of the roofline, for a family of operators and a data type."""
        return self.efficiency.get(f"{family}:{dtype}", self.efficiency[family])


@dataclass(frozen=True, slots=True)
class Curve:
    """How long one kind of kernel takes beside its roofline, fitted to timings.

    The natural logarithm of real time over the roofline's is a polynomial of degree 2. Each feature
    is a logarithm to base 2; it is held to the measured range, and that range is mapped to -1..1.

    Attributes:
        features: names, in order.
        low: least value of each that was measured.
        high: largest value of each that was measured.
        coefficients: of 1, of each feature, then of each product of two, in the order of
            ``itertools.combinations_with_replacement``.
        spread: standard deviation of that logarithm on timings that the fit did not see.
        n: timings that tell of this kind.
    """

    features: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    coefficients: tuple[float, ...]
    spread: float
    n: int


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime on a device.

    Attributes:
        dtypes: that it computes in there.
        operators: name of the set of operators that it runs.
    """

    dtypes: tuple[str, ...]
    operators: str


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules.

    Attributes:
        mac: of one multiply-accumulate, by data type: its arithmetic alone.
        byte: of one byte to or from the memory whose speed is the device's ``bandwidth``.
    """

    mac: Mapping[str, float]
    byte: float


@dataclass(frozen=True, slots=True)
class OperatorSet:
    """ONNX operator types that a runtime supports, after conversion.

    Attributes:
        name: as devices refer to it.
        title: of the runtime and the version that the list is from.
        operators: ONNX types that it runs in kernels made for speed.
        slow: types that it runs, but in plain kernels or taken apart into several.
        limits: by type: what must hold.
        weights: how it can store weights and expand them itself: data types, ``palette``,
            ``sparse``.
        lacks: by data type: ONNX types that it runs, but not on a CPU with numbers of this type.
        source: documents, with address and date.
    """

    VERSION: ClassVar[int] = 1

    name: str
    title: str
    operators: tuple[str, ...]
    source: str
    slow: tuple[str, ...] = ()
    limits: Mapping[str, str] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    lacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def runs(self, op: str) -> bool:
        """Test for an ONNX operator type that the runtime supports."""
        return op in self.operators or op in self.slow


@dataclass(frozen=True, slots=True, repr=False)
class Device(Displayed):
    """A device. Unknown figures are None, or missing in their mapping.

    Attributes:
        name: short, of small letters, digits and dashes.
        title: for people.
        kind: whether figures come from documents or were measured on the device.
        processor: its chip and cores.
        units: by name: ``cpu``, ``gpu``, ``npu``; at least one.
        runtimes: by name.
        sources: by the path of a figure, as ``units.cpu.peak``, or of what holds several.
        bandwidth: bytes a second between memory and the chip.
        ram: bytes in the device.
        app_ram: bytes that one application can expect to have.
        storage: bytes in the device.
        app_storage: bytes that one application, or its download, should not exceed.
        energy: of arithmetic and traffic.
        saturates: whether sums of 8-bit products saturate: x86 without VNNI.
        aliases: other names.
        curves: by kind of kernel and data type, as ``conv:float32``: finer than ``efficiency``,
            for one runtime and the unit ``cpu``; empty where nothing was measured.

    Raises:
        DeviceError: a figure is impossible or has no source.
    """

    VERSION: ClassVar[int] = 1

    name: str
    title: str
    kind: Literal["datasheet", "measured"]
    processor: str
    units: Mapping[str, Unit]
    runtimes: Mapping[str, Runtime]
    sources: Mapping[str, Citation]
    bandwidth: float | None = None
    ram: int | None = None
    app_ram: int | None = None
    storage: int | None = None
    app_storage: int | None = None
    energy: Energy | None = None
    saturates: bool = False
    aliases: tuple[str, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fault = next(faults(self), None)
        if fault:
            raise DeviceError(fault)

    def source(self, path: str) -> Citation:
        """The source of a figure: the entry of its path, else of the nearest path above.

        Raises:
            ValueError: there is no such figure.
        """
        return self.sources[max((key for key in self.sources if covers(key, path)), key=len)]
