"""The section on metrics: each task's further figures in their own units."""

import numpy as np

from hardfirst.report.blocks import Content, Section, TableRow, interval_cell, method_cell, row, table
from hardfirst.report.figures import Styles
from hardfirst.report.model.case import Case
from hardfirst.statistics import mean_interval


def section(case: Case, styles: Styles) -> Section | None:
    """Metrics × methods on the test split; None if no task has any. Shares of a loss have a separate section."""
    metrics = [(task, metric) for task in case.tasks for metric in _metrics(case, task)]
    if not metrics:
        return None
    spread = ": mean over seeds with its 95% interval" if len(case.seeds) > 1 else ""
    head: list[Content] = ["Task", "Metric", *(method_cell(method, styles) for method in case.methods)]
    rows = [_row(case, task, metric) for task, metric in metrics]
    return Section("Field metrics", (table("Test metrics by task and method", f"On the test split{spread}.", head, rows),))


def _metrics(case: Case, task: str) -> list[str]:
    """The task's metrics in any finished run."""
    records = [record for method in case.methods for record in case.finished(method)]
    names = (
        metric
        for record in records
        for metric in record.test_metrics(task)
        if metric not in record.loss_shares.get(task, {})
    )
    return list(dict.fromkeys(names))


def _row(case: Case, task: str, metric: str) -> TableRow:
    cells = []
    for method in case.methods:
        finished = case.finished(method)
        values = [record.test_metrics(task).get(metric, np.nan) for record in finished if record.test]
        cells.append(interval_cell(mean_interval(values), "z.3g", len(finished)))
    return row(task, [metric, *cells])
