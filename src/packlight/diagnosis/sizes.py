"""Causes of files that are not smaller, and of memory that stays."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from packlight.diagnosis.evidence import Survey, Weight
from packlight.diagnosis.findings import named
from packlight.records import Finding, counted
from packlight.records.finding import Severity

LARGE = 0.25
"""Share of a file's bytes from which on weights that were left alone are worth a warning."""

TOLD = 0.05
"""Share of bytes from which on something is told at all."""

HEAVY = 0.2
"""Share of what is stored for compressed weights that scales and tables may take: at 4 bits with a
float32 scale for every 32 they take 0.2."""

FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)
FLOAT_BYTES = 4
HALF = 0.5
"""Share of what codes save that scales and tables may eat."""


def sizes(survey: Survey) -> Iterator[Finding]:
    """Findings on bytes."""
    every = list(survey.all_weights())
    compressed = [one for one in every if is_compressed(one)]
    if not compressed:
        return
    yield from skipped(survey, every, compressed)
    yield from tables(survey, compressed)
    yield from unpacked(survey, compressed)


def is_compressed(one: Weight) -> bool:
    """Whether a weight takes fewer bytes than as float32."""
    return one.storage.kind not in FLOATS and one.storage.codes < FLOAT_BYTES * one.wanted.size


def skipped(survey: Survey, every: list[Weight], compressed: list[Weight]) -> Iterator[Finding]:
    """Weights that stayed as they were though others like them were compressed."""
    chosen = set(map(id, compressed))
    left = [one for one in every if id(one) not in chosen and one.noise == 0]
    held = sum(one.wanted.size * FLOAT_BYTES for one in left)
    whole = survey.subject.sizes[1] or held + sum(one.storage.codes for one in compressed)
    share = held / whole
    if not left or share < TOLD:
        return
    left.sort(key=lambda one: -one.wanted.size)
    operators = list(dict.fromkeys(one.operator for one in left))
    block = max(one.storage.block for one in compressed)
    odd = [one for one in left if block and one.wanted.shape[1] % block]
    cause = "indivisible-blocks" if odd and odd[0] is left[0] else "skipped-operators"
    reason = (
        f": their {odd[0].wanted.shape[1]} inputs do not divide into blocks of {block}"
        if cause == "indivisible-blocks"
        else ", without a word"
    )
    level: Severity = "warning" if share >= LARGE else "note"
    yield Finding(
        cause, level, "size",
        f"the weights of {named(operators)} stayed float32{reason}: {share:.0%} of the file",
        operator=operators[0],
        evidence={
            "bytes_left": counted(held, "B"), "share_of_file": counted(share),
            "weights_left": counted(len(left)), "weights_compressed": counted(len(compressed)),
        },
        next_step="choose a block that divides them, or a scale for each channel, which fits all"
        if odd
        else "name them to the tool; packlight lists every refusal with its reason",
        operators=tuple(operators),
        source=survey.source(operators[0]),
        weight=share,
    )  # fmt: skip


def tables(survey: Survey, compressed: list[Weight]) -> Iterator[Finding]:
    """Scales, zero points and tables that take much of what compression saved."""
    beside = sum(one.storage.beside for one in compressed)
    codes = sum(one.storage.codes for one in compressed)
    share = beside / (beside + codes)
    before, after = survey.subject.sizes
    if share < HEAVY:
        return
    worst = sorted(compressed, key=lambda one: -one.storage.beside)
    operators = list(dict.fromkeys(one.operator for one in worst))
    saved = sum(one.wanted.size * FLOAT_BYTES for one in compressed) - codes
    grown = bool(before) and after >= before
    yield Finding(
        "scales-and-tables", gravity(beside / max(saved, 1), grown=grown),
        "size",
        f"scales, zero points and tables take {share:.0%} of what is stored for compressed "
        f"weights, most at {named(operators)}",
        operator=operators[0],
        evidence={
            "beside_the_codes": counted(beside, "B"), "codes": counted(codes, "B"),
            "share": counted(share), "saved_by_codes": counted(saved, "B"),
        },
        next_step="use larger blocks or groups, scales of 16 bits, or leave small weights as "
        "they are",
        operators=tuple(operators),
        source=survey.source(operators[0]),
        weight=min(1.0, beside / max(saved, 1)),
    )  # fmt: skip


def gravity(eaten: float, *, grown: bool) -> Severity:
    """How much it matters that so large a share of what was saved is eaten."""
    if eaten <= HALF:
        return "note"
    return "serious" if grown else "warning"


def unpacked(survey: Survey, compressed: list[Weight]) -> Iterator[Finding]:
    """Weights that become float32 when the model is loaded: small on disk alone."""
    folded = [one for one in compressed if one.storage.folded]
    stored = sum(one.storage.codes + one.storage.beside for one in folded)
    loaded = sum(one.wanted.size * FLOAT_BYTES for one in folded)
    if not folded or loaded <= stored:
        return
    operators = list(dict.fromkeys(one.operator for one in folded))
    yield Finding(
        "unpacked-at-load", "note", "size",
        f"{len(folded)} weights are unpacked to float32 when the model is loaded: the file is "
        "smaller, memory and time stay as they were",
        operator=operators[0],
        evidence={"stored": counted(stored, "B"), "loaded": counted(loaded, "B")},
        next_step="for less memory or time use what computes on the codes: static, or weights in "
        "blocks with expand=run where MatMulNBits runs",
        operators=tuple(operators),
        source=survey.source(operators[0]),
        weight=(loaded - stored) / loaded / 2,
    )  # fmt: skip
