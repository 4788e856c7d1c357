"""Configs of the methods that make tensors smaller and leave them dense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from packlight.errors import RecipeError
from packlight.records.method_config import CalibratedConfig, MethodConfig

ChannelImportance = Literal["reconstruction", "activation", "l2", "norm"]
"""Order in which channels are removed."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Channels(CalibratedConfig):
    """Remove whole channels, units and heads, so that tensors become smaller and stay dense.

    Attributes:
        share: of the channels of each group that goes, between 0 and 1; without budgets.
        macs: share of the multiply-accumulates that may stay; 0 sets no such budget.
        bytes: share of the weights' bytes that may stay; 0 sets no such budget.
        importance: which go first: those whose loss the others make up for best on calibration
            samples (``reconstruction``), those that add least to what reads them
            (``activation``), those with the smallest weights (``l2``), or with the smallest scales
            of batch norms (``norm``).
        refit: whether the weights that read channels are fitted by least squares on calibration
            samples to what they gave before.
        multiple: channels stay in multiples of so many, which kernels like.
    """

    kind: ClassVar[str] = "channels"

    share: float = 0.5
    macs: float = 0.0
    bytes: float = 0.0
    importance: ChannelImportance = "reconstruction"
    refit: bool = True
    multiple: int = 1

    def __post_init__(self) -> None:
        MethodConfig.__post_init__(self)
        if not 0 < self.share < 1:
            raise RecipeError(f"channels,share= lies between 0 and 1; got {self.share}")
        for name, budget in (("macs", self.macs), ("bytes", self.bytes)):
            if not 0 <= budget < 1:
                raise RecipeError(f"channels,{name}= is a share from 0 to 1; got {budget}")
        if self.macs and self.bytes:
            raise RecipeError("channels has one budget: macs= or bytes=; leave one of them out")
        if self.multiple < 1:
            raise RecipeError(f"channels,multiple= is at least 1; got {self.multiple}")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LowRank(CalibratedConfig):
    """Store weights as products of two smaller ones.

    Attributes:
        share: of the weights' cost that may stay, between 0 and 1.
        cost: what the share is of: ``bytes`` of weights, or ``macs``, multiply-accumulates.
        weighted: whether products are nearest for the inputs that calibration samples give, else
            nearest to the weights.
        sensitive: whether ranks are chosen so that all weights together lose least of their
            outputs, else every weight keeps the same share.
    """

    kind: ClassVar[str] = "lowrank"

    share: float = 0.5
    cost: Literal["bytes", "macs"] = "bytes"
    weighted: bool = True
    sensitive: bool = True

    def __post_init__(self) -> None:
        MethodConfig.__post_init__(self)
        if not 0 < self.share < 1:
            raise RecipeError(f"lowrank,share= lies between 0 and 1; got {self.share}")
