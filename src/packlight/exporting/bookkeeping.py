"""Records of weights that writers share: forms, bytes and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from packlight.exporting.keeping import reader_types
from packlight.exporting.neutral import Neutral
from packlight.exporting.weights import (
    BYTE_BITS,
    DenseWeight,
    Encoding,
    FloatWeight,
    SparseWeight,
    StoredWeight,
    shared_parts,
)
from packlight.records.export import ExportedWeight, FloatForm, WeightForm, form_label

Stored = Callable[[StoredWeight], tuple[WeightForm, int]]
"""The form of a weight in the file, and the bytes that it takes there."""


def exported_weights(
    neutral: Neutral, source: Neutral, stored: Stored, expanded: Collection[str] = ()
) -> tuple[ExportedWeight, ...]:
    """Records of all weights.

    Args:
        neutral: that was written.
        source: before any weight was expanded.
        stored: form and bytes of a weight in the file.
        expanded: names of weights that became floats.
    """
    rows = []
    for weight in neutral.weights.values():
        form, count = stored(weight)
        rows.append(
            ExportedWeight(
                name=weight.name,
                operators=reader_types(neutral, weight.name),
                elements=weight.size,
                source=source.weights[weight.name].form(),
                stored=form,
                bytes=count,
                expanded=weight.name in expanded,
            )
        )
    return tuple(rows)


def as_encoded(weight: StoredWeight) -> tuple[WeightForm, int]:
    """Form and bytes of a weight that is stored as it is encoded."""
    return weight.form(), encoded_bytes(weight.encoding)


def encoded_bytes(encoding: Encoding) -> int:
    """Bytes of codes, scales, tables and masks, codes packed without gaps."""
    if isinstance(encoding, FloatWeight):
        return int(encoding.array.nbytes)
    if isinstance(encoding, SparseWeight):
        values = encoding.values
        stored = _packed(int(encoding.mask.sum()), values.bits)
        return _packed(encoding.mask.size, 1) + stored + _shared_bytes(values)
    return _packed(encoding.codes.size, encoding.bits) + _shared_bytes(encoding)


def _shared_bytes(weight: DenseWeight) -> int:
    return sum(int(part.values.nbytes) for part in shared_parts(weight).values())


def _packed(count: int, bits: int) -> int:
    return -(-count * bits // BYTE_BITS)


def count_forms(forms: Iterable[tuple[WeightForm, int]]) -> dict[str, int]:
    """Numbers stored in each way, by label, from forms and how many numbers have them."""
    total: Counter[str] = Counter()
    for form, elements in forms:
        total[form_label(form)] += elements
    return dict(sorted(total.items()))


def expected_counts(weights: Iterable[ExportedWeight]) -> dict[str, int]:
    """Numbers that a file should hold in each way, by label."""
    return count_forms((weight.stored, weight.elements) for weight in weights)


def lost_encodings(weights: Iterable[ExportedWeight], counted: Mapping[str, int]) -> dict[str, int]:
    """Numbers that were to be stored in codes and that a file does not hold so, by label.

    Floats are not counted: runtimes fold and split them.
    """
    expected = expected_counts(
        weight for weight in weights if not isinstance(weight.stored, FloatForm)
    )
    missing = {label: count - counted.get(label, 0) for label, count in expected.items()}
    return {label: count for label, count in missing.items() if count > 0}


def file_sizes(folder: Path, names: Iterable[str]) -> int:
    """Bytes of files and of all files in folders."""
    total = 0
    for name in names:
        path = folder / name
        files = path.rglob("*") if path.is_dir() else [path]
        total += sum(file.stat().st_size for file in files if file.is_file())
    return total
