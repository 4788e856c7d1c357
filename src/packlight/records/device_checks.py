"""Checks of a device's description, one sentence for each fault."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from packlight.records.codec import INFINITIES, plain

if TYPE_CHECKING:
    from packlight.records.device import Device

DTYPES = ("float32", "float16", "int8", "int4")
FAMILIES = ("conv", "depthwise", "matmul", "recurrent", "other")
"""Families of operators whose kernels reach like shares of the roofline."""
SHARES = (*FAMILIES, *(f"{family}:{dtype}" for family in FAMILIES for dtype in DTYPES))
SENSIBLE = {
    "bandwidth": (1e3, 1e16, "bytes a second"),
    "peak": (1e3, 1e19, "multiply-accumulates a second"),
    "overhead": (1e-12, 10.0, "seconds"),
    "ram": (1.0, 1e18, "bytes"),
    "storage": (1.0, 1e18, "bytes"),
}
"""Plausible range of each figure, with its unit; catches wrong units and exponents."""

SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")


def covers(key: str, path: str) -> bool:
    """Test for an entry of ``sources`` that covers a figure.

    >>> covers("units.cpu", "units.cpu.peak.int8"), covers("ram", "ram_speed")
    (True, False)
    """
    return path == key or path.startswith(f"{key}.")


def figures(device: Device) -> dict[str, float]:
    """Every number of a device by its path, as ``units.cpu.peak.int8``, but those of curves."""
    form = {key: value for key, value in plain(device).items() if key not in ("sources", "curves")}
    return dict(numbers(form, ""))


def sourced(device: Device) -> list[str]:
    """Paths of all that needs a source: numbers, what runtimes do, curves, and what saturates."""
    runtimes = [f"runtimes.{name}" for name in device.runtimes]
    curves = [f"curves.{name}" for name in device.curves]
    saturates = ["saturates"] if device.saturates else []
    return [*figures(device), *runtimes, *curves, *saturates]


def numbers(value: object, path: str) -> Iterator[tuple[str, float]]:
    """The numbers in plain values, with their paths."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from numbers(item, f"{path}.{key}" if path else key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value
    elif value in INFINITIES:
        yield path, float(value)


def faults(device: Device) -> Iterator[str]:
    """Faults of a device, one sentence each."""
    for check in CHECKS:
        yield from check(device)


def _wrong_names(device: Device) -> Iterator[str]:
    for name in (device.name, *device.aliases, *device.units, *device.runtimes):
        if not SLUG.fullmatch(name):
            yield f"a name is of small letters, digits and dashes; got '{name}'"


def wrong_texts(device: Device) -> Iterator[str]:
    """Texts that a terminal would take for commands."""
    texts = {f"sources.{key}": source.text for key, source in device.sources.items()}
    for path, text in {"title": device.title, "processor": device.processor, **texts}.items():
        if not text.replace("\n", " ").isprintable():
            yield f"'{path}' must be printable text; got {text!r}"


def wrong_numbers(device: Device) -> Iterator[str]:
    """Impossible or implausible figures."""
    for path, value in figures(device).items():
        if not (math.isfinite(value) and value > 0):
            yield f"'{path}' must be a finite number above 0; got {value}"
        for part, (low, high, unit) in SENSIBLE.items():
            if part in path.split(".") and 0 < value < math.inf and not low <= value <= high:
                yield f"'{path}' must be between {low:g} and {high:g} {unit}; got {value:g}"


def wrong_units(device: Device) -> Iterator[str]:
    """Units that compute nothing, or whose shares are none."""
    if not device.units:
        yield "'units' must hold at least one unit, as 'cpu'; it is empty"
    for name, unit in device.units.items():
        path = f"units.{name}"
        if not unit.peak:
            yield f"'{path}.peak' must hold at least one data type; it is empty"
        if unit.one_core is not None and unit.one_core > 1:
            yield f"'{path}.one_core' is a share, so it is at most 1; got {unit.one_core}"
        for family in FAMILIES:
            if family not in unit.efficiency:
                yield f"'{path}.efficiency' must hold '{family}'; it has {_listed(unit.efficiency)}"
        for family, share in unit.efficiency.items():
            if not share.low <= share.high <= 1:
                ends = f"{share.low} to {share.high}"
                yield f"'{path}.efficiency.{family}' must rise from low to high <= 1; got {ends}"


def wrong_types(device: Device) -> Iterator[str]:
    """Data types, families and runtimes that do not exist."""
    for name, unit in device.units.items():
        yield from unknown(f"units.{name}.peak", unit.peak, DTYPES)
        yield from unknown(f"units.{name}.efficiency", unit.efficiency, SHARES)
        yield from unknown(f"units.{name}.runtimes", unit.runtimes, device.runtimes)
    for name, runtime in device.runtimes.items():
        yield from unknown(f"runtimes.{name}.dtypes", runtime.dtypes, DTYPES)
    if device.energy is not None:
        yield from unknown("energy.mac", device.energy.mac, DTYPES)


def unknown(path: str, names: Iterable[str], choices: Iterable[str]) -> Iterator[str]:
    """Names that are not among the choices."""
    allowed = tuple(choices)
    for name in names:
        if name not in allowed:
            yield f"'{path}' may hold {_listed(allowed)}; got '{name}'"


def wrong_order(device: Device) -> Iterator[str]:
    """Parts that are larger than their total."""
    for part, total in (("app_ram", "ram"), ("app_storage", "storage")):
        size = getattr(device, part)
        limit = getattr(device, total)
        if size is not None and limit is not None and size > limit:
            yield f"'{part}' is a part of '{total}', so it is at most {limit}; got {size}"


def wrong_curves(device: Device) -> Iterator[str]:
    """Curves that are not polynomials of degree 2 in their features."""
    if device.curves and "cpu" not in device.units:
        yield "'curves' are of the unit 'cpu', which this device does not have"
    for name, curve in device.curves.items():
        path = f"curves.{name}"
        count = len(curve.features)
        terms = (count + 1) * (count + 2) // 2
        if not len(curve.low) == len(curve.high) == count:
            yield f"'{path}' must have a 'low' and a 'high' for each of its {count} features"
        elif not all(low <= high for low, high in zip(curve.low, curve.high, strict=True)):
            yield f"'{path}' must rise from 'low' to 'high' in every feature"
        if len(curve.coefficients) != terms:
            length = len(curve.coefficients)
            yield f"'{path}.coefficients' of {count} features are {terms}; got {length}"
        if not all(map(math.isfinite, (*curve.low, *curve.high, *curve.coefficients))):
            yield f"'{path}' must hold finite numbers"
        if not (math.isfinite(curve.spread) and curve.spread > 0 and curve.n > 0):
            values = f"{curve.spread} and {curve.n}"
            yield f"'{path}' must have a finite 'spread' and an 'n' above 0; got {values}"


def wrong_sources(device: Device) -> Iterator[str]:
    """Figures without a source, and sources of nothing."""
    paths = sourced(device)
    for path in paths:
        if not any(covers(key, path) for key in device.sources):
            yield f"every figure needs a source: 'sources' has none for '{path}' or what holds it"
    for key, source in device.sources.items():
        if not any(covers(key, path) for path in paths):
            yield f"'sources' speaks of '{key}', which this device does not have"
        if not source.text.strip():
            yield f"the source of '{key}' must say where the figure is from; it is empty"


CHECKS: tuple[Callable[[Device], Iterator[str]], ...] = (
    _wrong_names, wrong_texts, wrong_numbers, wrong_units, wrong_types, wrong_order, wrong_curves,
    wrong_sources,
)  # fmt: skip


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names if ":" not in name) or "nothing"
