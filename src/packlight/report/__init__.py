"""HTML reports of a search and of a check, each in one self-contained file."""

from packlight.report.gate import gate_page
from packlight.report.page import write_page, write_report
from packlight.report.plot import plot_frame

__all__ = ["gate_page", "plot_frame", "write_page", "write_report"]
