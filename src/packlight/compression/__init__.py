"""Model + Recipe -> a smaller Model, with what was changed and what was refused."""

from packlight.compression.calibration_data import learns_without_data, uses_data
from packlight.compression.compress import AppliedRecipe, compress
from packlight.compression.methods.table import METHODS

__all__ = ["METHODS", "AppliedRecipe", "compress", "learns_without_data", "uses_data"]
