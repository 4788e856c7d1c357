"""A task: samples, targets, groups, a metric and a calibration set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from packlight.errors import TaskError
from packlight.metrics import Metric, check_installed, metric_by_name
from packlight.records.codec import ID_LENGTH, canonical, plain
from packlight.runtime.sample_digest import array_bytes, fingerprint

if TYPE_CHECKING:
    from packlight.runtime import Steps

Targets = Sequence[object] | NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Task:
    """Data and metric that measure the quality of a model, and data that methods may use.

    A sample is a sequence of calls of the model, nearly always one, with a batch size of 1, as in
    deployment: DynamicQuantizeLinear computes one range for a batch, so the result of a sample
    would depend on its neighbors in the batch. A stateful model gets several calls, and ``state``
    names the values that one call passes to the next.

    Attributes:
        name: for people.
        samples: by index, possibly computed on access.
        metric: of :mod:`packlight.metrics`, or its name, as ``"top1"``.
        targets: one for each sample; empty where the metric compares with the reference.
        groups: by column, the group of each sample.
        calibration: samples that methods may use; none of them among ``samples``.
        calibration_groups: by column, the group of each calibration sample, as the photo that it
            is a part of: those of one group are not different data.
        state: output of a call -> input that it feeds at the next.
        split: name of the data.
        remarks: sentences about the data, shown with the task.
        changes: small changes of inputs by name, (calls of a sample, seed) -> changed calls, for
            ``compare --robustness``, in addition to those for images and sound.
        code: digest of the Python file that defines it; empty without one.
    """

    name: str
    samples: Sequence[Steps]
    metric: Metric
    targets: Targets = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    calibration: Sequence[Steps] = ()
    calibration_groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    split: str = "test"
    remarks: tuple[str, ...] = ()
    code: str = ""
    changes: Mapping[str, Callable[[Steps, int], Steps]] = field(default_factory=dict)

    def __repr__(self) -> str:
        sets = f"{len(self.samples):,} samples, {len(self.calibration):,} for calibration"
        return f"Task({self.name!r}, {sets}, metric {self.metric.name}, groups {list(self.groups)})"

    def __post_init__(self) -> None:
        named: object = self.metric
        if isinstance(named, str):
            object.__setattr__(self, "metric", metric_by_name(named))
        check_installed(self.metric.name, self.metric.needs)
        count = len(self.samples)
        if not count:
            raise TaskError(f"a task has samples; '{self.name}' has none")
        target_count = count * (self.metric.against == "target")
        if len(self.targets) != target_count:
            raise TaskError(
                f"task '{self.name}' has {count} samples and {len(self.targets)} targets, but "
                f"metric '{self.metric.name}' compares with the {self.metric.against}: "
                f"give {target_count}"
            )
        self._check_groups(self.groups, count, "samples")
        self._check_groups(self.calibration_groups, len(self.calibration), "calibration samples")

    def _check_groups(self, groups: Mapping[str, Sequence[str]], count: int, samples: str) -> None:
        for column, names in groups.items():
            if len(names) != count:
                raise TaskError(
                    f"a group column names the group of each of {count} {samples}; "
                    f"column '{column}' of task '{self.name}' has {len(names)}"
                )

    @cached_property
    def fingerprints(self) -> tuple[bytes, ...]:
        """A digest of each sample; computes every sample once."""
        return tuple(fingerprint(steps) for steps in self.samples)

    @cached_property
    def calibration_fingerprints(self) -> tuple[bytes, ...]:
        """A digest of each calibration sample."""
        return tuple(fingerprint(steps) for steps in self.calibration)

    @cached_property
    def digest(self) -> str:
        """Digest of the input of an evaluation: samples, targets, groups, metric, state."""
        groups = {column: list(map(str, names)) for column, names in self.groups.items()}
        head = canonical([self.metric.name, groups, plain(self.state), self.split, self.code])
        targets = (_target_bytes(target) for target in self.targets)
        return _digest_of_pieces([head.encode(), *self.fingerprints], targets)

    @cached_property
    def calibration_digest(self) -> str:
        """Digest of the calibration samples and the state; empty where there are none."""
        if not len(self.calibration):
            return ""
        return _digest_of_pieces([canonical(self.state).encode()], self.calibration_fingerprints)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """The remarks and the warnings."""
        return (*self.remarks, *self.warnings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence where calibration and test share samples."""
        shared = len(set(self.fingerprints) & set(self.calibration_fingerprints))
        if not shared:
            return ()
        return (
            f"{shared} calibration samples of task '{self.name}' are also test samples, so its "
            "results are better than on new data; calibrate on others",
        )


def _target_bytes(target: object) -> bytes:
    """Content of a target.

    Raises:
        TaskError: its type has no content to digest.
    """
    if isinstance(target, np.ndarray | np.generic):
        return array_bytes("target", np.asarray(target))
    try:
        return canonical([target]).encode()
    except (TypeError, ValueError) as error:
        raise TaskError(
            "a target is an array, a finite number, a text, or lists or mappings of these; "
            f"got {type(target).__name__}"
        ) from error


def _digest_of_pieces(first: Sequence[bytes], second: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for pieces in (first, second):
        for piece in pieces:
            total.update(len(piece).to_bytes(8, "little") + piece)
    return total.hexdigest()[:ID_LENGTH]
