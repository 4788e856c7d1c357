"""Distances of outputs from those of the float model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch

from packlight.compression.training.samples import Batching, Sample
from packlight.torch.interpreter import OnnxModule
from packlight.torch.values import Tensor

WINDOW = 16
"""Calls of a sample through which gradients pass; what is carried further is taken as it is."""

LEAST_POWER = 1e-12


class OutputPower:
    """Mean square of every target, to which errors are set in relation."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, sample: Sample) -> None:
        """Count a sample."""
        for call in sample.targets:
            for name, array in call.items():
                tensor = torch.from_numpy(array.astype("float64"))
                finite = tensor[torch.isfinite(tensor)]
                self.sums[name] = self.sums.get(name, 0.0) + float(finite.square().sum())
                self.counts[name] = self.counts.get(name, 0) + finite.numel()

    def means(self) -> Mapping[str, float]:
        """The mean squares by name."""
        return {
            name: max(total / max(self.counts[name], 1), LEAST_POWER)
            for name, total in self.sums.items()
        }


def squared_error(output: Tensor, target: Tensor, power: float) -> Tensor:
    """Mean squared error as a share of the target's power; where a target is not finite, none."""
    error = torch.where(torch.isfinite(target), output - target, 0.0)
    return error.square().mean() / power


class Losses:
    """Loss of batches.

    Args:
        module: the model that learns.
        state: output of a call -> input that it feeds at the next.
        power: mean square of each target.
    """

    def __init__(
        self, module: OnnxModule, state: Mapping[str, str], power: Mapping[str, float]
    ) -> None:
        self.module = module
        self.state = state
        self.power = power

    def windows(self, samples: Sequence[Sample], batching: Batching) -> Iterator[Tensor]:
        """Losses of the calls of some samples, in windows through which gradients pass.

        Their sum is the mean loss of all calls and targets.
        """
        carried: dict[str, Tensor] = {}
        calls = len(samples[0].feeds)
        total: Tensor | None = None
        for call in range(calls):
            feeds = batching.feeds(samples, call)
            assert feeds is not None
            outputs = dict(
                zip(self.module.output_names, self.module(**{**feeds, **carried}), strict=True)
            )
            loss = self._distance(outputs, batching.targets(samples, call)) / calls
            total = loss if total is None else total + loss
            carried = {name: outputs[output] for output, name in self.state.items()}
            if (call + 1) % WINDOW == 0 or call + 1 == calls:
                yield total
                total = None
                carried = {name: tensor.detach() for name, tensor in carried.items()}

    def _distance(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        losses = [
            squared_error(outputs[name], target, self.power[name])
            for name, target in targets.items()
        ]
        return torch.stack(losses).mean()


def decibels(loss: float) -> float:
    """Signal to noise ratio of a share of the power.

    >>> decibels(0.1)
    10.0
    """
    return -10 * math.log10(max(loss, LEAST_POWER))
