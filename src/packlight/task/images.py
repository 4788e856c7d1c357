"""A task from a folder of images, ``CLASS/*.png``, or ``test`` and ``calibration`` of that form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics import METRICS
from packlight.model.model import Model
from packlight.task.declared import Dims, declared_dims, declared_dtype, dims_text
from packlight.task.samples import LazySamples, Samples, Selection
from packlight.task.task import Task

if TYPE_CHECKING:
    from packlight.runtime import Steps

Indices = NDArray[np.int64]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
MODES = {1: "L", 3: "RGB"}
IMAGE_RANK = 4
CALIBRATION_SHARE = 0.1
MIN_IMAGES = 2
PIXELS = (
    "images are fed as pixels from 0 to 255, resized to the model's input, and class folders in "
    "alphabetical order are its classes; other scales and orders need a task in Python"
)


@dataclass(frozen=True, slots=True)
class Canvas:
    """The form of an image as input.

    Attributes:
        name: of the input.
        height: in pixels.
        width: in pixels.
        channels: 1 or 3.
        first: True if channels come before height and width.
        dtype: of the input.
    """

    name: str
    height: int
    width: int
    channels: int
    first: bool
    dtype: np.dtype[np.generic]


def load_images(folder: Path, model: Model, seed: int = 0) -> Task:
    """Read a task from a folder with one folder of images for each class.

    Raises:
        TaskError: the folder has another form, or the model does not take one image.
    """
    canvas = _image_input(model)
    parts = folder / "test", folder / "calibration"
    is_split = all(part.is_dir() for part in parts)
    files, labels, classes = _image_files(parts[0] if is_split else folder)
    _check_classes(classes, model)
    samples = _image_samples(files, canvas)
    remarks = [PIXELS]
    if is_split:
        calibration_files = _image_files(parts[1])[0]
        calibration: Samples = _image_samples(calibration_files, canvas)
        tested = np.arange(len(files))
    else:
        tested, chosen = _split_calibration(len(files), folder, seed)
        calibration_files = [files[index] for index in chosen]
        calibration = Selection(samples, chosen.tolist())
        remarks.append(f"{len(chosen)} of {len(files)} images were held back for calibration")
    return Task(
        name=folder.resolve().name,
        samples=Selection(samples, tested.tolist()),
        metric=METRICS["top1"],
        targets=labels[tested],
        groups={"class": tuple(classes[label] for label in labels[tested])},
        calibration=calibration,
        calibration_groups={"file": [file.name for file in calibration_files]},
        remarks=tuple(remarks),
    )


def _image_input(model: Model) -> Canvas:
    """The single input of a model that takes an image.

    Raises:
        TaskError: it takes something else.
    """
    values = list(model.inputs().values())
    canvas = None
    if len(values) == 1:
        canvas = _image_layout(declared_dims(values[0]) or ())
    if not canvas:
        shapes = ", ".join(f"{v.name} {dims_text(declared_dims(v) or ())}" for v in values)
        raise TaskError(
            "a folder of images needs a model with one input [batch, channels, height, width] or "
            "[batch, height, width, channels] of known size and 1 or 3 channels; this one takes "
            f"{shapes}. Write the task in Python: packlight init-task"
        )
    height, width, channels, first = canvas
    return Canvas(str(values[0].name), height, width, channels, first, declared_dtype(values[0]))


def _image_layout(dims: Dims) -> tuple[int, int, int, bool] | None:
    """Height, width, channels, and True if channels come first; None for no image."""
    if len(dims) != IMAGE_RANK or dims[0] not in (None, 1) or None in dims[1:]:
        return None
    sizes = [dim for dim in dims[1:] if dim is not None]
    if sizes[0] in MODES:
        return sizes[1], sizes[2], sizes[0], True
    if sizes[2] in MODES:
        return sizes[0], sizes[1], sizes[2], False
    return None


def _image_files(folder: Path) -> tuple[list[Path], Indices, list[str]]:
    """Files, the class index of each, and the class names in sorted order.

    Raises:
        TaskError: there are none.
    """
    classes = sorted(child.name for child in folder.iterdir() if child.is_dir())
    files: list[Path] = []
    indices: list[int] = []
    for index, name in enumerate(classes):
        children = sorted((folder / name).iterdir())
        images = [file for file in children if file.suffix.lower() in SUFFIXES and file.is_file()]
        files += images
        indices += [index] * len(images)
    if not files:
        raise TaskError(f"a folder of images holds CLASS/*.png or .jpg; '{folder.name}' holds none")
    return files, np.array(indices), classes


def _check_classes(classes: Sequence[str], model: Model) -> None:
    dims = declared_dims(next(iter(model.outputs().values()))) or (None,)
    scored = dims[-1]
    if scored is not None and scored > 1 and len(classes) > scored:
        raise TaskError(f"the model scores {scored} classes; the folder has {len(classes)}: "
                        f"{', '.join(classes[:5])}, ...")  # fmt: skip


def _split_calibration(count: int, folder: Path, seed: int) -> tuple[Indices, Indices]:
    if count < MIN_IMAGES:
        raise TaskError(f"at least {MIN_IMAGES} images are needed; '{folder.name}' has {count}")
    order = np.random.default_rng(seed).permutation(count)
    size = max(1, round(count * CALIBRATION_SHARE))
    return np.sort(order[size:]), np.sort(order[:size])


def _image_samples(files: Sequence[Path], canvas: Canvas) -> Samples:

    def build(index: int) -> Steps:
        return ({canvas.name: _read_image(files[index], canvas)},)

    return LazySamples(len(files), build)


def _read_image(path: Path, canvas: Canvas) -> NDArray[np.generic]:
    """One image with a leading axis of 1.

    Raises:
        TaskError: it cannot be read.
    """
    try:
        from PIL import Image  # noqa: PLC0415  an optional package
    except ImportError as error:
        raise TaskError(
            "a folder of images needs Pillow; install it: pip install pillow"
        ) from error
    try:
        with Image.open(path) as image:
            size = (canvas.width, canvas.height)
            converted = image.convert(MODES[canvas.channels])
            fitted = converted.resize(size, Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TaskError(f"'{path}' must be an image; reading it gives: {error}") from error
    pixels = np.asarray(fitted).reshape(canvas.height, canvas.width, canvas.channels)
    if canvas.first:
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[None], dtype=canvas.dtype)
