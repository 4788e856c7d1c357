"""Values and weights of a variant, matched with those of its reference and compared."""

from packlight.layers.layers import evenly_spread, layers, sum_over_samples
from packlight.layers.signal_noise import SignalNoise
from packlight.layers.walk import CallValues, MatchedPair, Walk, match_models

__all__ = [
    "CallValues",
    "MatchedPair",
    "SignalNoise",
    "Walk",
    "evenly_spread",
    "layers",
    "match_models",
    "sum_over_samples",
]
