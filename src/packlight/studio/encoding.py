"""JSON of pages: fast for long columns, and without infinities."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from packlight.records.codec import plain


def to_text(record: object) -> str:
    """JSON of a page; ends of intervals without a bound are the texts ``inf`` and ``-inf``."""
    try:
        return json.dumps(record, default=_fields, ensure_ascii=False, allow_nan=False)
    except ValueError:  # a number is infinite
        return json.dumps(plain(record), ensure_ascii=False)


def _fields(record: object) -> dict[str, object]:
    """Fields of a dataclass, or entries of a mapping."""
    if isinstance(record, Mapping):
        return dict(record)
    assert dataclasses.is_dataclass(record)
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
