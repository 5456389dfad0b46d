"""A comparison as text for other programs; all forms begin with the same sentences as the page."""

import json as json_
import math
from typing import Any

from hardfirst.records.names import SINGLE
from hardfirst.report.comparison import Comparison
from hardfirst.report.model.case import Case
from hardfirst.report.model.summary import Row, Summary, summary


def md(found: Comparison) -> str:
    """Markdown: the verdict, and a table of test KPIs for each problem and network."""
    blocks = [f"# {found.title}", *found.verdict]
    for case in found.cases:
        blocks += [f"## {case.name}: test KPI × 100, mean over seeds [95% interval]", _table(case)]
    return "\n\n".join(blocks) + "\n"


def _table(case: Case) -> str:
    found = summary(case)
    single = [f"{SINGLE}, n = {found.single_n}"] if found.single else []
    head = ["task", *single, *(f"{method}, n = {found.finished[method]}" for method in found.methods)]
    lines = [head, ["---", *("---:" for _ in head[1:])], *(_row(found, row) for row in found.rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _row(found: Summary, row: Row) -> list[str]:
    alone = found.single.get(row.name)
    single = ["–" if alone is None else f"{alone:z.1f}"] if found.single else []
    return [row.name, *single, *(f"{row.cells[method].kpi:z.1f}" for method in found.methods)]


def csv(found: Comparison) -> str:
    """CSV: the verdict as comments, then a line for each run and task (see `frames.runs`)."""
    comments = "".join(f"# {sentence}\n" for sentence in found.verdict)
    return comments + str(found.runs.to_csv(index=False))


def json(found: Comparison) -> str:
    """JSON: verdict, summary, runs and tuning, with null for what is not to be had."""
    content = {
        "title": found.title,
        "command": found.command,
        "plan": found.plan,
        "verdict": found.verdict,
        "summary": found.summary.to_dict("records"),
        "runs": found.runs.to_dict("records"),
        "tuning": found.tuning.to_dict("records"),
    }
    return json_.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
