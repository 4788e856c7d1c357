"""Presets: recipes by name, without options to choose."""

from __future__ import annotations

from collections.abc import Mapping

CALIBRATED = "rounding=gptq,range=moments,scales=16"
"""Options of weights with the least error; they need calibration samples."""

FITTED = "rounding=gptq,weighted=true,scaled=true,scales=16"
"""Options of palettes with the least error; they need calibration samples."""

PRESETS: Mapping[str, str] = {
    "quick8": "simplify+weights:8",
    "quick4": "simplify+weights:4,block=32",
    "best8": f"simplify+weights:8,{CALIBRATED}",
    "best6": f"simplify+palette,mixed=6,{FITTED}",
    "best4": f"simplify+palette,mixed=4,{FITTED}",
    "best3": f"simplify+palette,mixed=3,{FITTED}",
    "sparse4": "simplify+sparse:4,share=0.5,rounding=gptq",
}
"""``quick8`` and ``quick4`` need no data; the remaining ones need calibration samples.

The number is bits of a weight: of every weight in ``quick8``, ``quick4``, ``best8`` and
``sparse4``, where half of the weights are also zero; on average in ``best6``, ``best4`` and
``best3``.
"""
