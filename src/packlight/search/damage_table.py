"""Predicted damage of forms of weights, as a project stores it."""

from __future__ import annotations

from dataclasses import dataclass

from packlight.compression.bit_allocation.candidate_damage import (
    CandidateDamage,
)


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
