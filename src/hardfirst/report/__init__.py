"""From run records to tables, sentences and one HTML page; every function here is a pure function of a study's files."""

from hardfirst.report import exports
from hardfirst.report.comparison import Comparison
from hardfirst.report.html.page import page
from hardfirst.report.model.case import Case, arrange, as_runs
from hardfirst.report.model.summary import Cell, Row, Summary, summary
from hardfirst.report.text.verdict import verdict

__all__ = ["Case", "Cell", "Comparison", "Row", "Summary", "arrange", "as_runs", "exports", "page", "summary", "verdict"]
