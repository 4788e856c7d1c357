"""Calibration samples that are made from a model alone.

Images are overlapping shapes of many sizes with texture and noise of natural spectra; their range
is that which the statistics of batch norms fit best. Sound is noise of a natural spectrum with
pauses, token ids are drawn from the rows of the table that reads them, other numbers are normal.
Source: Baradad et al., "Learning to See by Looking at Noise" (NeurIPS 2021), dead leaves and
spectra; Cai et al., "ZeroQ" (CVPR 2020), statistics of batch norms in place of data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from packlight import runtime
from packlight.errors import ModelError, RecipeError
from packlight.model import Model, nodes, stored_tensor
from packlight.records.session import SessionOptions
from packlight.task.changes import CHANNELS, IMAGE_RANK
from packlight.task.samples import LazySamples

Numbers = NDArray[np.float64]
Array = NDArray[np.generic]
Random = np.random.Generator

SAMPLES = 128
"""Samples that are made."""

SEED = 0x517
"""Sets the draws of synthetic samples apart from others of the same seed."""

SHORTEST_SOUND = 256
OPEN_SIDE = 224
"""Rows and columns of images where the model leaves them open."""

SHORTEST_TEXT = 8
LONGEST_TEXT = 64
"""Tokens where the model leaves their number open."""

PROBED = 12
"""Samples by which a range is chosen."""

RANGES = ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0), (-2.1, 2.6))
"""Ranges of pixels that are tried: bytes, shares, centered, and of unit variance, which is taken
where no batch norm tells."""

EXPONENTS = (1.0, 2.5)
"""Of brightness: even, or with much that is dark."""

PIXELS = 255.0


@dataclass(frozen=True, slots=True)
class PixelRange:
    """Numbers of pixels.

    Attributes:
        low: of black.
        high: of white.
        exponent: of brightness.
    """

    low: float
    high: float
    exponent: float = 1.0


UNIT_VARIANCE = PixelRange(*RANGES[-1])


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Samples that were made from a model.

    Attributes:
        samples: of one call each.
        kinds: of its inputs, each once.
    """

    samples: LazySamples
    kinds: tuple[str, ...]


def synthetic_samples(model: Model, options: SessionOptions, seed: int = 0) -> Synthetic:
    """Make samples for a model; the same for the same seed.

    Args:
        model: that is to be calibrated.
        options: of the session that compares statistics of batch norms.
        seed: of all draws.

    Raises:
        RecipeError: an input takes what cannot be made, or the model does not run on it.
    """
    inputs = [_synthetic_input(value, model) for value in model.inputs().values()]

    def samples_of(pixels: PixelRange) -> LazySamples:
        def build(index: int) -> tuple[Mapping[str, Array]]:
            random = np.random.default_rng([SEED, seed, index])
            sizes: dict[str, int] = {}
            return ({item.name: item.draw(random, pixels, sizes) for item in inputs},)

        return LazySamples(SAMPLES, build)

    kinds = tuple(dict.fromkeys(item.kind for item in inputs))
    pixels = UNIT_VARIANCE
    if "images" in kinds:
        pixels = best_range(model, options, samples_of)
    samples = samples_of(pixels)
    try:
        next(iter(runtime.stream(model, list(model.outputs()), [samples[0]], {}, options)))
    except ModelError as error:
        raise RecipeError(
            f"calibration=synthetic makes inputs that the model does not run on ({error}); give a "
            "task with real samples"
        ) from error
    return Synthetic(samples, kinds)


@dataclass(frozen=True, slots=True)
class SyntheticInput:
    """One input of a model.

    Attributes:
        name: of it.
        kind: ``images``, ``sound``, ``tokens`` or ``numbers``.
        dims: its shape; a name or None for an open dimension.
        dtype: its type.
        rows: of the table that token ids choose from; 0 where none is read by it.
    """

    name: str
    kind: str
    dims: tuple[int | str | None, ...]
    dtype: np.dtype[np.generic]
    rows: int = 0

    def draw(self, random: Random, pixels: PixelRange, sizes: dict[str, int]) -> Array:
        """Draw an array.

        Args:
            random: draws it.
            pixels: numbers of pixels.
            sizes: of open dimensions by name, which inputs have in common; grows.
        """
        shape = [self._size(axis, dim, random, sizes) for axis, dim in enumerate(self.dims)]
        if self.kind == "images":
            return self._image(shape, random, pixels)
        if self.kind == "sound":
            return synthetic_sound(shape, random).astype(self.dtype)
        if self.kind == "tokens":
            return np.asarray(random.integers(0, self.rows, shape), self.dtype)
        if self.dtype.kind == "f":
            return random.standard_normal(shape).astype(self.dtype)
        return np.ones(shape, self.dtype)

    def _size(self, axis: int, dim: int | str | None, random: Random, sizes: dict[str, int]) -> int:
        if isinstance(dim, int):
            return dim
        if axis == 0:
            return 1
        if self.kind == "images":
            return OPEN_SIDE
        drawn = int(random.integers(SHORTEST_TEXT, LONGEST_TEXT + 1))
        return sizes.setdefault(str(dim), drawn)

    def _image(self, shape: Sequence[int], random: Random, pixels: PixelRange) -> Array:
        last = self.dims[1] not in CHANNELS
        channels, height, width = shape[1:]
        if last:
            height, width, channels = shape[1:]
        image = synthetic_image(channels, height, width, random) ** pixels.exponent
        if last:
            image = image.transpose(1, 2, 0)
        if self.dtype.kind != "f":
            return np.rint(image * PIXELS)[None].astype(self.dtype)
        scaled = pixels.low + (pixels.high - pixels.low) * image
        return scaled[None].astype(self.dtype)


def _synthetic_input(value: ir.Value, model: Model) -> SyntheticInput:
    """How an input is drawn.

    Raises:
        RecipeError: its type or its number of dimensions is not known, or it takes texts.
    """
    name = str(value.name)
    if value.dtype is None or value.shape is None or value.dtype == ir.DataType.STRING:
        raise RecipeError(
            f"calibration=synthetic draws numbers of a known shape; input '{name}' takes none: "
            "give a task with real samples"
        )
    dims = tuple(
        dim if isinstance(dim, int) else getattr(dim, "value", None) for dim in value.shape
    )
    dtype = value.dtype.numpy()
    plain = SyntheticInput(name, "numbers", dims, dtype)
    is_image = len(dims) == IMAGE_RANK and (dims[1] in CHANNELS or dims[-1] in CHANNELS)
    if is_image and (dtype.kind == "f" or dtype == np.uint8):
        return replace(plain, kind="images")
    long = bool(dims) and isinstance(dims[-1], int) and dims[-1] >= SHORTEST_SOUND
    if dtype.kind == "f" and long and len(dims) < IMAGE_RANK:
        return replace(plain, kind="sound")
    rows = _table_rows(value, model)
    if dtype.kind == "i" and rows:
        return replace(plain, kind="tokens", rows=rows)
    return plain


def _table_rows(value: ir.Value, model: Model) -> int:
    """Rows of the table that an input chooses from; 0 where it chooses from none."""
    reading = {value}
    for node in nodes(model.graph):
        if not any(item in reading for item in node.inputs if item is not None):
            continue
        if node.op_type in ("Cast", "Identity"):
            reading.update(node.outputs)
        table = stored_tensor(node.inputs[0]) if node.op_type == "Gather" else None
        if table is not None and node.inputs[1] in reading and len(table.shape) > 1:
            return int(table.shape.numpy()[node.attributes.get_int("axis", 0)])
    return 0


def best_range(
    model: Model, options: SessionOptions, samples_of: Callable[[PixelRange], LazySamples]
) -> PixelRange:
    """The numbers of pixels with which inputs of batch norms are most as these remember them."""
    norms = list(_batch_norms(model))
    if not norms:
        return UNIT_VARIANCE
    candidates = [PixelRange(*ends, exponent) for ends, exponent in product(RANGES, EXPONENTS)]
    return min(
        candidates,
        key=lambda pixels: _statistics_gap(model, options, samples_of(pixels)[:PROBED], norms),
    )


@dataclass(frozen=True, slots=True)
class _BatchNorm:
    """Statistics that a batch norm remembers of its input.

    Attributes:
        source: name of the input.
        mean: by channel.
        variance: by channel.
    """

    source: str
    mean: Numbers
    variance: Numbers


def _batch_norms(model: Model) -> Iterator[_BatchNorm]:
    for node in model.graph.graph:
        if node.op_type != "BatchNormalization" or node.inputs[0] is None:
            continue
        mean = stored_tensor(node.inputs[3])
        variance = stored_tensor(node.inputs[4])
        if mean is None or variance is None:
            continue
        yield _BatchNorm(
            str(node.inputs[0].name),
            mean.numpy().astype(np.float64),
            np.maximum(variance.numpy().astype(np.float64), np.finfo(np.float32).tiny),
        )


def _statistics_gap(
    model: Model,
    options: SessionOptions,
    samples: Sequence[Sequence[Mapping[str, Array]]],
    norms: Sequence[_BatchNorm],
) -> float:
    """Mean gap of means, in remembered deviations, and of logarithms of variances."""
    names = list(dict.fromkeys(norm.source for norm in norms))
    moments = {name: [0.0, 0.0, 0.0] for name in names}
    totals: dict[str, list[Numbers | float]] = {name: list(sums) for name, sums in moments.items()}
    for values in runtime.stream(model, names, samples, {}, options):
        for name in names:
            channels = np.moveaxis(values[name].astype(np.float64), 1, 0)
            rows = channels.reshape(len(channels), -1)
            sums = totals[name]
            sums[0] = sums[0] + rows.shape[1]
            sums[1] = sums[1] + rows.sum(axis=1)
            sums[2] = sums[2] + (rows**2).sum(axis=1)
    gaps = []
    for norm in norms:
        count, total, squares = totals[norm.source]
        mean = total / count
        variance = np.maximum(squares / count - mean**2, norm.variance * 1e-6)
        off = (mean - norm.mean) ** 2 / norm.variance + np.log(variance / norm.variance) ** 2
        gaps.append(float(np.mean(off)))
    return float(np.mean(gaps))


def synthetic_image(channels: int, height: int, width: int, random: Random) -> Numbers:
    """An image (channels, height, width) from 0 to 1: shapes on a ground, textured, with noise."""
    rows, columns = np.mgrid[0:height, 0:width]
    texture = spectral_noise(channels, (height, width), random.uniform(0.8, 1.6), random)
    image = random.uniform() + 0.25 * random.uniform() * texture
    for _ in range(int(random.integers(3, 40))):
        radius = min(height, width) / 2 * random.uniform(0.06, 1.0) ** 1.5
        turn = random.uniform(0, np.pi)
        across = columns - random.uniform(0, width)
        down = rows - random.uniform(0, height)
        along = across * np.cos(turn) + down * np.sin(turn)
        beside = down * np.cos(turn) - across * np.sin(turn)
        inside = _shape(along / radius, beside / (radius * random.uniform(0.3, 1)), random)
        color = random.uniform() + 0.25 * random.standard_normal((channels, 1)) * (channels > 1)
        period = random.uniform(2, 20)
        strength = random.uniform(0, 0.2) * random.standard_normal()
        waves = strength * np.sin(2 * np.pi * (along / period + random.uniform()))
        image[:, inside] = np.clip(color, 0, 1) + waves[inside]
    grain = spectral_noise(channels, (height, width), random.uniform(0.5, 1.2), random)
    return np.clip(image + random.uniform(0, 0.1) * grain, 0, 1)


def _shape(along: Numbers, beside: Numbers, random: Random) -> NDArray[np.bool_]:
    """Places inside an ellipse, a rectangle or a triangle of radius 1."""
    form = int(random.integers(3))
    if form == 0:
        return np.asarray(along**2 + beside**2 < 1)
    if form == 1:
        return np.asarray((np.abs(along) < 1) & (np.abs(beside) < 1))
    return np.asarray((along < 1) & (np.abs(beside) < (along + 1) / 2))


SHARED = 0.85
"""Amplitude that channels of noise have in common."""


def spectral_noise(channels: int, size: tuple[int, int], power: float, random: Random) -> Numbers:
    """Noise (channels, rows, columns) of unit variance whose amplitude falls with the frequency.

    Args:
        channels: that have most of the noise in common.
        size: rows and columns.
        power: of the frequency, by which amplitudes fall; 1 in photos.
        random: draws it.
    """
    rows, columns = size
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None])
    frequency[0, 0] = 1 / max(size)
    shape = (channels, *frequency.shape)
    waves = random.standard_normal(shape) + 1j * random.standard_normal(shape)
    common = np.sqrt(channels) * waves.mean(axis=0, keepdims=True)
    waves = SHARED * common + np.sqrt(1 - SHARED**2) * waves
    noise = np.fft.irfft2(waves / frequency**power, s=size)
    noise -= noise.mean(axis=(1, 2), keepdims=True)
    return np.asarray(noise / (noise.std() + np.finfo(np.float64).tiny))


def synthetic_sound(shape: Sequence[int], random: Random) -> Numbers:
    """Noise whose power falls with the frequency, with a level that changes, up to 1."""
    length = shape[-1]
    frequency = np.fft.rfftfreq(length)
    frequency[0] = 1 / length
    size = (*shape[:-1], len(frequency))
    waves = random.standard_normal(size) + 1j * random.standard_normal(size)
    sound = np.fft.irfft(waves / frequency ** random.uniform(0.3, 1.2), n=length)
    peak = np.abs(sound).max() + np.finfo(np.float64).tiny
    level = 10 ** (random.uniform(-50, 0) / 20)
    places = np.linspace(0, 1, length)
    envelope = np.interp(places, np.linspace(0, 1, 5), random.uniform(0, 1, 5))
    return np.asarray(level * envelope * sound / peak)
