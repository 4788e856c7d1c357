"""What a variant does to the values and weights inside a model, operator by operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from packlight.records.display import Displayed
from packlight.records.measurement import Measurement
from packlight.records.profile import SourceLine


@dataclass(frozen=True, slots=True)
class Layer:
    """One value that both models compute.

    Attributes:
        name: of the operator of the reference that gives it; of the input, where none does.
        op: its type; ``input`` for an input that the variant rounds.
        value: name in the reference.
        counterpart: name in the variant.
        snr: signal to noise of the variant's value, all errors before it included, in dB.
        own: the same where the operators of the variant that give it are fed with the reference's
            values: their own error alone.
        low: lowest number in the reference.
        high: highest number in the reference.
        variant_low: lowest number in the variant.
        variant_high: highest number in the variant.
        outside: share of the variant's numbers outside the range that the reference had up to and
            including the same call.
        source: where the operator comes from; None where the exporter left no note.
    """

    name: str
    op: str
    value: str
    counterpart: str
    snr: Measurement
    own: Measurement
    low: float
    high: float
    variant_low: float
    variant_high: float
    outside: Measurement
    source: SourceLine | None = None


@dataclass(frozen=True, slots=True)
class WeightContrast:
    """One weight in both models, as its operator reads it.

    Attributes:
        name: in the reference.
        operator: of the reference, that reads it.
        shape: of the weight.
        snr: of what the variant's operator reads, in dB; a batch normalisation that was folded into
            the weight is taken out by the best factor for each output channel.
        zeros: share of zeros in the reference.
        variant_zeros: share of zeros in the variant.
        levels: different numbers in the variant's weight.
        edges: of the bins of both histograms, one more than bins.
        counts: of the reference's weights in each bin.
        variant_counts: of the variant's; what lies outside counts in the outermost bins.
        folded: whether factors were taken out.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    snr: Measurement
    zeros: float
    variant_zeros: float
    levels: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    variant_counts: tuple[int, ...]
    folded: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Layers(Displayed):
    """A variant against its reference, inside.

    Attributes:
        reference: name of the model.
        variant: name of the other.
        n: samples.
        layers: every value that is matched, in the order that the reference computes it.
        weights: every weight that is matched.
        first: name of the operator where things go wrong first; empty where nothing does. It is the
            first whose value has less than 20 dB and that adds at least half of the noise itself;
            where none does so, the first below 20 dB.
        unmatched: operators of the reference with no counterpart.
        notes: sentences on what was not compared, and why.
    """

    VERSION: ClassVar[int] = 1

    reference: str
    variant: str
    n: int
    layers: tuple[Layer, ...]
    weights: tuple[WeightContrast, ...] = ()
    first: str = ""
    unmatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
