"""From run records to tables, sentences and one HTML page; every function here is a pure function of a study's files."""

from hardfirst.report import formats
from hardfirst.report.case import Case, arrange, as_runs
from hardfirst.report.comparison import Comparison
from hardfirst.report.page import page
from hardfirst.report.summary import Cell, Row, Summary, summary
from hardfirst.report.verdict import verdict

__all__ = ["Case", "Cell", "Comparison", "Row", "Summary", "arrange", "as_runs", "formats", "page", "summary", "verdict"]
