"""Calibration samples with the float model's outputs, and how they are joined to batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from packlight.runtime.calls import Feeds, Session
from packlight.runtime.disk_cache import CACHE_BYTES, DiskCache, Reader, SampleCache
from packlight.torch.interpreter import OnnxModule
from packlight.torch.values import Array, Tensor, as_tensor

TOLERANCE = 1e-3
"""Share of the largest result by which one of a batch may differ from that of the sample alone."""

Call = Mapping[str, Array]
"""Arrays of a call, by name."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A calibration sample.

    Attributes:
        feeds: of every call.
        targets: outputs of the float model at every call.
    """

    feeds: Sequence[Feeds]
    targets: Sequence[Call]

    @property
    def signature(self) -> tuple[object, ...]:
        """Shapes of everything; samples of the same ones can be joined."""
        calls = [*self.feeds, *self.targets]
        return tuple((name, call[name].shape) for call in calls for name in sorted(call))


class Samples:
    """Calibration samples with targets, which are computed once.

    Args:
        source: the samples.
        teacher: session of the float model.
        state: output of a call -> input that it feeds at the next.

    Attributes:
        outputs: names of those that are targets: floats.
    """

    def __init__(self, source: SampleCache, teacher: Session, state: Mapping[str, str]) -> None:
        self.source = source
        self.teacher = teacher
        self.state = state
        first = teacher.run(source[0][0])
        self.outputs = [
            name
            for name, value in first.items()
            if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        ]
        self._cache = DiskCache(CACHE_BYTES)
        self._targets: dict[int, list[dict[str, Reader]]] = {}

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """The sample at an index."""
        feeds = self.source[index]
        if index in self._targets:
            calls = [{name: read() for name, read in c.items()} for c in self._targets[index]]
            return Sample(feeds, calls)
        targets = list(self._run(feeds))
        readers = [{name: self._cache.write(a) for name, a in call.items()} for call in targets]
        if all(reader is not None for call in readers for reader in call.values()):
            self._targets[index] = readers  # type: ignore[assignment]
        return Sample(feeds, targets)

    def _run(self, feeds: Sequence[Feeds]) -> list[dict[str, Array]]:
        """Outputs of the float model at every call."""
        self.teacher.check_state(feeds, self.state)
        carried: dict[str, Array] = {}
        results = []
        for call in feeds:
            outputs = self.teacher.run({**call, **carried})
            carried = {name: outputs[output] for output, name in self.state.items()}
            results.append({name: np.asarray(outputs[name]) for name in self.outputs})
        return results


@dataclass(frozen=True, slots=True)
class Batching:
    """Axes along which samples are joined.

    Attributes:
        inputs: by name; None for an input that all samples have in common.
        outputs: by name.
    """

    inputs: Mapping[str, int | None]
    outputs: Mapping[str, int]

    def feeds(self, samples: Sequence[Sample], call: int) -> dict[str, Tensor] | None:
        """Inputs of a call of several samples; None where they cannot be joined."""
        feeds = {}
        for name, axis in self.inputs.items():
            arrays = [sample.feeds[call][name] for sample in samples]
            if axis is not None:
                feeds[name] = as_tensor(np.concatenate(arrays, axis))
            elif all(np.array_equal(array, arrays[0]) for array in arrays[1:]):
                feeds[name] = as_tensor(arrays[0])
            else:
                return None
        return feeds

    def targets(self, samples: Sequence[Sample], call: int) -> dict[str, Tensor]:
        """Targets of a call of several samples."""
        return {
            name: as_tensor(np.concatenate([s.targets[call][name] for s in samples], axis))
            for name, axis in self.outputs.items()
        }


def find_batching(
    module: OnnxModule, state: Mapping[str, str], samples: Sequence[Sample]
) -> Batching | None:
    """Axes along which two samples can be joined; None where results would not be the same.

    Args:
        module: the model.
        state: output of a call -> input that it feeds at the next.
        samples: two of the same shapes.
    """
    inputs = {name: _batch_axis(array) for name, array in samples[0].feeds[0].items()}
    trial = Batching(inputs, {}).feeds(samples, 0)
    if trial is None:
        return None
    try:
        with torch.no_grad():
            joined = module(**trial)
            single = [module(**sample.feeds[0]) for sample in samples]
    except (RuntimeError, IndexError, ValueError, TypeError, AssertionError):
        return None  # a size in the graph holds for one sample alone
    outputs: dict[str, int] = {}
    for name, both, first, second in zip(module.output_names, joined, *single, strict=True):
        axis = _joined_axis(both.shape, first.shape)
        if axis is None or not _close(both, torch.cat([first, second], axis)):
            return None
        outputs[name] = axis
    if any(outputs[output] != inputs[name] for output, name in state.items()):
        return None
    wanted = {name: outputs[name] for name in samples[0].targets[0]}
    return Batching(inputs, wanted)


def alone(sample: Sample) -> Batching:
    """Axes for a model that takes samples one by one."""
    inputs: dict[str, int | None] = dict.fromkeys(sample.feeds[0])
    return Batching(inputs, dict.fromkeys(sample.targets[0], 0))


def _batch_axis(array: Array) -> int | None:
    """The first axis of size 1."""
    return next((axis for axis, size in enumerate(array.shape) if size == 1), None)


def _joined_axis(both: Sequence[int], single: Sequence[int]) -> int | None:
    """The axis that is twice as long."""
    if len(both) != len(single):
        return None
    axes = [axis for axis, size in enumerate(single) if both[axis] != size]
    if len(axes) != 1 or both[axes[0]] != 2 * single[axes[0]]:
        return None
    return axes[0]


def _close(first: Tensor, second: Tensor) -> bool:
    if not first.is_floating_point():
        return bool((first == second).all())
    error = (first - second).abs().max()
    return bool(error <= TOLERANCE * second.abs().max())
