"""Model + Recipe -> a smaller Model, with what was changed and what was refused."""

from packlight.compress.compress import Compressed, canonical_recipe, compress, uses_data
from packlight.compress.methods import METHODS

__all__ = ["METHODS", "Compressed", "canonical_recipe", "compress", "uses_data"]
