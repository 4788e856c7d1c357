"""One self-contained HTML file that shows what a search found."""

from packlight.report.page import write_report
from packlight.report.plot import plot_frame

__all__ = ["plot_frame", "write_report"]
