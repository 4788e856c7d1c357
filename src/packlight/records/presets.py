"""Named recipes."""

from __future__ import annotations

from collections.abc import Mapping

CALIBRATED = "rounding=gptq,range=moments,scales=16"
"""Options of calibrated weights."""

FITTED = "rounding=gptq,weighted=true,scaled=true,scales=16"
"""Options of calibrated palettes."""

PRESETS: Mapping[str, str] = {
    "quick8": "simplify+weights:8",
    "quick4": "simplify+weights:4,block=32",
    "best8": f"simplify+weights:8,{CALIBRATED}",
    "best6": f"simplify+palette,mixed=6,{FITTED}",
    "best4": f"simplify+palette,mixed=4,{FITTED}",
    "best3": f"simplify+palette,mixed=3,{FITTED}",
    "sparse4": "simplify+sparse:4,share=0.5,rounding=gptq",
}
"""The quick ones need no data; the others learn from calibration samples.

The number is bits of a weight: of every one in ``quick8``, ``quick4``, ``best8`` and ``sparse4``,
where half of the weights are zero besides; on average in the others.
"""
