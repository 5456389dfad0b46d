"""What a notebook shows of a comparison: its answer, a table and a figure, without a script."""

from collections.abc import Sequence
from typing import Any

from hardfirst.report.blocks import Answer
from hardfirst.report.html.drawing import drawing
from hardfirst.report.html.page import Study, answers
from hardfirst.report.html.rendering import render
from hardfirst.report.model.answer import answer
from hardfirst.report.model.case import Case
from hardfirst.report.model.overview import overview
from hardfirst.report.text.search_tables import search_tables
from hardfirst.report.text.tables import PlainTable, leaderboard_table, overview_tables


def notebook(cases: Sequence[Case], study: Study) -> str:
    """HTML in the colours of the notebook, light or dark: of several cases, each is folded below what they say together."""
    first, *others = answers(cases, study)
    boards = [_board(case) for case in cases]
    return render(
        "notebook.html.j2",
        heading=first.question,
        first=_part("", first, boards[0] if len(cases) == 1 else overview_tables(overview(cases))),
        others=[_part(case.name, block, tables) for case, block, tables in zip(cases, others, boards, strict=False)],
    )


def _board(case: Case) -> list[PlainTable]:
    return search_tables(case.search) if case.search else [leaderboard_table(answer(case))]


def _part(name: str, block: Answer, tables: Sequence[PlainTable]) -> dict[str, Any]:
    chart = block.chart
    return {
        "name": name,
        "lead": block.lead,
        "rest": block.rest,
        "paste": [each.text for each in block.paste],
        "alerts": [alert.text for alert in block.alerts if alert.warns],
        "drawing": drawing(chart.figure, chart.heading) if chart else None,
        "about": chart.caption if chart else "",
        "tables": tables,
    }
