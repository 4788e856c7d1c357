"""Reasons for leaving an operator as it is, as stable codes that programs can decide by."""

from __future__ import annotations

from typing import Literal

ReasonCode = Literal[
    # of what is there already
    "already-integer",  # it computes in integers
    "already-quantized",  # its weight is stored in codes
    # of where the weight comes from and who reads it
    "computed-weight",
    "model-input",
    "model-output",
    "no-weight",
    "shared",
    # of its numbers
    "not-finite",
    "not-float32",
    "overflow",
    "underflow",
    "too-small",
    "vector",  # a bias, or scales of channels
    "regular",  # a mask, or positions on a grid
    # of what would come out
    "not-smaller",
    "too-large",
    "too-few-inputs",
    "nothing-left",
    "no-gain",
    # of the operator's form
    "unsupported-operator",
    "attribute",  # its numbers are an attribute of the operator, as those of trees
    "unsupported-shape",
    "unsupported-attributes",
    "unsupported-axes",
    "unsupported-bits",
    "unknown-shape",
    "training-mode",
    "no-fold-target",
    # of moving scales between weights
    "fixed-scale",
    "not-proportional",
    "unequal-channels",
    # of the runtime and the device
    "no-kernel",
    "float-input",  # it also reads a value that no integer operator gives
    "unsupported-storage",
    "not-expanded",  # the device computes with weights as they are stored
    # of the samples
    "no-samples",
    "uneven-levels",
    # of what the recipe asks
    "skipped",
    "first-operator",
    "last-operator",
    "no-site",
]
"""Why an operator is left as it is. Code decides by this; ``Refusal.reason`` is for people."""
