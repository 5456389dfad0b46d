"""A comparison as Markdown, CSV, JSON and LaTeX, each with the same sentences as the page first."""

import json as json_
import math
from typing import TYPE_CHECKING, Any

from hardfirst.records.names import SINGLE
from hardfirst.report import latex
from hardfirst.report.model.case import Case
from hardfirst.report.model.summary import Row, Summary, summary

if TYPE_CHECKING:
    from hardfirst.report.comparison import Comparison


def md(comparison: "Comparison") -> str:
    """Markdown: the verdict, and a table of test KPIs for each problem and network."""
    blocks = [f"# {comparison.title}", *comparison.verdict]
    for case in comparison.cases:
        blocks += [f"## {case.name}: test KPI × 100, mean over seeds [95% interval]", _table(case)]
    return "\n\n".join(blocks) + "\n"


def _table(case: Case) -> str:
    kpis = summary(case)
    single = [f"{SINGLE}, n = {kpis.single_n}"] if kpis.single else []
    head = ["task", *single, *(f"{method}, n = {kpis.finished[method]}" for method in kpis.methods)]
    lines = [head, ["---", *("---:" for _ in head[1:])], *(_row(kpis, row) for row in kpis.rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _row(kpis: Summary, row: Row) -> list[str]:
    interval = kpis.single.get(row.name)
    single = ["–" if interval is None else f"{interval:z.1f}"] if kpis.single else []
    return [row.name, *single, *(f"{row.cells[method].kpi:z.1f}" for method in kpis.methods)]


def csv(comparison: "Comparison") -> str:
    """CSV: the verdict as comments, then a line for each run and task (see `frames.runs`)."""
    comments = "".join(f"# {sentence}\n" for sentence in comparison.verdict)
    return comments + str(comparison.runs.to_csv(index=False))


def json(comparison: "Comparison") -> str:
    """JSON: verdict, summary, runs and tuning, with null for missing numbers."""
    content = {
        "title": comparison.title,
        "command": comparison.command,
        "plan": comparison.plan,
        "verdict": comparison.verdict,
        "summary": comparison.summary.to_dict("records"),
        "runs": comparison.runs.to_dict("records"),
        "tuning": comparison.tuning.to_dict("records"),
    }
    return json_.dumps(_nan_to_null(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def tex(comparison: "Comparison") -> str:
    """LaTeX: the verdict as comments, then tables for booktabs; published figures are grey rows, which needs xcolor."""
    comments = "".join(f"% {sentence}\n" for sentence in (comparison.title, *comparison.verdict))
    return comments + "".join(f"\n{table}" for case in comparison.cases for table in latex.tables(case))


def _nan_to_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_to_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nan_to_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
