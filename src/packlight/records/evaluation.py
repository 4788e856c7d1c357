"""Quality of a variant on data: metrics, groups, fidelity, and session options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from packlight.records.contrast import Contrast
from packlight.records.display import Displayed, Tabular
from packlight.records.measurement import Measurement
from packlight.records.session import SessionOptions


@dataclass(frozen=True, slots=True)
class Group:
    """One subgroup of the samples.

    Attributes:
        column: the group column, as ``class``.
        name: the group in it, as ``Shirt``.
        n: samples in it.
        metric: the task's metric in it.
        drop: against the reference, paired; positive is worse.
        flips: share of its decisions that were right and are wrong now; None without decisions.
    """

    column: str
    name: str
    n: int
    metric: Measurement
    drop: Measurement
    flips: Measurement | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation(Displayed, Tabular):
    """A variant on the samples of a task, against a reference on the same samples.

    Attributes:
        variant: id.
        reference: id of the variant it is compared with; its own id for the original.
        data: digest of the samples.
        split: name of the data.
        session: how it was run.
        metrics: the task's metric under its name, ``drop``, ``flips`` and fidelity.
        groups: every group of every column.
        labels: warnings that go wherever the variant is shown, as ``runtime differs``.
        detectable: minimum detectable drop at 80 % power; 0 where unknown.
        samples: file of the table of single samples; empty when not stored.
        warnings: sentences about the data.
        seed: of everything random.
        machine: digest of the machine.
        code: digest of the Python text that made the task, preprocessing included; empty where
            none did.
        distance: what ``divergence`` in the table of single samples is.
        beside: file of the reference's table of single samples; empty when not stored.
        contrast: with the reference, group by group and sample by sample; None where it was not
            asked for, or the variant is the reference.
        metric: name of the task's metric.
        rows: of the metric, one for each sample; they pair this evaluation with another one that
            was saved. Empty where the metric compares with the reference.
    """

    VERSION: ClassVar[int] = 2

    variant: str
    reference: str
    data: str
    split: str
    session: SessionOptions
    metrics: Mapping[str, Measurement]
    groups: tuple[Group, ...] = ()
    labels: tuple[str, ...] = ()
    detectable: float = 0.0
    samples: str = ""
    warnings: tuple[str, ...] = ()
    seed: int = 0
    machine: str = ""
    code: str = ""
    distance: str = ""
    beside: str = ""
    contrast: Contrast | None = None
    metric: str = ""
    rows: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs of a variant on this machine.

    Attributes:
        variant: id.
        metrics: some of ``size``, ``download``, ``latency``, ``latency_p90``, ``latency_p99``,
            ``latency_ratio``, ``peak_memory``.
        session: how it was run.
        machine: digest of the machine; empty for what does not depend on it.
    """

    VERSION: ClassVar[int] = 1

    variant: str
    metrics: Mapping[str, Measurement] = field(default_factory=dict)
    session: SessionOptions = field(default_factory=SessionOptions)
    machine: str = ""
