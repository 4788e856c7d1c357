"""Overlap of segmentation masks with the truth (intersection over union)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics.classes import THRESHOLD
from packlight.metrics.metric import Outputs, Rows, first_output, of_sums, ratio

IGNORED = 255
"""Class of pixels that do not count, in the data of VOC, Cityscapes and others."""

PLANES = 2
"""Axes of a map of classes."""


def class_map(outputs: Outputs) -> NDArray[np.int64]:
    """Class of each pixel (height, width) by the first output.

    Scores (1, classes, height, width) give the class of the highest; scores of one class give class
    1 above 0.5; an integer output holds classes already.

    Raises:
        TaskError: it has another shape.
    """
    output = first_output(outputs)
    if output.dtype.kind in "iub":
        return _plane(output.astype(np.int64))
    scores = output.astype(np.float64)
    while scores.ndim > PLANES + 1 and scores.shape[0] == 1:
        scores = scores[0]
    if scores.ndim == PLANES + 1 and scores.shape[0] > 1:
        return np.asarray(scores.argmax(axis=0), dtype=np.int64)
    return _plane((scores > THRESHOLD).astype(np.int64))


def _plane(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Classes (height, width), without leading axes of 1."""
    shape = classes.shape
    while len(shape) > PLANES and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != PLANES:
        raise TaskError(
            "a segmentation model gives (1, classes, height, width) scores or (height, width) "
            f"classes; its first output has shape {list(classes.shape)}. Decode it in a task: "
            "metric_by_name('miou', decode=function)"
        )
    return classes.reshape(shape)


def _maps(outputs: Outputs, target: object) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Classes of all pixels that count, predicted and true (pixels,)."""
    predicted = class_map(outputs)
    array = np.asarray(target)
    if array.dtype.kind not in "iub":
        raise TaskError(f"the target of a mask is a class for each pixel; got type {array.dtype}")
    expected = _plane(array.astype(np.int64))
    if expected.shape != predicted.shape:
        raise TaskError(
            f"the target of a mask has the model's height and width, {list(predicted.shape)}; "
            f"got {list(expected.shape)}"
        )
    counts = (expected >= 0) & (expected != IGNORED)
    return predicted[counts], expected[counts]


def overlap_row(outputs: Outputs, target: object) -> Rows:
    """Intersection and union of each class in one image, class after class."""
    predicted, expected = _maps(outputs, target)
    size = int(max(predicted.max(initial=0), expected.max(initial=0))) + 1
    both = np.bincount(expected[predicted == expected], minlength=size)
    union = np.bincount(predicted, minlength=size) + np.bincount(expected, minlength=size) - both
    return np.stack([both, union], axis=1).ravel().astype(np.float64)


def mean_iou(sums: Rows) -> Rows:
    """Mean over the classes that occur of intersection over union, from sums (..., 2 * classes)."""
    pairs = sums.reshape(*sums.shape[:-1], -1, 2)
    occurs = pairs[..., 1] > 0
    shares = np.where(occurs, ratio(pairs), 0.0)
    return np.asarray(shares.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1))


def _foreground_row(outputs: Outputs, target: object) -> Rows:
    """Intersection and union of all classes above 0 taken as one."""
    predicted, expected = _maps(outputs, target)
    both = np.count_nonzero((predicted > 0) & (expected > 0))
    return np.array([both, np.count_nonzero((predicted > 0) | (expected > 0))], dtype=np.float64)


MASK_METRICS = {
    "iou": of_sums("iou", _foreground_row, ratio, bounded=True),
    "miou": of_sums("miou", overlap_row, mean_iou, bounded=True, ragged=True),
}
"""Metrics by name."""
