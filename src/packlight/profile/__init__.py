"""Model -> Profile: where size, arithmetic and memory go."""

from packlight.profile.profile import profile

__all__ = ["profile"]
