"""One self-contained HTML file that says what a search found."""

from packlight.report.page import write_report

__all__ = ["write_report"]
