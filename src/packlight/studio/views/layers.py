"""Layers: where a variant diverges inside, and histograms of its weights."""

from __future__ import annotations

import math

from packlight.presentation.overview import degradation
from packlight.records import Layers, Measurement, WeightContrast
from packlight.studio.pages import LayersPage, WeightHistogram
from packlight.studio.views.numbers import number

MOST_WEIGHTS = 40
"""Weights whose histograms are shown, the noisiest first."""


def layers_page(key: str, name: str, layers: Layers | None) -> LayersPage:
    """A variant inside; not ready where it was not measured."""
    if layers is None:
        return LayersPage(key, name, ready=False)
    worst = sorted(layers.weights, key=lambda weight: weight.snr.value)[:MOST_WEIGHTS]
    values = layers.layers
    return LayersPage(
        variant=key,
        name=name,
        ready=True,
        n=layers.n,
        names=tuple(layer.name for layer in values),
        ops=tuple(layer.op for layer in values),
        total=tuple(decibels(layer.snr) for layer in values),
        own=tuple(decibels(layer.own) for layer in values),
        low=tuple(layer.low for layer in values),
        high=tuple(layer.high for layer in values),
        variant_low=tuple(layer.variant_low for layer in values),
        variant_high=tuple(layer.variant_high for layer in values),
        outside=tuple(layer.outside.value for layer in values),
        first=layers.first,
        sentence=degradation(layers),
        weights=tuple(histogram(weight) for weight in worst),
        unmatched=layers.unmatched,
        notes=layers.notes,
    )


def decibels(measurement: Measurement) -> float | None:
    """A signal-to-noise ratio; None where there is no noise."""
    return measurement.value if math.isfinite(measurement.value) else None


def histogram(weight: WeightContrast) -> WeightHistogram:
    """Numbers of one weight before and after."""
    return WeightHistogram(
        name=weight.name,
        operator=weight.operator,
        shape=" x ".join(map(str, weight.shape)),
        snr=number("snr", weight.snr),
        levels=weight.levels,
        zeros=weight.zeros,
        variant_zeros=weight.variant_zeros,
        edges=weight.edges,
        counts=weight.counts,
        variant_counts=weight.variant_counts,
    )
