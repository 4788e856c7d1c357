"""Model -> Profile: where size, arithmetic and memory go."""

from packlight.profile.bind import parse_inputs
from packlight.profile.profile import profile
from packlight.profile.source import short_names

__all__ = ["parse_inputs", "profile", "short_names"]
