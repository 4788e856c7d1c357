"""Changes and refusals in words: a sentence for every form, and none without a rendering."""

import typing

import pytest

from packlight.presentation.changes import NOTES, PHRASES, describe_change, describe_refusal
from packlight.records import (
    Change,
    FewerChannels,
    Folded,
    IntegerArithmetic,
    Learned,
    Note,
    NoteCode,
    PerBlock,
    PerChannel,
    PerGroup,
    PerTensor,
    Refusal,
    Removed,
    Scaled,
    Storage,
    StoredFloat16,
    StoredGrid,
    StoredLowRank,
    StoredPalette,
    StoredSparse,
)

SHARED = (Note("shared-weight", ("conv_1", "conv_2")),)
SAFE = (Note("int16-safe"),)


@pytest.mark.parametrize(
    ("storage", "sentence"),
    [
        (StoredFloat16(), "float16, expanded at load"),
        (
            StoredGrid(4, PerBlock(32), "gptq", "run"),
            "int4 per block of 32, GPTQ, expanded at run",
        ),
        (
            StoredGrid(8, PerChannel(), "nearest", "load", SHARED),
            "int8 per channel, round-to-nearest, expanded at load, several operators share it",
        ),
        (
            StoredPalette(4, PerGroup(16), "gptq"),
            "palette of 16 values per group of 16 channels, GPTQ, expanded at load",
        ),
        (
            StoredPalette(1, PerTensor(), "nearest"),
            "palette of 2 values per tensor, round-to-nearest, expanded at load",
        ),
        (
            StoredSparse(2 / 3, 3, "float", 32, "nearest"),
            "2 of 3 zeros by magnitude, float32 values, expanded at load",
        ),
        (
            StoredSparse(0.75, 0, "grid", 8, "gptq"),
            "75 % zeros by SparseGPT, int8 values, expanded at load",
        ),
        (
            StoredSparse(0.5, 0, "palette", 4, "gptq"),
            "50 % zeros by SparseGPT, palette of 16 values, expanded at load",
        ),
        (
            IntegerArithmetic(8, "calibration", 8, PerChannel(), "gptq", SAFE),
            "8-bit integer arithmetic, ranges from calibration, int8 weights per channel, GPTQ, "
            "pairs of products within 16 bits",
        ),
        (
            IntegerArithmetic(8, "call", 7, PerTensor(), "nearest"),
            "8-bit integer arithmetic, ranges of each call, int7 weights per tensor, "
            "round-to-nearest",
        ),
        (
            IntegerArithmetic(16, "calibration"),
            "16-bit integer arithmetic, ranges from calibration, no weight",
        ),
        (Folded("conv_1"), "folded into conv_1"),
        (
            FewerChannels(8, 16, 12, 24, "l2", True),
            "8 of 16 outputs stay, 12 of 24 inputs stay, fitted to its outputs before",
        ),
        (StoredLowRank(4, 16), "rank 4 of 16"),
        (
            Learned(1200, 1200, 5.1, 6.25),
            "learned in 1,200 steps, 5.1 -> 6.2 dB on held-out samples",
        ),
        (
            Learned(30, 60, 5.1, 6.2),
            "learned in 30 of 60 steps, 5.1 -> 6.2 dB on held-out samples",
        ),
        (Removed(), "computed beforehand or unused, and removed"),
        (Scaled(3, 16, ("a", "b")), "3 of 16 input channels scaled against a, b"),
    ],
)
def test_a_change_is_described_by_its_storage(storage, sentence):
    assert describe_change(Change("conv", "weights", storage)) == sentence


def test_every_form_and_every_note_has_words():
    assert set(PHRASES) == set(typing.get_args(Storage))
    assert set(NOTES) == set(typing.get_args(NoteCode))


def test_a_refusal_is_described_by_reason_and_remedy():
    refusal = Refusal("conv", "not-smaller", "codes take more bytes than floats")

    assert describe_refusal(refusal) == "codes take more bytes than floats"
    refusal = Refusal(
        "conv", "not-smaller", "codes take more bytes", "use larger groups", "weights"
    )
    assert describe_refusal(refusal) == "codes take more bytes; use larger groups"
