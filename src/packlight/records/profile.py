"""Size, arithmetic, memory and latency by operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from packlight.records.display import Displayed, Tabular
from packlight.records.measurement import Measurement

Placement = Literal["", "kernel", "fused", "at load", "removed", "not run"]
Bound = Literal["", "arithmetic", "memory", "overhead", "nothing"]


@dataclass(frozen=True, slots=True)
class SourceLine:
    """Where an operator comes from, as PyTorch's exporter noted it.

    Attributes:
        file: path of the Python file, as on the machine that exported the model; empty where only
            the module is known.
        line: in that file, from 1; 0 where it is not known.
        module: path of the module below the network, as ``blocks.0.conv``; ``.`` is the network
            itself; empty where it is not known.
    """

    file: str = ""
    line: int = 0
    module: str = ""


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator's share of one run of the model.

    Attributes:
        name: of the operator.
        op: its type, with its domain where that is not the standard one.
        macs: multiply-accumulates; None where they are not known.
        other_ops: further arithmetic, in elementary operations on single numbers; None where it
            is not known.
        parameters: stored numbers that it reads and that training found: no indices, sizes, single
            limits, or statistics of a batch normalisation. A weight in another form counts the
            numbers that it stands for, and its scales and zero points none.
        weight_bytes: of all that is stored for it, as in the file.
        loaded_bytes: of the same as it is read at every run: what is restored when the model is
            loaded counts at the operator that uses it, in the form that it has then.
        activation_bytes_in: of what it reads that is computed at every run; None where a shape is
            not known.
        activation_bytes_out: of what it writes; None where a shape is not known.
        activation_bytes: both together.
        intensity: multiply-accumulates for each byte moved, which is ``loaded_bytes`` and
            ``activation_bytes``; None where one of them is not known, or nothing is moved.
        runs: how often it runs in one run of the model, which all of the above counts in: 1, or
            the length of the loops around it; 0 where it is computed when the model is loaded, or
            is on a branch that is taken to be not the costlier one.
        at_load: whether all that it reads is stored, so that it is computed once, when the model
            is loaded.
        shared: whether another operator reads some of the same weights and counts them too.
        source: where it comes from; None where the exporter left no note.
        latency: its share of the time of one run on this machine, with what was fused into it; None
            where that was not measured, or it has no kernel of its own.
        placement: what ONNX Runtime made of it: a ``kernel`` of its own; ``fused`` into that of
            another; computed ``at load``; ``removed``, for nothing is left to do; or a kernel that
            the measured runs did ``not run``, as on the other branch. Empty where not measured.
        into: name of the operator that it is fused into.
        predicted: time of one run on a device; 0 where it is fused or moves nothing; None where no
            device was named, or its cost is not known.
        bound: what that time is bound by: ``arithmetic`` or ``memory``, the longer of the two sides
            of the roofline, ``overhead`` of the call where that is longer than both, or ``nothing``
            where it takes no time. Empty where ``predicted`` is None.
    """

    name: str
    op: str
    macs: int | None
    other_ops: int | None
    parameters: int
    weight_bytes: int
    loaded_bytes: int
    activation_bytes_in: int | None
    activation_bytes_out: int | None
    activation_bytes: int | None
    intensity: float | None = None
    runs: int = 1
    at_load: bool = False
    shared: bool = False
    source: SourceLine | None = None
    latency: Measurement | None = None
    placement: Placement = ""
    into: str = ""
    predicted: Measurement | None = None
    bound: Bound = ""

    @property
    def origin(self) -> SourceLine:
        """Its source; one without file and module where the exporter left no note."""
        return self.source or SourceLine()


@dataclass(frozen=True, slots=True, repr=False)
class Profile(Displayed, Tabular):
    """Costs by operator and in all.

    Attributes:
        model: name.
        operators: in the order they run, those in subgraphs included; what a call of one of the
            model's own functions does counts at the call.
        totals: ``macs``, ``other_ops``, ``parameters``, ``weight_bytes`` and ``loaded_bytes``;
            where all shapes are known, ``peak_activation_bytes`` and ``arena_bytes``; ``size`` of
            the file, and ``download`` where that was asked. Weights count once, however
            many operators read them. Arithmetic is estimated, not counted, where some operators
            are unknown, which it leaves out; its interval has no upper end then. Where it was
            measured, ``latency``, which is the sum of those of the operators;
            ``profiling_ratio``, how many times as long the runs took that kernels were timed in;
            and ``between_kernels``, the share of those runs that no kernel took. For a device,
            ``predicted_latency`` and ``predicted_memory``, the peak memory as ``plan`` predicts it.
        peak_operator: the operator that runs while most memory for activations is needed.
        inputs: shapes that the model was counted for.
        unknown: operators whose arithmetic could not be counted, with why; one sentence for each
            reason.
        notes: what was assumed, and what to give where something is open.
        device: what times were predicted for, as ``pixel-8, cpu``; empty where that was not asked.
    """

    VERSION: ClassVar[int] = 3

    model: str
    operators: tuple[OperatorCost, ...]
    totals: Mapping[str, Measurement]
    peak_operator: str = ""
    inputs: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    device: str = ""
