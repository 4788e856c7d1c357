"""Causes of files that are not smaller, and of memory use that does not shrink."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from packlight.diagnosis.evidence import Survey, Weight
from packlight.diagnosis.findings import named
from packlight.records import Finding, counted
from packlight.records.finding import Severity

LARGE = 0.25
"""Share of a file's bytes from which on weights left in float32 are a warning."""

REPORTED = 0.05
"""Share of bytes from which on skipped weights are reported at all."""

HEAVY = 0.2
"""Share of scales and tables in the stored bytes of compressed weights from which on they are
reported: 4-bit weights with a float32 scale for every 32 have 0.2."""

FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)
FLOAT_BYTES = 4
HALF = 0.5
"""Scales and tables over the savings of codes up to which they are only a note."""


def sizes(survey: Survey) -> Iterator[Finding]:
    """Find causes of large files and memory."""
    weights = list(survey.all_weights())
    compressed = [weight for weight in weights if _is_compressed(weight)]
    if not compressed:
        return
    yield from skipped(survey, weights, compressed)
    yield from tables(survey, compressed)
    yield from unpacked(survey, compressed)


def _is_compressed(weight: Weight) -> bool:
    return weight.storage.kind not in FLOATS and weight.storage.codes < _float_bytes([weight])


def _float_bytes(weights: Iterable[Weight]) -> int:
    return sum(weight.reference.size * FLOAT_BYTES for weight in weights)


def _operators_of(weights: Iterable[Weight]) -> list[str]:
    return list(dict.fromkeys(weight.operator for weight in weights))


def skipped(survey: Survey, weights: list[Weight], compressed: list[Weight]) -> Iterator[Finding]:
    """Report weights left in float32 while others were compressed."""
    chosen = set(map(id, compressed))
    skipped = [weight for weight in weights if id(weight) not in chosen and weight.noise == 0]
    skipped_bytes = _float_bytes(skipped)
    codes = sum(weight.storage.codes for weight in compressed)
    share = skipped_bytes / (survey.subject.sizes[1] or skipped_bytes + codes)
    if not skipped or share < REPORTED:
        return
    skipped.sort(key=lambda weight: -weight.reference.size)
    operators = _operators_of(skipped)
    block = max(weight.storage.block for weight in compressed)
    indivisible = [weight for weight in skipped if block and weight.reference.shape[1] % block]
    cause = "skipped-operators"
    reason = ""
    next_step = "name these operators to the tool; packlight lists every refusal with its reason"
    if indivisible:
        next_step = "choose a block that divides them, or a scale per channel, which fits any size"
    if indivisible[:1] == skipped[:1]:
        cause = "indivisible-blocks"
        width = skipped[0].reference.shape[1]
        reason = f", because {width} inputs do not divide into blocks of {block}"
    yield Finding(
        cause, "warning" if share >= LARGE else "note", "size",
        f"the weights of {named(operators)} stayed float32{reason}: {share:.0%} of the file",
        operator=operators[0],
        evidence={
            "bytes_left": counted(skipped_bytes, "B"), "share_of_file": counted(share),
            "weights_left": counted(len(skipped)), "weights_compressed": counted(len(compressed)),
        },
        next_step=next_step,
        operators=tuple(operators),
        source=survey.source(operators[0]),
        weight=share,
    )  # fmt: skip


def tables(survey: Survey, compressed: list[Weight]) -> Iterator[Finding]:
    """Report scales, zero points and tables that use up much of the savings."""
    table_bytes = sum(weight.storage.overhead for weight in compressed)
    codes = sum(weight.storage.codes for weight in compressed)
    share = table_bytes / (table_bytes + codes)
    if share < HEAVY:
        return
    before, after = survey.subject.sizes
    operators = _operators_of(sorted(compressed, key=lambda weight: -weight.storage.overhead))
    saved = _float_bytes(compressed) - codes
    used = table_bytes / max(saved, 1)
    grown = bool(before) and after >= before
    yield Finding(
        "scales-and-tables", _gravity(used, grown=grown), "size",
        f"scales, zero points and tables are {share:.0%} of the bytes of compressed weights, most "
        f"of them at {named(operators)}",
        operator=operators[0],
        evidence={
            "scales_and_tables": counted(table_bytes, "B"), "codes": counted(codes, "B"),
            "share": counted(share), "saved_by_codes": counted(saved, "B"),
        },
        next_step="use larger blocks or groups, 16-bit scales, or leave small weights in float",
        operators=tuple(operators),
        source=survey.source(operators[0]),
        weight=min(1.0, used),
    )  # fmt: skip


def _gravity(used: float, *, grown: bool) -> Severity:
    if used <= HALF:
        return "note"
    return "serious" if grown else "warning"


def unpacked(survey: Survey, compressed: list[Weight]) -> Iterator[Finding]:
    """Report weights that are unpacked at load and so are small in the file alone."""
    folded = [weight for weight in compressed if weight.storage.folded]
    stored = sum(weight.storage.codes + weight.storage.overhead for weight in folded)
    loaded = _float_bytes(folded)
    if not folded or loaded <= stored:
        return
    operators = _operators_of(folded)
    yield Finding(
        "unpacked-at-load", "note", "size",
        f"{len(folded)} weights are unpacked to float32 when the model is loaded: the file is "
        "smaller, but memory use and latency do not change",
        operator=operators[0],
        evidence={"stored": counted(stored, "B"), "loaded": counted(loaded, "B")},
        next_step="to save memory or time use a method that computes on the codes: static, or "
        "weights in blocks with expand=run where MatMulNBits runs",
        operators=tuple(operators),
        source=survey.source(operators[0]),
        weight=(loaded - stored) / loaded / 2,
    )  # fmt: skip
