"""Refusals by reason, in words for the terminal and the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packlight.records.reason_code import ReasonCode
from packlight.records.variant import Refusal

REASONS: Mapping[ReasonCode, str] = {
    "already-integer": "computed in integers already",
    "already-quantized": "stored in codes already",
    "computed-weight": "weights that are computed, not stored",
    "model-input": "weights that are inputs of the model",
    "model-output": "outputs of the model, which must not change",
    "no-weight": "nothing stored to change",
    "shared": "also read by other operators",
    "not-finite": "numbers that are not finite",
    "not-float32": "numbers of another type",
    "overflow": "numbers beyond the range of the new type",
    "underflow": "numbers below the range of the new type",
    "too-small": "too small to gain",
    "vector": "vectors, which would lose more than their bytes are worth",
    "regular": "masks or positions, whose pattern would be lost",
    "not-smaller": "would not become smaller",
    "too-large": "would become too large",
    "too-few-inputs": "sums over too few inputs",
    "nothing-left": "nothing but zeros would remain",
    "no-gain": "nothing to gain",
    "unsupported-operator": "operators that the method does not handle",
    "attribute": "numbers that are attributes of the operator",
    "unsupported-shape": "shapes that the method does not handle",
    "unsupported-attributes": "attributes that the method does not handle",
    "unsupported-axes": "axes that the choice of scales does not suit",
    "unsupported-bits": "this width is not supported here",
    "unknown-shape": "unknown shapes",
    "training-mode": "in training mode",
    "no-fold-target": "nothing before it can take it in",
    "fixed-scale": "scales that must stay as they are",
    "not-proportional": "functions between the weights that do not pass on a scale",
    "unequal-channels": "channels that do not correspond",
    "no-kernel": "no kernel of the runtime",
    "float-input": "reads values that stay in float",
    "unsupported-storage": "storage that the device's runtime lacks",
    "not-expanded": "the device computes with weights as they are stored",
    "no-samples": "reached by no calibration sample",
    "uneven-levels": "levels of the input that are not even",
    "skipped": "left out by the recipe",
    "first-operator": "the first operator, kept in float",
    "last-operator": "the last operators, kept in float",
    "no-site": "the model has nothing for this step",
}
"""Reasons in words that hold for several operators."""


@dataclass(frozen=True, slots=True)
class RefusalGroup:
    """Refusals of one method for one reason.

    Attributes:
        method: that refused.
        code: the reason.
        refusals: in the order of the model.
    """

    method: str
    code: ReasonCode
    refusals: tuple[Refusal, ...]

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of the operators; none for a refusal of the whole model."""
        return tuple(dict.fromkeys(r.operator for r in self.refusals if r.operator))

    @property
    def reason(self) -> str:
        """The sentence of all refusals if they agree, else one that holds for each."""
        reasons = {refusal.reason for refusal in self.refusals}
        if len(reasons) == 1:
            return reasons.pop()
        return REASONS[self.code]

    @property
    def remedy(self) -> str:
        """The remedy if there is one for all, else empty."""
        remedies = {refusal.remedy for refusal in self.refusals}
        if len(remedies) == 1:
            return remedies.pop()
        return ""

    def details(self, refusal: Refusal) -> str:
        """Reason and remedy of one refusal where the group's do not say them."""
        texts = []
        if len({other.reason for other in self.refusals}) > 1:
            texts.append(refusal.reason)
        if len({other.remedy for other in self.refusals}) > 1 and refusal.remedy:
            texts.append(refusal.remedy)
        return "; ".join(texts)

    def sentence(self) -> str:
        """Method, count, reason and remedy in one line.

        >>> refusals = [
        ...     Refusal(name, "too-small", f"'{name}' has 4 numbers", "", "float16")
        ...     for name in ("bias", "mean")
        ... ]
        >>> RefusalGroup("float16", "too-small", tuple(refusals)).sentence()
        'float16 skipped 2: too small to gain'
        """
        count = f"{len(self.refusals):,}" if self.operators else "the model"
        sentence = f"{self.method} skipped {count}: {self.reason}"
        if self.remedy:
            return f"{sentence}; {self.remedy}"
        return sentence


def group_refusals(refusals: Iterable[Refusal]) -> list[RefusalGroup]:
    """Group refusals by method and reason, the most frequent first."""
    kinds: dict[tuple[str, ReasonCode], list[Refusal]] = {}
    for refusal in refusals:
        kinds.setdefault((refusal.method, refusal.code), []).append(refusal)
    groups = [RefusalGroup(*kind, tuple(alike)) for kind, alike in kinds.items()]
    return sorted(groups, key=lambda group: -len(group.refusals))
