"""Predicted damage of every form at every operator, kept in the project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from packlight.compression import compress
from packlight.compression.bit_allocation.candidate_damage import (
    CandidateDamage,
    held_out_split,
    predict_damage,
)
from packlight.compression.threads import limited_threads
from packlight.planning.size.exact_size import SIMPLIFY
from packlight.records import digest
from packlight.runtime.calibration import Calibrator
from packlight.search.bench import Bench
from packlight.search.forms import form_config
from packlight.task import Selection


@dataclass(frozen=True, slots=True)
class DamageTable:
    """Predicted damage as a project stores it.

    Attributes:
        variant: id of the original.
        forms: as recipes write them.
        entries: of every operator.
    """

    variant: str
    forms: tuple[str, ...]
    entries: tuple[StoredDamage, ...]


@dataclass(frozen=True, slots=True)
class StoredDamage:
    """Damage and bytes of one operator's forms, by the index of the form."""

    operator: str
    numbers: int
    before: int
    forms: tuple[int, ...]
    damage: tuple[float, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, entry: CandidateDamage) -> StoredDamage:
        """What is stored of an operator."""
        forms = tuple(sorted(entry.damage))
        damage = tuple(entry.damage[form] for form in forms)
        after = tuple(entry.after[form] for form in forms)
        return cls(entry.operator, entry.numbers, entry.before, forms, damage, after)

    def entry(self) -> CandidateDamage:
        """The operator as the search uses it."""
        damage = dict(zip(self.forms, self.damage, strict=True))
        after = dict(zip(self.forms, self.after, strict=True))
        return CandidateDamage(self.operator, self.numbers, self.before, damage, after)


def damage_table(bench: Bench, forms: Sequence[str]) -> DamageTable:
    """The damage table of a project, computed once."""
    key = digest([
        bench.original.id, bench.task.calibration_digest, bench.task.calibration_groups,
        list(forms), bench.options,
        version("packlight"),
    ])  # fmt: skip
    stored = bench.store.get("damage", key, DamageTable)
    if stored is None:
        stored = _predict(bench, forms)
        bench.store.put("damage", key, stored)
    return stored


def _predict(bench: Bench, forms: Sequence[str]) -> DamageTable:
    calibration = bench.task.calibration
    fitting, held_out = held_out_split(len(calibration), bench.task.calibration_groups)
    graph = compress(bench.opened.model, SIMPLIFY).model.graph
    configs = [form_config(form) for form in forms]
    with limited_threads(None):
        entries = predict_damage(
            graph,
            configs,
            _calibrator(bench, fitting),
            _calibrator(bench, held_out),
            bench.progress,
        )
    return DamageTable(bench.original.id, tuple(forms), tuple(map(StoredDamage.of, entries)))


def _calibrator(bench: Bench, part: Sequence[int]) -> Calibrator:
    task = bench.task
    return Calibrator(Selection(task.calibration, part), bench.options, state=task.state)
