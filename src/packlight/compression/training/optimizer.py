"""Adam with one second moment for each tensor.

With one for each number, rarely moved codes and small weights take steps as large as all others,
which undoes what rounding and pruning have chosen. Rates are shares of a tensor's own size.
Source: Zhang et al., "Adam-mini" (ICLR 2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from packlight.torch.values import Tensor

MOMENTUM = 0.9
DECAY = 0.99
LEAST = 1e-12


class TensorAdam:
    """Optimizer of some tensors.

    Args:
        tensors: that require gradients.
        rates: of each, relative to the root mean square of its numbers at the start.
    """

    def __init__(self, tensors: Sequence[Tensor], rates: Sequence[float]) -> None:
        self.tensors = list(tensors)
        self.rates = sized_rates(self.tensors, rates)
        self.first = [torch.zeros_like(tensor) for tensor in tensors]
        self.second = [0.0] * len(self.tensors)
        self.steps = 0

    def step(self, factor: float) -> None:
        """Move every tensor against its gradient, and drop the gradients.

        Args:
            factor: of all rates.
        """
        self.steps += 1
        with torch.no_grad():
            for index, tensor in enumerate(self.tensors):
                gradient = tensor.grad
                if gradient is None or not bool(torch.isfinite(gradient).all()):
                    tensor.grad = None
                    continue
                first = self.first[index]
                first.mul_(MOMENTUM).add_(gradient, alpha=1 - MOMENTUM)
                power = float(gradient.square().mean())
                self.second[index] = DECAY * self.second[index] + (1 - DECAY) * power
                unbiased = self.second[index] / (1 - DECAY**self.steps)
                size = factor * self.rates[index] / (1 - MOMENTUM**self.steps)
                tensor.add_(first, alpha=-size / (math.sqrt(unbiased) + LEAST))
                tensor.grad = None

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {"first": self.first, "second": np.array(self.second), "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.first = list(state["first"])
        self.second = list(state["second"])
        self.steps = int(state["steps"])


def sized_rates(tensors: Sequence[Tensor], rates: Sequence[float]) -> list[float]:
    """Rates that are shares of the root mean square of each tensor's numbers, as they are."""
    sizes = [float(tensor.detach().square().mean().sqrt()) for tensor in tensors]
    return [rate * (size if size > LEAST else 1.0) for rate, size in zip(rates, sizes, strict=True)]
