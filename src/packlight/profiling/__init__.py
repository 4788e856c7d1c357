"""Model -> Profile: where size, arithmetic and memory go."""

from packlight.profiling.profile import profile

__all__ = ["profile"]
