"""Average precision of detectors, as COCO defines it.

Detections are matched with the truth by pycocotools, image by image; a row holds the matches, so
that a bootstrap needs no matching. The precision over all images is computed here, equal to that of
pycocotools.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError, UndefinedError
from packlight.metrics.extra import load_library
from packlight.metrics.metric import Metric, Outputs, Rows

PACKAGE = "pycocotools"
THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Overlaps (IoU) from which a detection counts as right."""

RECALLS = np.linspace(0, 1, 101)
"""Recalls at which the precision is read."""

MOST_DETECTIONS = 100
"""Detections of one class in one image, the most certain first; COCO drops further ones."""

BOX = 4
COLUMNS_OF_TABLE = 6
"""Numbers of a detection in one table: box, score, class."""

HEAD = 2
PER_DETECTION = 4
PER_CLASS = 2

ROLES = {
    "boxes": (("box",), ("score", "num", "class", "label")),
    "scores": (("score",), ("num",)),
    "classes": (("label", "class"), ("score", "num")),
    "count": (("num",), ()),
}
"""Part of a detection -> words in the name of its output, and words that are not in it."""

TENSORFLOW = "detection_boxes"

Rectangles = NDArray[np.float64]
EVERYTHING = [[0, 1e10]]
"""Areas that count: all."""


class Detections(NamedTuple):
    """Detections in one image.

    Attributes:
        boxes: (m, 4) as x1, y1, x2, y2.
        scores: (m,).
        classes: (m,).
    """

    boxes: Rectangles
    scores: Rows
    classes: NDArray[np.int64]


class Objects(NamedTuple):
    """True objects in one image.

    Attributes:
        boxes: (m, 4) as x1, y1, x2, y2.
        classes: (m,).
        crowd: 1 for each crowd (m,), in which detections are neither right nor wrong.
    """

    boxes: Rectangles
    classes: NDArray[np.int64]
    crowd: NDArray[np.int64]


def detections(outputs: Outputs) -> Detections:
    """Boxes, scores and classes in the outputs of a detector.

    Three forms are known: outputs whose names contain ``box``, ``score``, and ``label`` or
    ``class``, with an optional count whose name contains ``num``; the same as the TensorFlow Object
    Detection API names them (``detection_boxes``), with boxes as y1, x1, y2, x2; and one table
    (..., m, 6) of x1, y1, x2, y2, score, class, as end-to-end YOLO models give. Detections of score
    0 and below fill a table up; they are dropped.

    Raises:
        TaskError: the outputs have another form.
    """
    names = {role: _output_named(outputs, *words) for role, words in ROLES.items()}
    if names["boxes"] and names["scores"] and names["classes"]:
        boxes = _flat_boxes(outputs[names["boxes"]], names["boxes"])
        if names["boxes"].lower().startswith(TENSORFLOW):
            boxes = boxes[:, [1, 0, 3, 2]]
        scores = outputs[names["scores"]].reshape(-1).astype(np.float64)
        classes = outputs[names["classes"]].reshape(-1)
        count = len(scores)
        if names["count"]:
            count = int(outputs[names["count"]].reshape(-1)[0])
        return _checked(boxes[:count], scores[:count], classes[:count])
    first = next(iter(outputs.values()))
    if len(outputs) == 1 and first.ndim > 1 and first.shape[-1] == COLUMNS_OF_TABLE:
        table = first.reshape(-1, COLUMNS_OF_TABLE).astype(np.float64)
        return _checked(table[:, :BOX], table[:, BOX], table[:, BOX + 1])
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    raise TaskError(
        "a detector gives outputs named boxes, scores and labels (or classes), or one table "
        f"(m, 6) of x1, y1, x2, y2, score, class; this one gives {shapes}. Decode them in a task: "
        "metric_by_name('map', decode=function), where function(outputs) gives "
        "(boxes, scores, classes)"
    )


def _output_named(outputs: Outputs, words: Sequence[str], without: Sequence[str]) -> str:
    """First output whose name contains one of the words and none of others; empty without one."""
    for name in outputs:
        small = name.lower()
        if any(word in small for word in words) and not any(word in small for word in without):
            return name
    return ""


def _flat_boxes(array: NDArray[np.generic], what: str) -> Rectangles:
    if array.size % BOX or (array.size and array.shape[-1] != BOX):
        raise TaskError(f"{what} are x1, y1, x2, y2 for each object; got shape {list(array.shape)}")
    return array.reshape(-1, BOX).astype(np.float64)


def _checked(boxes: Rectangles, scores: Rows, classes: NDArray[np.generic]) -> Detections:
    """Detections of positive score, all parts of one length."""
    if not len(boxes) == len(scores) == len(classes):
        raise TaskError(
            "a detector gives as many boxes as scores and classes; it gives "
            f"{len(boxes)}, {len(scores)} and {len(classes)}"
        )
    real = scores > 0
    whole = np.rint(classes[real].astype(np.float64)).astype(np.int64)
    return Detections(boxes[real], scores[real], whole)


def true_objects(target: object) -> Objects:
    """Boxes and classes of the objects in an image.

    Args:
        target: an array (m, 5) of x1, y1, x2, y2, class, in which rows of a negative class fill up;
            a sixth number of 1 marks a crowd. Or a mapping with ``boxes`` (m, 4), ``labels`` or
            ``classes`` (m,), and optionally ``crowd`` (m,).

    Raises:
        TaskError: it has another form.
    """
    if isinstance(target, Mapping):
        table = _table_of_mapping(target)
    else:
        table = np.asarray(target, dtype=np.float64)
        if not table.size:
            table = np.zeros((0, BOX + 1))
    if table.ndim != PER_CLASS or table.shape[1] not in (BOX + 1, BOX + 2):
        raise TaskError(
            "the target of a detector is (m, 5): x1, y1, x2, y2, class, with class -1 in rows that "
            f"fill up; got shape {list(table.shape)}"
        )
    table = table[table[:, BOX] >= 0]
    if (table[:, 2:BOX] < table[:, :2]).any():
        raise TaskError("a true box is x1, y1, x2, y2 with x1 <= x2 and y1 <= y2; one is not")
    classes = table[:, BOX].astype(np.int64)
    if (classes != table[:, BOX]).any():
        raise TaskError("the class of a true box is a whole number; one has a fraction")
    crowd = np.zeros(len(table), dtype=np.int64)
    if table.shape[1] > BOX + 1:
        crowd = (table[:, BOX + 1] > 0).astype(np.int64)
    return Objects(table[:, :BOX], classes, crowd)


def _table_of_mapping(target: Mapping[str, object]) -> Rows:
    name = "labels" if "labels" in target else "classes"
    if "boxes" not in target or name not in target:
        raise TaskError(
            f"the target of a detector has boxes and labels; it has {', '.join(map(str, target))}"
        )
    boxes = _flat_boxes(np.asarray(target["boxes"], dtype=np.float64), "true boxes")
    classes = np.asarray(target[name], dtype=np.float64).reshape(-1, 1)
    crowd = np.zeros_like(classes)
    if "crowd" in target:
        crowd = np.asarray(target["crowd"], dtype=np.float64).reshape(-1, 1)
    if not len(boxes) == len(classes) == len(crowd):
        raise TaskError(
            f"the target of a detector has a label for each box; it has {len(boxes)} boxes and "
            f"{len(classes)} labels"
        )
    return np.hstack([boxes, classes, crowd])


def match_row(outputs: Outputs, target: object) -> Rows:
    """Matches of one image: counts of detections and classes, then four and two numbers of each.

    A detection has its class, its score, and as bits by threshold where it is matched and where it
    does not count. A class has its number and its objects.
    """
    matched = []
    present = []
    for entry in _matched_classes(detections(outputs), true_objects(target)):
        scores = entry["dtScores"]
        bits = 1 << np.arange(len(THRESHOLDS))
        hit = bits @ (entry["dtMatches"] > 0)
        ignored = bits @ np.asarray(entry["dtIgnore"], dtype=np.int64)
        category = np.full(len(scores), entry["category_id"], dtype=np.float64)
        matched.append(np.stack([category, scores, hit, ignored], axis=1))
        objects = np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0)
        present.append([entry["category_id"], objects])
    found = np.concatenate([np.zeros((0, PER_DETECTION)), *matched])
    return np.concatenate([[len(found), len(present)], found.ravel(), np.ravel(present)])


def _matched_classes(found: Detections, truth: Objects) -> Iterator[dict[str, Any]]:
    """Matches of each class in one image, as pycocotools gives them."""
    coco = load_library(PACKAGE, "coco", "map")
    evaluation = load_library(PACKAGE, "cocoeval", "map")
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints what it does
        true_data = _dataset(coco, truth.boxes, truth.classes, iscrowd=truth.crowd)
        found_data = _dataset(coco, found.boxes, found.classes, score=found.scores)
        judge = evaluation.COCOeval(true_data, found_data, "bbox")
        judge.params.maxDets = [MOST_DETECTIONS]
        judge.params.areaRng = EVERYTHING
        judge.params.areaRngLbl = ["all"]
        judge.params.catIds = sorted({*found.classes.tolist(), *truth.classes.tolist()})
        judge.params.imgIds = [1]
        judge.evaluate()
    return (entry for entry in judge.evalImgs if entry is not None)


def _dataset(
    coco: Any, boxes: Rectangles, classes: NDArray[np.int64], **columns: NDArray[np.generic]
) -> Any:
    """Objects of one image in the form of pycocotools, with further fields from ``columns``."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    annotations = [
        {
            "id": index + 1,
            "image_id": 1,
            "category_id": int(classes[index]),
            "bbox": [*boxes[index, :2].tolist(), *size.tolist()],
            "area": float(size.prod()),
            "iscrowd": 0,
            **{name: values[index].item() for name, values in columns.items()},
        }
        for index, size in enumerate(sizes)
    ]
    data = coco.COCO()
    data.dataset = {"images": [{"id": 1}], "annotations": annotations, "categories": []}
    data.createIndex()
    return data


def average_precision(thresholds: Sequence[int], name: str) -> Callable[[Rows], float]:
    """Mean over classes and overlaps of the precision, itself a mean over 101 recalls."""

    def total(rows: Rows) -> float:
        matches, objects = _unpacked(rows)
        classes, owner = np.unique(objects[:, 0], return_inverse=True)
        counts = np.bincount(owner, objects[:, 1], len(classes))
        if not counts.any():
            raise UndefinedError(f"metric '{name}' needs at least one true object in the images")
        matches = matches[np.lexsort((-matches[:, 1], matches[:, 0]))]
        hits, ignored = (
            (bits >> np.array(thresholds)[:, None]) & 1
            for bits in matches[:, 2:].T.astype(np.int16)
        )
        starts = np.searchsorted(matches[:, 0], classes)
        ends = np.searchsorted(matches[:, 0], classes, side="right")
        right = hits & ~ignored
        wrong = (1 - hits) & ~ignored
        precisions = [
            _precision(right[:, start:end], wrong[:, start:end], count)
            for start, end, count in zip(starts, ends, counts, strict=True)
            if count
        ]
        return float(np.mean(precisions))

    return total


def _unpacked(rows: Rows) -> tuple[Rows, Rows]:
    """Matches (m, 4) and objects of classes (k, 2) of all images."""
    positions = np.arange(rows.shape[1])
    end_of_matches = HEAD + PER_DETECTION * rows[:, :1]
    end_of_classes = end_of_matches + PER_CLASS * rows[:, 1:2]
    is_match = (positions >= HEAD) & (positions < end_of_matches)
    is_class = (positions >= end_of_matches) & (positions < end_of_classes)
    return rows[is_match].reshape(-1, PER_DETECTION), rows[is_class].reshape(-1, PER_CLASS)


def _precision(right: NDArray[np.int16], wrong: NDArray[np.int16], count: float) -> float:
    """Mean precision of one class over recalls and overlaps.

    Args:
        right: 1 for each detection that counts as right, by overlap (overlaps, m), the most certain
            detection first.
        wrong: 1 for each that counts as wrong.
        count: objects of the class.
    """
    found = np.cumsum(right, axis=1, dtype=np.float64)
    precision = found / (np.cumsum(wrong, axis=1) + found + np.spacing(1))
    # The precision at a recall is the best one at this recall or a higher one, and 0 beyond.
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.hstack([best, np.zeros((len(best), 1))])
    read = [
        at_overlap[recall.searchsorted(RECALLS)]
        for at_overlap, recall in zip(best, found / count, strict=True)
    ]
    return float(np.mean(read))


def _metric(name: str, thresholds: Sequence[int]) -> Metric:
    return Metric(
        name, match_row, average_precision(thresholds, name), bounded=True, ragged=True,
        needs=(PACKAGE,),
    )  # fmt: skip


DETECTION_METRICS = {
    "map": _metric("map", range(len(THRESHOLDS))),
    "map50": _metric("map50", (0,)),
    "map75": _metric("map75", (5,)),
}
"""Metrics by name."""
