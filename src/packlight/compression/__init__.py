"""Model + Recipe -> a smaller Model, with what was changed and what was refused."""

from packlight.compression.compress import AppliedRecipe, compress, uses_data
from packlight.compression.methods.table import METHODS

__all__ = ["METHODS", "AppliedRecipe", "compress", "uses_data"]
