"""Overview of a diagnosed variant: its costs, and where its time goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packlight.records.measurement import Measurement

Arithmetic = Literal["int8", "float"]


@dataclass(frozen=True, slots=True)
class TimeShare:
    """Operators of one type that compute in one way.

    Attributes:
        op: their type.
        arithmetic: in which they compute.
        operators: their names, the longest time first.
        time: of all together, in one run.
        share: of the variant's time.
        before: seconds of the same operators in the reference; None where none has their names.
        step: of a recipe, that computes them in integers; empty where they are in integers, or the
            runtime has no integer kernel for them.
    """

    op: str
    arithmetic: Arithmetic
    operators: tuple[str, ...]
    time: Measurement
    share: float
    before: float | None = None
    step: str = ""


@dataclass(frozen=True, slots=True)
class DiagnosisSummary:
    """A variant against its reference.

    Attributes:
        variant: name.
        reference: name.
        size: bytes of the variant.
        size_before: bytes of the reference.
        latency_ratio: of the variant to the reference; None where no time was measured.
        snr: signal to noise of the outputs; None where they cannot be compared.
        shares: where the variant's time goes, most first; empty where no time was measured.
    """

    variant: str
    reference: str
    size: int
    size_before: int
    latency_ratio: Measurement | None = None
    snr: Measurement | None = None
    shares: tuple[TimeShare, ...] = ()
