"""Likeness of images to the true ones, by scikit-image."""

from __future__ import annotations

import numpy as np

from packlight.errors import TaskError
from packlight.metrics.extra import load_library
from packlight.metrics.fidelity import CEILING
from packlight.metrics.metric import Outputs, Rows, first_output, of_sums, ratio

PACKAGE = "scikit-image"
CHANNELS = (1, 3, 4)
PLANES = 2
SIGMA = 1.5
"""Standard deviation of the window of Wang et al., in pixels."""

WINDOW = 11
"""Pixels across that window, which scikit-image cuts at 3.5 standard deviations."""


def _image_pair(outputs: Outputs, target: object) -> tuple[Rows, Rows, float]:
    """The image and the true one, both (height, width[, channels]), and their greatest value.

    Raises:
        TaskError: they are no images of one size.
    """
    expected = np.asarray(target)
    if expected.dtype.kind not in "iuf":
        raise TaskError(f"the target of an image is an image; got type {expected.dtype}")
    image = _channels_last(first_output(outputs).astype(np.float64), "the model's first output")
    true_image = _channels_last(expected.astype(np.float64), "a target")
    if image.shape != true_image.shape:
        raise TaskError(
            f"an image and its target have one size; got {list(image.shape)} and "
            f"{list(true_image.shape)}"
        )
    greatest = 1.0
    if expected.dtype.kind == "u":
        greatest = float(np.iinfo(expected.dtype).max)
    return image, true_image, greatest


def _channels_last(array: Rows, what: str) -> Rows:
    """An image without its batch axis, and with its channels last."""
    image = array
    while image.ndim > PLANES and image.shape[0] == 1:
        image = image[0]
    if image.ndim == PLANES + 1 and image.shape[-1] not in CHANNELS and image.shape[0] in CHANNELS:
        image = np.moveaxis(image, 0, -1)
    if image.ndim == PLANES + 1 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.ndim not in (PLANES, PLANES + 1) or not image.size:
        raise TaskError(
            f"{what} must be an image (channels, height, width) or (height, width, channels); "
            f"got shape {list(array.shape)}"
        )
    return image


def _psnr_row(outputs: Outputs, target: object) -> Rows:
    """Decibels of one image, and 1; 150 dB where it is equal."""
    image, true_image, greatest = _image_pair(outputs, target)
    library = load_library(PACKAGE, "metrics", "psnr")
    if np.array_equal(image, true_image):
        return np.array([CEILING, 1.0])
    level = library.peak_signal_noise_ratio(true_image, image, data_range=greatest)
    return np.array([min(float(level), CEILING), 1.0])


def _ssim_row(outputs: Outputs, target: object) -> Rows:
    """Structural similarity of one image, and 1.

    Source: Wang et al., IEEE Transactions on Image Processing 13 (2004), with their window.
    """
    image, true_image, greatest = _image_pair(outputs, target)
    library = load_library(PACKAGE, "metrics", "ssim")
    if min(image.shape[:PLANES]) < WINDOW:
        raise TaskError(
            f"ssim compares windows of {WINDOW} x {WINDOW} pixels; the image is "
            f"{image.shape[0]} x {image.shape[1]}. Use psnr"
        )
    likeness = library.structural_similarity(
        true_image, image, data_range=greatest, gaussian_weights=True, sigma=SIGMA,
        use_sample_covariance=False, channel_axis=-1 if image.ndim > PLANES else None,
    )  # fmt: skip
    return np.array([float(likeness), 1.0])


IMAGE_METRICS = {
    "psnr": of_sums("psnr", _psnr_row, ratio, unit="dB", needs=(PACKAGE,)),
    "ssim": of_sums("ssim", _ssim_row, ratio, bounded=True, needs=(PACKAGE,)),
}
"""Metrics by name."""
