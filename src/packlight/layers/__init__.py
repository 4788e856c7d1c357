"""Inside a variant and its reference: matched values, weights, and where things go wrong."""

from packlight.layers.layers import layers, spread, summed
from packlight.layers.signal_noise import Moments
from packlight.layers.walk import Pair, Seen, Walk, paired

__all__ = ["Moments", "Pair", "Seen", "Walk", "layers", "paired", "spread", "summed"]
