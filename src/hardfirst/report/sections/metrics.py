"""The section on what is measured besides KPIs: each task's metrics in their own units."""

from collections.abc import Mapping
from html import escape

import numpy as np

from hardfirst.report.blocks import Section
from hardfirst.report.figures import Style
from hardfirst.report.model.case import Array, Case
from hardfirst.report.sections.losses import SHARE
from hardfirst.report.sections.tables import cells, named, swatch, table, with_n
from hardfirst.statistics import mean_interval


def section(case: Case, looks: Mapping[str, Style]) -> Section | None:
    """Metrics × methods on the test split; None where no task has any."""
    wanted = _metrics(case)
    if not wanted:
        return None
    spread = ": mean over seeds with its 95% interval" if len(case.seeds) > 1 else ""
    head = ["Task", "Metric", *(swatch(looks[method]) + named(method) for method in case.methods)]
    rows = [("", cells(escape(task), [escape(metric), *_values(case, task, metric)])) for task, metric in wanted]
    return Section("Metrics", (table("Test metrics by task and method", f"On the test split{spread}.", head, rows),))


def _metrics(case: Case) -> list[tuple[str, str]]:
    """Task and metric, as they are found in any finished run."""
    found: dict[tuple[str, str], None] = {}
    for task in case.tasks:
        for method in case.methods:
            for record in case.finished(method):
                figures = record.test["tasks"][task] if record.test else {}
                names = (metric for metric in figures.get("metrics", {}) if not SHARE.fullmatch(metric))
                found |= dict.fromkeys((task, metric) for metric in names)
    return list(found)


def _values(case: Case, task: str, metric: str) -> list[str]:
    return [
        with_n(mean_interval(_by_seed(case, method, task, metric)), "z.3g", len(case.finished(method)))
        for method in case.methods
    ]


def _by_seed(case: Case, method: str, task: str, metric: str) -> Array:
    tests = (record.test for record in case.finished(method) if record.test)
    return np.array([test["tasks"][task].get("metrics", {}).get(metric, np.nan) for test in tests])
