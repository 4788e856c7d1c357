"""What small changes of the inputs cost a variant, beside what they cost its reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from packlight.records.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Robustness:
    """One kind of change of the inputs.

    Attributes:
        variant: id.
        change: of the inputs, as ``noise``.
        reference: drop of the reference on changed inputs, against itself on the inputs as they
            are.
        drop: the same of the variant.
        extra: the variant's drop minus the reference's, paired; positive where it bears less.
    """

    VERSION: ClassVar[int] = 1

    variant: str
    change: str
    reference: Measurement
    drop: Measurement
    extra: Measurement
