"""From run records to tables, sentences and one HTML page; every function here is a pure function of the records."""

from hardfirst.report.page import page
from hardfirst.report.summary import Cell, Row, Summary, summary
from hardfirst.report.verdict import verdict

__all__ = ["Cell", "Row", "Summary", "page", "summary", "verdict"]
