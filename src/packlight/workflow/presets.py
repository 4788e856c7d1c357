"""Recipes by name, for those who do not want to choose every option."""

from __future__ import annotations

from collections.abc import Mapping

CALIBRATED = "rounding=gptq,range=moments,scales=16"
"""What the best weights have in common."""

PRESETS: Mapping[str, str] = {
    "quick8": "tidy+weights:8",
    "quick4": "tidy+weights:4,block=32",
    "best8": f"tidy+weights:8,{CALIBRATED}",
    "best6": f"tidy+weights,mixed=6,{CALIBRATED}",
    "best4": f"tidy+weights,mixed=4,{CALIBRATED}",
    "best3": f"tidy+weights,mixed=3,{CALIBRATED}",
    "sparse4": "tidy+sparse:4,share=0.5,rounding=gptq",
}
"""The quick ones need no data; the others learn from calibration samples.

The number is bits of a weight: of every one in ``quick8``, ``quick4``, ``best8`` and ``sparse4``,
where half of the weights are zero besides; on average in the others.
"""
