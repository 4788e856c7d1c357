"""HTML report of a search, in one self-contained file."""

from packlight.report.page import write_report
from packlight.report.plot import plot_frame

__all__ = ["plot_frame", "write_report"]
