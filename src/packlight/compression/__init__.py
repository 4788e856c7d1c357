"""Model + Recipe -> a smaller Model, with what was changed and what was refused."""

from packlight.compression.compress import Compressed, compress, uses_data
from packlight.compression.methods.table import METHODS

__all__ = ["METHODS", "Compressed", "compress", "uses_data"]
