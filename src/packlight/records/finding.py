"""A cause of lost quality, time or size, with evidence and the next step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self

from packlight.records.diagnosis import DiagnosisSummary
from packlight.records.display import Displayed, Tabular
from packlight.records.measurement import Measurement
from packlight.records.profile import SourceLine

Severity = Literal["serious", "warning", "note"]
Harm = Literal["quality", "time", "size"]


@dataclass(frozen=True, slots=True, repr=False)
class Finding(Displayed):
    """A diagnosed cause.

    Attributes:
        cause: in a word or two, as ``integer-saturation``.
        severity: of quality, by the signal to noise that the cause alone leaves: ``serious`` below
            10 dB, ``warning`` below 20 dB, else ``note``; of time and size, by how much the variant
            is slower, or larger, than it should be.
        harm: what suffers.
        sentence: what was found.
        operator: of the reference, where it is worst; empty where it is everywhere.
        evidence: the measurements that show it, by name.
        next_step: what to do.
        source: where the operator comes from; None where the exporter left no note.
        operators: all that are concerned, the worst first.
        weight: by which findings of one severity are ranked: noise over signal in amplitude, or a
            share of time or bytes.
        lessons: ids of what practitioners know about it.
    """

    VERSION: ClassVar[int] = 1

    cause: str
    severity: Severity
    harm: Harm
    sentence: str
    operator: str = ""
    evidence: Mapping[str, Measurement] = field(default_factory=dict)
    next_step: str = ""
    source: SourceLine | None = None
    operators: tuple[str, ...] = ()
    weight: float = 0.0
    lessons: tuple[str, ...] = ()


class Findings(Displayed, Tabular, tuple[Finding, ...]):
    """Findings, the most serious first; a tuple that prints as a table.

    Attributes:
        summary: costs of the variant, and where its time goes; None where nothing was measured.
    """

    summary: DiagnosisSummary | None

    def __new__(
        cls, findings: Iterable[Finding] = (), summary: DiagnosisSummary | None = None
    ) -> Self:
        """Collect findings, with the summary if there is one."""
        self = super().__new__(cls, tuple(findings))
        self.summary = summary
        return self
