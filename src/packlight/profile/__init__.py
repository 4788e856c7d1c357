"""Model -> Profile: where size, arithmetic and memory go."""

from packlight.profile.profile import profile
from packlight.profile.source import short_names

__all__ = ["profile", "short_names"]
