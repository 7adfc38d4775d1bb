"""A measurement as one page to read, print and pass on, which needs no network and no script."""

from ettin_cli.evaluation.report.page import report_html
from ettin_cli.evaluation.report.reliability import ReliabilityPlot

__all__ = [
    "ReliabilityPlot",
    "report_html",
]
