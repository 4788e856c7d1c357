"""The table of methods."""

from __future__ import annotations

from typing import Any

from packlight.compression.method import Method
from packlight.compression.methods import (
    channels,
    distill,
    dynamic,
    equalize,
    float16,
    lowrank,
    palette,
    simplify,
    sparse,
    static,
    weights,
)

METHODS: dict[str, Method[Any, Any]] = {
    method.name: method
    for method in (
        simplify.METHOD,
        equalize.METHOD,
        channels.METHOD,
        lowrank.METHOD,
        float16.METHOD,
        weights.METHOD,
        palette.METHOD,
        sparse.METHOD,
        static.METHOD,
        dynamic.METHOD,
        distill.METHOD,
    )
}
"""By name."""
