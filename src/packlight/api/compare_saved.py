"""Compare evaluations that were saved: of other days, seeds or machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packlight.api.compare import distinct
from packlight.comparison import compare as put_beside
from packlight.comparison.compare import AGAINST_REFERENCE
from packlight.errors import InputError
from packlight.records import Comparison, Evaluation, VariantResult, loads


def compare_saved(files: Sequence[str | Path]) -> Comparison:
    """Put evaluations beside each other that ``packlight evaluate --json`` printed, the base first.

    One that was judged under other conditions than the base, on other data or another machine, is
    shown with what differs and is not ranked. Differences are not paired, since single samples are
    not saved, and so their intervals are too wide.

    Args:
        files: of at least two evaluations.

    Raises:
        InputError: a file cannot be read or is no evaluation, or there are fewer than two.
    """
    if len(files) <= 1:
        raise InputError("evaluations are compared with each other; give the files of two or more")
    names = distinct([str(file) for file in files])
    judged = dict(zip(names, (read(Path(file)) for file in files), strict=True))
    if len(judged) < len(files):
        raise InputError("each file is given once; two of these have one path. Name others")
    base, *others = (as_result(name, found) for name, found in judged.items())
    found = put_beside(base, others, {}, {}, evaluations=judged)
    contrasts = (
        replace(one.contrast, variant=name) for name, one in judged.items() if one.contrast
    )  # fmt: skip
    warnings = dict.fromkeys(told for one in judged.values() for told in one.warnings)
    return replace(found, contrasts=tuple(contrasts), warnings=tuple(warnings))


def read(file: Path) -> Evaluation:
    """An evaluation from its file."""
    try:
        return loads(Evaluation, file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"'{file}' cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"'{file}' must be JSON as 'packlight evaluate --json' prints it: {error}"
                         ) from error  # fmt: skip
    except InputError as error:
        raise InputError(f"'{file}' holds no evaluation: {error}") from error


def as_result(name: str, found: Evaluation) -> VariantResult:
    """An evaluation as a row beside others.

    What is against a reference is left out of a model that was judged alone: it has no drop.
    """
    alone = found.reference == found.variant
    metrics = {
        key: m for key, m in found.metrics.items() if not (alone and key in AGAINST_REFERENCE)
    }
    return VariantResult(
        name, "", name, "", "", metrics=metrics, groups=found.groups, labels=found.labels
    )  # fmt: skip
