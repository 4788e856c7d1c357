"""Small seeded changes of inputs, such as happen in use.

Sizes are relative to the numbers of the sample: noise of a tenth of their standard deviation for
images and a thirtieth for sound (20 and 30 dB), a brightness of a quarter of it, a blur over 3 x 3
pixels, a shift by one pixel in sixteen at most, a level of 6 dB less.
Source: the mildest steps of Hendrycks and Dietterich, Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations, ICLR 2019, which these are of the kind of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
"""(numbers of one input, drawn numbers) -> changed numbers."""

IMAGE_RANK, SMALLEST_IMAGE, CHANNELS = 4, 8, (1, 3, 4)
SHORTEST_SOUND, SOUND_RANK = 256, 3
MILD, FAINT, LIGHT, QUIETER = 0.1, 10 ** (-30 / 20), 0.25, 0.5
FARTHEST, BRIGHTEST = 16, 255


def noise(numbers: Numbers, random: Random) -> Numbers:
    """Normal noise, 20 dB below the numbers."""
    return noisy(numbers, random, MILD)


def faint_noise(numbers: Numbers, random: Random) -> Numbers:
    """Normal noise, 30 dB below the numbers."""
    return noisy(numbers, random, FAINT)


def noisy(numbers: Numbers, random: Random, size: float) -> Numbers:
    """Numbers with normal noise of so many of their standard deviations."""
    return np.asarray(numbers + random.standard_normal(numbers.shape) * numbers.std() * size)


def blur(numbers: Numbers, random: Random) -> Numbers:
    """A binomial blur over 3 x 3 pixels."""
    del random
    for axis in pixels(numbers):
        edges = [(1, 1) if place == axis else (0, 0) for place in range(numbers.ndim)]
        wide = np.pad(numbers, edges, mode="edge")
        size = numbers.shape[axis]
        parts = [np.take(wide, range(start, start + size), axis) for start in range(3)]
        numbers = (parts[0] + 2 * parts[1] + parts[2]) / 4
    return numbers


def brightness(numbers: Numbers, random: Random) -> Numbers:
    """Brighter or darker, by a quarter of the standard deviation."""
    return np.asarray(numbers + random.choice([-1, 1]) * numbers.std() * LIGHT)


def shift(numbers: Numbers, random: Random) -> Numbers:
    """Shifted by some pixels either way, the edges repeated."""
    for axis in pixels(numbers):
        most = max(1, numbers.shape[axis] // FARTHEST)
        by = int(random.integers(1, most + 1)) * int(random.choice([-1, 1]))
        places = np.clip(np.arange(numbers.shape[axis]) + by, 0, numbers.shape[axis] - 1)
        numbers = np.take(numbers, places, axis)
    return numbers


def level(numbers: Numbers, random: Random) -> Numbers:
    """Half as loud."""
    del random
    return numbers * QUIETER


def pixels(numbers: Numbers) -> tuple[int, int]:
    """Axes of the rows and columns of an image (batch, channels, rows, columns) or with channels
    last."""
    return (1, 2) if numbers.shape[-1] in CHANNELS else (2, 3)


CHANGES: Mapping[str, Mapping[str, Change]] = {
    "image": {"noise": noise, "blur": blur, "brightness": brightness, "shift": shift},
    "sound": {"noise": faint_noise, "level": level},
    "numbers": {"noise": faint_noise},
}
"""By kind of input."""


def kind_of(array: Array) -> str:
    """What an input looks like: an image, sound, other numbers, or nothing that can be changed."""
    pixel = array.dtype == np.uint8
    if not (is_float(array.dtype) or pixel):
        return ""
    sizes = array.shape
    rows = pixels(np.zeros(sizes)) if array.ndim == IMAGE_RANK else ()
    if rows and min(sizes[axis] for axis in rows) >= SMALLEST_IMAGE:
        return "image"
    if array.ndim and sizes[-1] >= SHORTEST_SOUND and array.ndim <= SOUND_RANK and not pixel:
        return "sound"
    return "numbers" if array.size > 1 else ""


def changed_tasks(task: Task, seed: int) -> dict[str, Task]:
    """The task under each change that fits its inputs, and under its own.

    Raises:
        TaskError: no input can be changed, and the task brings no change of its own.
    """
    first = task.samples[0][0]
    carried = set(task.state.values())
    kinds = {
        name: kind_of(np.asarray(array)) for name, array in first.items() if name not in carried
    }
    order = [kind for kind in CHANGES if kind in kinds.values()]
    chosen = {name: kind for name, kind in kinds.items() if order and kind == order[0]}
    found = {
        name: replaced(task, applied(change, chosen, seed))
        for name, change in (CHANGES[order[0]].items() if order else ())
    }
    for name, own in task.changes.items():
        found[name] = replaced(task, seeded(own, seed))
    if not found:
        raise TaskError(
            f"no input of task '{task.name}' is an image, sound or other real numbers, so none can "
            "be changed a little; give Task(changes={name: function}) of your own"
        )
    return found


def seeded(change: Callable[[Steps, int], Steps], seed: int) -> Callable[[Steps, int], Steps]:
    """A change whose seed for each sample follows from one for all."""
    return lambda steps, index: change(steps, seed + index)


def replaced(task: Task, change: Callable[[Steps, int], Steps]) -> Task:
    """The task with every sample changed when it is asked for."""
    samples = task.samples
    lazy = LazySamples(len(samples), lambda index: change(samples[index], index))
    return replace(task, samples=lazy)


def applied(change: Change, inputs: Mapping[str, str], seed: int) -> Callable[[Steps, int], Steps]:
    """A change of some inputs, the same one in all calls of a sample."""

    def steps_changed(steps: Steps, index: int) -> Steps:
        return [
            {
                name: one_changed(array, change, np.random.default_rng([seed, index]))
                if name in inputs
                else array
                for name, array in feeds.items()
            }
            for feeds in steps
        ]

    return steps_changed


def one_changed(array: Array, change: Change, random: Random) -> Array:
    """One input, changed, in the type that it had."""
    made = change(array.astype(np.float64), random)
    if array.dtype == np.uint8:
        made = np.clip(np.rint(made), 0, BRIGHTEST)
    return np.asarray(made.astype(array.dtype))
