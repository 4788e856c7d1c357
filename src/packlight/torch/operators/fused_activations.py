"""Activations that another operator names: of fused operators, and of recurrent cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from packlight.torch.operators.activations import ACTIVATIONS
from packlight.torch.values import Operator, Tensor

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
}
"""Names of the parameters that an activation takes, in order."""


def apply_activation(name: str, parameters: Sequence[float], x: Tensor) -> Tensor:
    """Apply an activation by its name.

    Args:
        name: as in ONNX; empty for none.
        parameters: of it, in the order of ``PARAMETERS``, or two bounds for ``Clip``.
        x: of any shape.
    """
    if not name:
        return x
    if name == "Clip":
        low, high = parameters
        return x.clamp(low, high)
    if name == "Affine":
        scale, offset = parameters
        return scale * x + offset
    if name == "ScaledTanh":
        scale, slope = parameters
        return scale * (slope * x).tanh()
    names = PARAMETERS.get(name, ())
    attributes = dict(zip(names, parameters, strict=False))
    result: Tensor = ACTIVATIONS[name](Operator(name, "", PER_AXIS, attributes), x)
    return result


PER_AXIS = 13
"""An opset in which every activation has its newest meaning."""

KNOWN_ACTIVATIONS = frozenset(["", "Clip", "Affine", "ScaledTanh", *ACTIVATIONS])
"""Names that can be applied."""
