"""Changes and refusals in words, for the terminal, the report and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from packlight.presentation.numbers import plural
from packlight.records.storage import (
    FewerChannels,
    Folded,
    IntegerArithmetic,
    Learned,
    Note,
    NoteCode,
    Removed,
    RoundingMethod,
    Scaled,
    StoredFloat16,
    StoredGrid,
    StoredLowRank,
    StoredPalette,
    StoredSparse,
)
from packlight.records.variant import Change, MadeCalibration, Refusal

ROUNDING: Mapping[RoundingMethod, str] = {"nearest": "round-to-nearest", "gptq": "GPTQ"}
PRUNING: Mapping[RoundingMethod, str] = {"nearest": "by magnitude", "gptq": "by SparseGPT"}
RANGES = {"calibration": "ranges from calibration", "call": "ranges of each call"}
NOTES: Mapping[NoteCode, str] = {
    "no-samples": "no calibration sample reaches it",
    "not-finite-inputs": "no calibration sample gives it finite inputs",
    "no-inputs": "its inputs cannot be observed",
    "shared-weight": "several operators share it",
    "input-blocks": "error feedback within blocks of its inputs",
    "no-sensitivity": "mean width, as rounding it changes no compared output",
    "small-gain": "codes would save too little for their error",
    "int16-safe": "pairs of products within 16 bits",
}


def describe_change(change: Change) -> str:
    """A change in one line, without the names of operator and method.

    >>> from packlight.records import PerBlock
    >>> describe_change(Change("conv_1", "weights", StoredGrid(4, PerBlock(32), "gptq", "load")))
    'int4 per block of 32, GPTQ, expanded at load'
    """
    storage = change.storage
    notes: tuple[Note, ...] = getattr(storage, "notes", ())
    return ", ".join([*PHRASES[type(storage)](storage), *(NOTES[note.code] for note in notes)])


def describe_refusal(refusal: Refusal) -> str:
    """A refusal in one line, without the names of operator and method.

    >>> describe_refusal(Refusal("conv_1", "not-smaller", "codes take more bytes", "use blocks"))
    'codes take more bytes; use blocks'
    """
    if refusal.remedy:
        return f"{refusal.reason}; {refusal.remedy}"
    return refusal.reason


def _float16(storage: StoredFloat16) -> Iterator[str]:
    yield "float16"
    yield f"expanded at {storage.expand}"


def _grid(storage: StoredGrid) -> Iterator[str]:
    yield f"int{storage.bits} {storage.granularity}"
    yield ROUNDING[storage.rounding]
    yield f"expanded at {storage.expand}"


def _palette(storage: StoredPalette) -> Iterator[str]:
    yield f"palette of {2**storage.bits} values {storage.granularity}"
    yield ROUNDING[storage.rounding]
    yield f"expanded at {storage.expand}"


def _sparse(storage: StoredSparse) -> Iterator[str]:
    zeros = f"{100 * storage.zeros:.3g} % zeros"
    if storage.run:
        zeros = f"{round(storage.zeros * storage.run)} of {storage.run} zeros"
    yield f"{zeros} {PRUNING[storage.rounding]}"
    if storage.values == "palette":
        yield f"palette of {2**storage.bits} values"
    else:
        yield f"{'float' if storage.values == 'float' else 'int'}{storage.bits} values"
    yield f"expanded at {storage.expand}"


def _integer(storage: IntegerArithmetic) -> Iterator[str]:
    yield f"{storage.activation_bits}-bit integer arithmetic"
    yield RANGES[storage.ranges]
    if storage.rounding is None:
        yield "no weight"
    else:
        yield f"int{storage.bits} weights {storage.granularity}"
        yield ROUNDING[storage.rounding]


def _folded(storage: Folded) -> Iterator[str]:
    yield f"folded into {storage.into}"


def _removed(storage: Removed) -> Iterator[str]:
    del storage
    yield "computed beforehand or unused, and removed"


def _scaled(storage: Scaled) -> Iterator[str]:
    count = f"{storage.channels} of {storage.of} input channels"
    yield f"{count} scaled against {', '.join(storage.against)}"


def _fewer_channels(storage: FewerChannels) -> Iterator[str]:
    if storage.outputs < storage.of_outputs:
        yield f"{storage.outputs} of {storage.of_outputs} outputs stay"
    if storage.inputs < storage.of_inputs:
        yield f"{storage.inputs} of {storage.of_inputs} inputs stay"
        if storage.refit:
            yield "fitted to its outputs before"


def _low_rank(storage: StoredLowRank) -> Iterator[str]:
    yield f"rank {storage.rank} of {storage.of}"


def _learned(storage: Learned) -> Iterator[str]:
    steps = f"{storage.steps:,} steps"
    if storage.steps < storage.of:
        steps = f"{storage.steps:,} of {storage.of:,} steps"
    yield f"learned in {steps}"
    yield f"{storage.before:.1f} -> {storage.after:.1f} dB on held-out samples"


PHRASES: Mapping[type, Callable[[Any], Iterator[str]]] = {
    StoredFloat16: _float16,
    StoredGrid: _grid,
    StoredPalette: _palette,
    StoredSparse: _sparse,
    IntegerArithmetic: _integer,
    Folded: _folded,
    Removed: _removed,
    Scaled: _scaled,
    FewerChannels: _fewer_channels,
    StoredLowRank: _low_rank,
    Learned: _learned,
}
"""Phrases of each form of storage; notes follow them."""


def calibration_sentence(made: MadeCalibration) -> str:
    """Samples that were made for calibration."""
    kinds = ", ".join(made.kinds) or "inputs"
    if made.data == "synthetic":
        return f"Calibrated on {made.samples:,} synthetic samples ({kinds}), made from the model."
    copies = made.samples - made.collected
    return (
        f"Calibrated on {plural(made.collected, 'sample')} of the task and {copies:,} changed "
        f"copies of them ({kinds})."
    )
