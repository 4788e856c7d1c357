"""Model -> Profile: where size, arithmetic and memory go."""

from packlight.profiling.profile import profile
from packlight.profiling.source_lines import short_names

__all__ = ["profile", "short_names"]
