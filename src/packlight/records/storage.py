"""How an operator's weights are stored or computed with after a change, as data.

Each form is a class of its own, with a ``kind`` that its JSON states.
``packlight.presentation.changes`` says the same in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from packlight.records.granularity import Granularity
from packlight.records.structure_configs import ChannelImportance

Expand = Literal["load", "run"]
"""When stored weights become floats: once as a session starts, or at every run."""

RoundingMethod = Literal["nearest", "gptq"]
NoteCode = Literal[
    "no-samples",  # no calibration sample reaches the weight, so it is rounded to nearest
    "not-finite-inputs",  # no sample gives it inputs that are finite and can be squared
    "no-inputs",  # it multiplies no inputs that could be observed
    "shared-weight",  # operators read the weight in different ways, so it is rounded to nearest
    "input-blocks",  # its rows are so long that errors are compensated in each part of one alone
    "no-sensitivity",  # its rounding reaches no compared output, so it has the mean width
    "small-gain",  # codes would save too few bytes for the error that they add
    "int16-safe",  # pairs of products stay within 16 bits, so that no x86 processor saturates
]
"""What else is true of a change. ``operators`` of a note are those that it speaks of."""


@dataclass(frozen=True, slots=True)
class Note:
    """A remark on a change.

    Attributes:
        code: what is remarked.
        operators: names of the operators concerned, where they are not only the changed one.
    """

    code: NoteCode
    operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredFloat16:
    """Weights in half precision.

    Attributes:
        bits: of a stored number.
        expand: when it becomes float32.
        notes: remarks.
    """

    kind: ClassVar[str] = "float16"

    bits: int = 16
    expand: Expand = "load"
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredGrid:
    """Weights as integers on a uniform grid.

    Attributes:
        bits: of an integer.
        granularity: who shares a scale.
        rounding: how a weight goes to a point of the grid.
        expand: when integers become floats.
        notes: remarks.
    """

    kind: ClassVar[str] = "grid"

    bits: int
    granularity: Granularity
    rounding: RoundingMethod
    expand: Expand
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredPalette:
    """Weights as indices into a table of values.

    Attributes:
        bits: of an index.
        granularity: who shares a table.
        rounding: how a weight goes to a value of the table.
        expand: when indices become floats.
        notes: remarks.
    """

    kind: ClassVar[str] = "palette"

    bits: int
    granularity: Granularity
    rounding: RoundingMethod
    expand: Expand = "load"
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredSparse:
    """Weights as a mask of zeros and the values between them.

    Attributes:
        zeros: share of the weights that are zero.
        run: consecutive inputs in each of which the share holds; 0 where it holds over all.
        values: how the nonzero weights are stored.
        bits: of one of them.
        rounding: ``nearest`` makes the smallest weights zero, ``gptq`` those that cost least.
        expand: when mask and values become floats.
        notes: remarks.
    """

    kind: ClassVar[str] = "sparse"

    zeros: float
    run: int
    values: Literal["float", "grid", "palette"]
    bits: int
    rounding: RoundingMethod
    expand: Expand = "load"
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class IntegerArithmetic:
    """An operator that computes in integers.

    Attributes:
        activation_bits: of what it reads.
        ranges: of activations: fixed by ``calibration``, or taken at every ``call``.
        bits: of a weight; 0 where the operator has none.
        granularity: who shares a scale of the weight; None where there is none.
        rounding: how a weight goes to an integer; None where there is none.
        notes: remarks.
    """

    kind: ClassVar[str] = "integer"

    activation_bits: int
    ranges: Literal["calibration", "call"]
    bits: int = 0
    granularity: Granularity | None = None
    rounding: RoundingMethod | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Folded:
    """An operator that became part of another.

    Attributes:
        into: name of the operator that computes both now.
    """

    kind: ClassVar[str] = "folded"

    into: str


@dataclass(frozen=True, slots=True)
class Removed:
    """An operator that was computed beforehand, or that nothing read."""

    kind: ClassVar[str] = "removed"


@dataclass(frozen=True, slots=True)
class Scaled:
    """Weights that took over the scales of channels from other operators.

    Attributes:
        channels: input channels whose scale changed.
        of: input channels in all.
        against: names of the operators that took the reciprocals.
    """

    kind: ClassVar[str] = "scaled"

    channels: int
    of: int
    against: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FewerChannels:
    """A weight without some of its outputs and inputs.

    Attributes:
        outputs: that stay.
        of_outputs: that there were.
        inputs: that stay, where its outputs sum over all channels; else 0.
        of_inputs: that there were.
        importance: which went first.
        refit: whether weights that lost inputs were fitted to their outputs before.
    """

    kind: ClassVar[str] = "channels"

    outputs: int
    of_outputs: int
    inputs: int
    of_inputs: int
    importance: ChannelImportance
    refit: bool


@dataclass(frozen=True, slots=True)
class StoredLowRank:
    """One of two weights that stand in for one.

    Attributes:
        rank: of their product.
        of: rank that the weight could have.
    """

    kind: ClassVar[str] = "lowrank"

    rank: int
    of: int


@dataclass(frozen=True, slots=True)
class Learned:
    """A weight, bias or norm that was learned and is stored as before.

    Attributes:
        steps: of learning.
        of: steps that were to be taken; fewer were taken where more would not have helped, or where
            learning was stopped.
        before: signal to noise ratio of the outputs on held-out calibration samples before, in dB.
        after: the same after.
    """

    kind: ClassVar[str] = "learned"

    steps: int
    of: int
    before: float
    after: float


Storage = (
    StoredFloat16
    | StoredGrid
    | StoredPalette
    | StoredSparse
    | IntegerArithmetic
    | Folded
    | Removed
    | Scaled
    | FewerChannels
    | StoredLowRank
    | Learned
)
"""How an operator's weights are stored or computed with, or what else became of it."""
