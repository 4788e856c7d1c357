"""One file on several processors: how far outputs, decisions and operators differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from packlight.records.display import Displayed
from packlight.records.machine import Machine
from packlight.records.measurement import Measurement
from packlight.records.session import SessionOptions

Cause = Literal["saturation", "rounding", "kernel"]
"""Sums of 8-bit products that leave 16 bits; codes one step apart or floats rounded otherwise; any
other difference."""

Kind = Literal["emulated", "kernels", "agent"]
"""Emulated by qemu; kernels for an older processor on this one; a machine with an agent."""


@dataclass(frozen=True, slots=True)
class KernelDifference:
    """An operator that computes something else there from the same inputs.

    Attributes:
        operator: name in the model, or of the kernel where it has none there.
        kernel: type of the kernel that it becomes.
        cause: of the difference.
        snr: signal to noise of its result for this machine's inputs, in dB.
        differing: share of the numbers of its result that differ.
        largest: difference: steps of a code, else in the unit of the result.
        codes: whether its result is in codes.
        saturated: share of its sums on samples that saturate; 0 where none do.
    """

    operator: str
    kernel: str
    cause: Cause
    snr: Measurement
    differing: float
    largest: float
    codes: bool
    saturated: float = 0.0


@dataclass(frozen=True, slots=True)
class ProcessorResult:
    """A model on one other processor.

    Attributes:
        name: as it was asked for, as ``cortex-a76`` or ``pi:7431``.
        kind: how it was reached.
        title: for people.
        machine: its record.
        metrics: ``snr`` of all outputs against those of this machine, ``snr_worst`` and
            ``snr_median`` over samples, ``agreement`` where the task decides, the task's metric
            there under its name and its ``drop`` against this machine; of an agent also
            ``latency``, ``latency_p90``, ``latency_p99`` and ``peak_memory``.
        operators: that differ, in the order of the graph.
        compared: operators that were compared one by one; 0 where the outputs are as good as equal.
        skipped: operators that were not, for they hold graphs of their own or draw random numbers.
    """

    name: str
    kind: Kind
    title: str
    machine: Machine
    metrics: Mapping[str, Measurement]
    operators: tuple[KernelDifference, ...] = ()
    compared: int = 0
    skipped: int = 0

    def operators_of(self, cause: Cause) -> tuple[KernelDifference, ...]:
        """Operators that differ for one cause, the noisiest first."""
        chosen = [operator for operator in self.operators if operator.cause == cause]
        return tuple(sorted(chosen, key=lambda operator: operator.snr.value))


@dataclass(frozen=True, slots=True, repr=False)
class Portability(Displayed):
    """One file on this machine and on other processors.

    Attributes:
        model: name.
        digest: of the file.
        task: name.
        metric: name of the task's metric.
        n: samples.
        session: how it was run everywhere.
        here: this machine, whose outputs are the reference.
        value: the task's metric here.
        processors: results, in the order that they were asked for.
        seed: of everything random.
    """

    VERSION: ClassVar[int] = 1

    model: str
    digest: str
    task: str
    metric: str
    n: int
    session: SessionOptions
    here: Machine
    value: Measurement
    processors: tuple[ProcessorResult, ...]
    seed: int = 0
