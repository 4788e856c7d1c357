"""Calibration samples and changed copies of them, so that methods see more than was collected.

Images are cropped, mirrored, joined to mosaics, blended, recolored and given noise; sound gets
other levels, noise, another beginning and a second sound below it; spans of token ids change places
and are left out. Other inputs stay as they are. Values stay within the range of their samples.
Source: mosaics as in Bochkovskiy et al., "YOLOv4" (2020); blends as in Zhang et al., "mixup" (ICLR
2018); changed order of spans as in Lewis et al., "BART" (ACL 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from packlight.task.changes import BRIGHTEST, CHANNELS, input_kind
from packlight.task.samples import LazySamples

if TYPE_CHECKING:
    from packlight.runtime import Steps

Array = NDArray[np.generic]
Numbers = NDArray[np.float64]
Random = np.random.Generator
InputKind = Literal["images", "sound", "tokens"]

COPIES = 2
"""Changed copies of every sample, beside the sample itself."""

SEED = 0x5EED
"""Sets the draws of augmentation apart from others of the same seed."""

SMALLEST_CROP = 0.5
"""Of the sides of an image."""

COLOR_SPREAD = 0.15
"""Spread of a channel's gain, and of its offset in standard deviations of the image."""

MOST_NOISE = 0.1
"""Standard deviation of noise, in those of the input."""

QUIETEST_DB = -12.0
"""Least gain of a sound."""

SECOND_SOUND = 0.5
"""Most of a second sound that is added."""

NEIGHBORS = 0.3
"""Correlation of neighbors from which on a row of numbers is sound, and not a table's."""

SHORTEST_TOKENS = 6
SPANS = 4
"""Token ids that are changed at least, and spans that change places at most."""

SHORTEST_SHARE = 0.5
"""Of a text that stays, where lengths may differ."""


@dataclass(frozen=True, slots=True)
class AugmentedInputs:
    """Inputs that copies change.

    Attributes:
        kinds: by name of the input.
        lengths_differ: whether texts may become shorter.
    """

    kinds: Mapping[str, InputKind]
    lengths_differ: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds, each once."""
        return tuple(dict.fromkeys(self.kinds.values()))


def augmented_inputs(samples: Sequence[Steps], state: Mapping[str, str]) -> AugmentedInputs:
    """Inputs that copies of these samples change; none where all are tables or unknown."""
    if not len(samples):
        return AugmentedInputs({})
    first = samples[0]
    feeds = first[0]
    names = [name for name in feeds if name not in state.values()]
    kinds = {name: kind for name in names if (kind := _kind(np.asarray(feeds[name])))}
    tokens = [name for name, kind in kinds.items() if kind == "tokens"]
    if len(first) > 1:
        kinds = {name: kind for name, kind in kinds.items() if kind != "tokens"}
    lengths = {np.asarray(samples[index][0][name]).shape
               for index in range(min(len(samples), 32)) for name in tokens[:1]}  # fmt: skip
    return AugmentedInputs(kinds, len(lengths) > 1)


def _kind(array: Array) -> InputKind | None:
    """Kind of an input; None for those that stay as they are."""
    kind = input_kind(array)
    if kind == "image":
        return "images"
    if kind == "sound" and _neighbor_correlation(array) >= NEIGHBORS:
        return "sound"
    is_row = array.ndim == 2 and array.shape[0] == 1  # noqa: PLR2004 - (batch, length)
    if is_row and array.dtype.kind == "i" and array.size >= SHORTEST_TOKENS:
        return "tokens"
    return None


def _neighbor_correlation(array: Array) -> float:
    rows = array.astype(np.float64)
    rows = rows - rows.mean(axis=-1, keepdims=True)
    power = float(np.square(rows).sum())
    if not power:
        return 1.0
    return float((rows[..., 1:] * rows[..., :-1]).sum()) / power


def augmented_samples(
    samples: Sequence[Steps], state: Mapping[str, str], seed: int = 0
) -> Sequence[Steps]:
    """Every sample followed by its changed copies; the same for the same seed.

    Args:
        samples: to change; they are read when a copy is made.
        state: by output of a call, the input that it feeds at the next; such inputs stay.
        seed: of all draws.

    Returns:
        ``1 + COPIES`` times as many samples; the samples themselves where no input can be changed.
    """
    inputs = augmented_inputs(samples, state)
    if not inputs.kinds:
        return samples
    each = 1 + COPIES

    def build(index: int) -> Steps:
        source, copy = divmod(index, each)
        if not copy:
            return samples[source]
        return _copy_of(samples, source, inputs, np.random.default_rng([SEED, seed, index]))

    return LazySamples(len(samples) * each, build)


def _copy_of(
    samples: Sequence[Steps], source: int, inputs: AugmentedInputs, random: Random
) -> Steps:
    """A changed copy of one sample; some changes need others."""
    steps = samples[source]
    others = [samples[int(index)] for index in random.integers(0, len(samples), 3)]
    draws = int(random.integers(2**31))
    if "sound" in inputs.kinds.values() and len(steps) > 1:
        steps = steps[int(random.integers(0, len(steps) // 4 + 1)) :]
    changed = []
    for number, feeds in enumerate(steps):
        copy = dict(feeds)
        for name, kind in inputs.kinds.items():
            partners = [np.asarray(other[number][name]) for other in others if number < len(other)]
            partners = [array for array in partners if array.shape == feeds[name].shape]
            one_call = len(steps) == 1
            change = CHANGES[kind]
            context = Copying(np.random.default_rng(draws), partners, one_call, inputs)
            copy[name] = change(np.asarray(feeds[name]), context)
        changed.append(copy)
    return changed


@dataclass(frozen=True, slots=True)
class Copying:
    """One copy that is made of an input.

    Attributes:
        random: the same draws for every input and call of a sample.
        partners: the same input of other samples, of the same shape.
        one_call: whether the sample has a single call.
        inputs: that copies change.
    """

    random: Random
    partners: Sequence[Array]
    one_call: bool
    inputs: AugmentedInputs


def _changed_image(array: Array, copy: Copying) -> Array:
    """Cropped and mirrored; a third of them a mosaic and a third a blend; recolored, with noise."""
    random = copy.random
    rows_first = array.shape[-1] in CHANNELS
    images = [_channels_first(image, rows_first=rows_first) for image in (array, *copy.partners)]
    low = min(map(np.min, images))
    high = max(map(np.max, images))
    form = int(random.integers(3)) if copy.partners else 0
    image = _cropped(images[0], random)
    if form == 1:
        image = _mosaic([_cropped(other, random) for other in images], random)
    elif form == 2:  # noqa: PLR2004 - the third form
        share = random.uniform(0.3, 0.7)
        image = share * image + (1 - share) * _cropped(images[1], random)
    if random.random() < 1 / 2:
        image = _recolored(image, random)
    if random.random() < 1 / 2:
        noise = random.uniform(0, MOST_NOISE) * image.std()
        image = image + noise * random.standard_normal(image.shape)
    image = np.clip(image, low, high)
    if rows_first:
        image = np.moveaxis(image, 1, -1)
    return _as_type(image, array)


def _channels_first(array: Array, *, rows_first: bool) -> Numbers:
    image = array.astype(np.float64)
    if rows_first:
        return np.moveaxis(image, -1, 1)
    return image


def _cropped(image: Numbers, random: Random) -> Numbers:
    """A part of an image (batch, channels, rows, columns) in the size of the whole."""
    height, width = image.shape[2:]
    side = random.uniform(SMALLEST_CROP, 1)
    rows = max(1, round(height * side))
    columns = max(1, round(width * side))
    top = int(random.integers(0, height - rows + 1))
    left = int(random.integers(0, width - columns + 1))
    part = image[:, :, top : top + rows, left : left + columns]
    if random.random() < 1 / 2:
        part = part[..., ::-1]
    return resized(part, height, width)


def resized(image: Numbers, height: int, width: int) -> Numbers:
    """An image (batch, channels, rows, columns) of another size, interpolated linearly."""
    for axis, size in ((2, height), (3, width)):
        old = image.shape[axis]
        places = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        before = np.floor(places).astype(np.intp)
        after = np.minimum(before + 1, old - 1)
        shape = [1] * image.ndim
        shape[axis] = size
        share = (places - before).reshape(shape)
        image = np.take(image, before, axis) * (1 - share) + np.take(image, after, axis) * share
    return image


def _mosaic(images: Sequence[Numbers], random: Random) -> Numbers:
    """Four images around a point."""
    height, width = images[0].shape[2:]
    row = round(height * random.uniform(0.3, 0.7))
    column = round(width * random.uniform(0.3, 0.7))
    joined = np.empty_like(images[0])
    corners = [(slice(0, row), slice(0, column)), (slice(0, row), slice(column, width)),
               (slice(row, height), slice(0, column)),
               (slice(row, height), slice(column, width))]  # fmt: skip
    for number, (rows, columns) in enumerate(corners):
        image = images[number % len(images)]
        size = rows.stop - rows.start, columns.stop - columns.start
        joined[:, :, rows, columns] = resized(image, *size)
    return joined


def _recolored(image: Numbers, random: Random) -> Numbers:
    """Another gain and offset for each channel."""
    shape = (1, image.shape[1], 1, 1)
    mean = image.mean()
    gain = np.exp(COLOR_SPREAD * random.standard_normal(shape))
    offset = COLOR_SPREAD * image.std() * random.standard_normal(shape)
    return np.asarray((image - mean) * gain + mean + offset)


def _changed_sound(array: Array, copy: Copying) -> Array:
    """Another level, another beginning, half of them with a second sound, with noise."""
    random = copy.random
    sound = array.astype(np.float64)
    peak = max([float(np.abs(sound).max()), *(float(np.abs(p).max()) for p in copy.partners)])
    gain = 10 ** (random.uniform(QUIETEST_DB, -QUIETEST_DB / 2) / 20)
    by = random.uniform()
    second = random.uniform(0, SECOND_SOUND) * (random.random() < 1 / 2)
    noise = random.uniform(0, MOST_NOISE)
    if copy.one_call:
        sound = np.roll(sound, round(by * sound.shape[-1]), axis=-1)
    if copy.partners:
        sound = sound + second * copy.partners[0].astype(np.float64)
    sound = gain * (sound + noise * sound.std() * random.standard_normal(sound.shape))
    return _as_type(np.clip(sound, -peak, peak), array)


def _changed_tokens(array: Array, copy: Copying) -> Array:
    """Spans in another order between the first and the last token; texts of other lengths."""
    values = array[0]
    steps = np.diff(values)
    places = shuffled_places(len(values), copy.random, may_cut=copy.inputs.lengths_differ)
    if len(set(steps.tolist())) == 1 and steps[0] == 1:
        return array[:, : len(places)]  # positions count on
    return array[:, places]


def shuffled_places(length: int, random: Random, *, may_cut: bool) -> NDArray[np.intp]:
    """Places of the tokens of a changed text, in its order; the ends stay where they are."""
    inner = np.arange(1, length - 1)
    if may_cut:
        kept = int(random.integers(round(len(inner) * SHORTEST_SHARE), len(inner) + 1))
        start = int(random.integers(0, len(inner) - kept + 1))
        inner = inner[start : start + max(kept, 1)]
    cuts = np.sort(random.integers(0, len(inner) + 1, int(random.integers(1, SPANS))))
    spans = np.split(inner, cuts)
    order = random.permutation(len(spans))
    return np.concatenate([[0], *(spans[index] for index in order), [length - 1]]).astype(np.intp)


def _as_type(numbers: Numbers, array: Array) -> Array:
    if array.dtype == np.uint8:
        return np.clip(np.rint(numbers), 0, BRIGHTEST).astype(np.uint8)
    return np.ascontiguousarray(numbers.astype(array.dtype))


CHANGES: Mapping[InputKind, Callable[[Array, Copying], Array]] = {
    "images": _changed_image,
    "sound": _changed_sound,
    "tokens": _changed_tokens,
}
"""Changes by kind of input."""
