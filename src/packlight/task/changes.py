"""Small seeded changes of inputs (common corruptions), as they happen in use.

Sizes are relative to the numbers of the sample: noise of a tenth of their standard deviation for
images and a thirtieth for sound (20 and 30 dB), a brightness of a quarter of it, a blur over 3 x 3
pixels, a shift by one pixel in sixteen at most, a level of 6 dB less.
Source: similar to the mildest steps of Hendrycks and Dietterich, Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations, ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics.fidelity import is_float
from packlight.task.samples import LazySamples
from packlight.task.task import Task

if TYPE_CHECKING:
    from packlight.runtime import Steps

Array = NDArray[np.generic]
Numbers = NDArray[np.float64]
Random = np.random.Generator
Change = Callable[[Numbers, Random], Numbers]
"""(numbers of one input, random generator) -> changed numbers."""

StepsChange = Callable[["Steps", int], "Steps"]

IMAGE_RANK = 4
SMALLEST_IMAGE = 8
CHANNELS = (1, 3, 4)
SHORTEST_SOUND = 256
SOUND_RANK = 3
IMAGE_NOISE = 0.1
SOUND_NOISE = 10 ** (-30 / 20)
BRIGHTNESS = 0.25
LEVEL = 0.5
SHIFT_DIVISOR = 16
BRIGHTEST = 255


def noise(numbers: Numbers, random: Random) -> Numbers:
    """Normal noise, 20 dB below the numbers."""
    return _add_noise(numbers, random, IMAGE_NOISE)


def _faint_noise(numbers: Numbers, random: Random) -> Numbers:
    return _add_noise(numbers, random, SOUND_NOISE)


def _add_noise(numbers: Numbers, random: Random, size: float) -> Numbers:
    return np.asarray(numbers + random.standard_normal(numbers.shape) * numbers.std() * size)


def blur(numbers: Numbers, random: Random) -> Numbers:
    """A binomial blur over 3 x 3 pixels."""
    del random
    for axis in _pixel_axes(numbers):
        edges = [(0, 0)] * numbers.ndim
        edges[axis] = (1, 1)
        wide = np.pad(numbers, edges, mode="edge")
        size = numbers.shape[axis]
        parts = [np.take(wide, range(start, start + size), axis) for start in range(3)]
        numbers = (parts[0] + 2 * parts[1] + parts[2]) / 4
    return numbers


def brightness(numbers: Numbers, random: Random) -> Numbers:
    """Change the brightness by a quarter of the standard deviation, up or down."""
    return np.asarray(numbers + random.choice([-1, 1]) * numbers.std() * BRIGHTNESS)


def shift(numbers: Numbers, random: Random) -> Numbers:
    """Shift by some pixels in either direction; edges are repeated."""
    for axis in _pixel_axes(numbers):
        most = max(1, numbers.shape[axis] // SHIFT_DIVISOR)
        by = int(random.integers(1, most + 1)) * int(random.choice([-1, 1]))
        indices = np.clip(np.arange(numbers.shape[axis]) + by, 0, numbers.shape[axis] - 1)
        numbers = np.take(numbers, indices, axis)
    return numbers


def level(numbers: Numbers, random: Random) -> Numbers:
    """Halve the amplitude."""
    del random
    return numbers * LEVEL


def _pixel_axes(numbers: Numbers) -> tuple[int, int]:
    """Axes of the rows and columns of an image (batch, channels, rows, columns) or with channels
    last."""
    if numbers.shape[-1] in CHANNELS:
        return (1, 2)
    return (2, 3)


CHANGES: Mapping[str, Mapping[str, Change]] = {
    "image": {"noise": noise, "blur": blur, "brightness": brightness, "shift": shift},
    "sound": {"noise": _faint_noise, "level": level},
    "numbers": {"noise": _faint_noise},
}
"""Changes by name, by kind of input."""


def input_kind(array: Array) -> str:
    """Kind of an input: image, sound, numbers, or empty where it cannot be changed."""
    pixel = array.dtype == np.uint8
    if not (is_float(array.dtype) or pixel):
        return ""
    sizes = array.shape
    if array.ndim == IMAGE_RANK:
        height, width = (sizes[axis] for axis in _pixel_axes(np.zeros(sizes)))
        if min(height, width) >= SMALLEST_IMAGE:
            return "image"
    if array.ndim and sizes[-1] >= SHORTEST_SOUND and array.ndim <= SOUND_RANK and not pixel:
        return "sound"
    if array.size > 1:
        return "numbers"
    return ""


def changed_tasks(task: Task, seed: int) -> dict[str, Task]:
    """The task under each change that fits its inputs, and under the changes that it defines.

    Raises:
        TaskError: no input can be changed, and the task defines no change.
    """
    feeds = task.samples[0][0]
    inputs = feeds.keys() - task.state.values()
    kinds = {name: input_kind(np.asarray(feeds[name])) for name in inputs}
    first_kind = next((kind for kind in CHANGES if kind in kinds.values()), "")
    chosen = {name for name, kind in kinds.items() if kind == first_kind}
    tasks = {
        name: _with_changed_samples(task, _change_inputs(change, chosen, seed))
        for name, change in CHANGES.get(first_kind, {}).items()
    }
    for name, user_change in task.changes.items():
        tasks[name] = _with_changed_samples(task, _with_seed(user_change, seed))
    if not tasks:
        raise TaskError(
            f"no input of task '{task.name}' is an image, sound or other real numbers, so none can "
            "be changed a little; define Task(changes={name: function})"
        )
    return tasks


def _with_seed(change: StepsChange, seed: int) -> StepsChange:
    return lambda steps, index: change(steps, seed + index)


def _with_changed_samples(task: Task, change: StepsChange) -> Task:
    samples = task.samples
    lazy = LazySamples(len(samples), lambda index: change(samples[index], index))
    return replace(task, samples=lazy)


def _change_inputs(change: Change, inputs: AbstractSet[str], seed: int) -> StepsChange:
    """A change of the named inputs, the same one in all calls of a sample."""

    def steps_changed(steps: Steps, index: int) -> Steps:
        changed_steps = []
        for feeds in steps:
            changed = dict(feeds)
            for name in inputs & feeds.keys():
                random = np.random.default_rng([seed, index])
                changed[name] = _change_array(feeds[name], change, random)
            changed_steps.append(changed)
        return changed_steps

    return steps_changed


def _change_array(array: Array, change: Change, random: Random) -> Array:
    changed = change(array.astype(np.float64), random)
    if array.dtype == np.uint8:
        changed = np.clip(np.rint(changed), 0, BRIGHTEST)
    return np.asarray(changed.astype(array.dtype))
