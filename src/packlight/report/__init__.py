"""HTML page of a check, and the trade-off plot of notebooks."""

from packlight.report.document import write_page
from packlight.report.gate import gate_page
from packlight.report.plot import plot_frame

__all__ = ["gate_page", "plot_frame", "write_page"]
