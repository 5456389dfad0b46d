"""From run records to tables, sentences and one HTML page: functions of a study's files alone.

`model` arranges the records and computes statistics, `text` puts them into sentences, `sections` make the page's tables and
charts from both, and `html` renders them. Nothing here imports torch.
"""

from hardfirst.records.study_folder import as_runs
from hardfirst.report import exports
from hardfirst.report.comparison import Comparison
from hardfirst.report.html.page import page
from hardfirst.report.model.case import Case, arrange
from hardfirst.report.model.summary import Cell, Row, Summary, summary
from hardfirst.report.text.verdict import verdict

__all__ = ["Case", "Cell", "Comparison", "Row", "Summary", "arrange", "as_runs", "exports", "page", "summary", "verdict"]
