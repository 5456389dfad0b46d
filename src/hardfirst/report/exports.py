"""A comparison as Markdown, CSV, JSON and LaTeX, with the numbers of the page."""

import json as json_
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hardfirst.report import latex
from hardfirst.report.data import finite, page_data
from hardfirst.report.model.answer import answer
from hardfirst.report.model.overview import overview
from hardfirst.report.text import overview as all_cases
from hardfirst.report.text.by_kind import headline_of
from hardfirst.report.text.search_tables import case_tables
from hardfirst.report.text.tables import PlainTable, overview_tables

if TYPE_CHECKING:
    from hardfirst.report.comparison import Comparison


def md(comparison: "Comparison") -> str:
    """Markdown: what the page answers, then for each case the leaderboard, a table by task, and the verdict."""
    return "\n\n".join([f"# {comparison.title}", *_blocks(comparison)]) + "\n"


def _blocks(comparison: "Comparison") -> Iterator[str]:
    several = len(comparison.cases) > 1
    if several:
        found = overview(comparison.cases, comparison.missing)
        yield from all_cases.headline(found).sentences
        for table in overview_tables(found):
            yield _table(table)
            yield table.caption
    for case in comparison.cases:
        facts = answer(case, 0 if several else comparison.missing)
        yield f"## {case.name}"
        yield from headline_of(facts).sentences
        for table in case_tables(facts):
            yield _table(table)
            yield table.caption
    if any(case.methods for case in comparison.cases):
        yield "## The tests, method by method"
        yield from comparison.verdict


def _table(table: PlainTable) -> str:
    lines = [table.head, ("---", *("---:" for _ in table.head[1:])), *table.rows, *table.reference]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    """The text without characters that mean something in a table of Markdown."""
    return text.replace("|", r"\|").replace("*", r"\*")


def csv(comparison: "Comparison") -> str:
    """CSV: a line for each task, measure and method, and for each rung of a search (see `frames.summaries`)."""
    return str(comparison.summary.to_csv(index=False))


def json(comparison: "Comparison") -> str:
    """JSON: what the page shows, all runs and all tuning runs, with null for missing numbers."""
    content = finite(page_data(comparison))
    return json_.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def tex(comparison: "Comparison") -> str:
    """LaTeX: the verdict as comments, then tables for booktabs; published figures are grey rows, which needs xcolor."""
    comments = "".join(f"% {sentence}\n" for sentence in (comparison.title, *comparison.verdict))
    return comments + "".join(f"\n{table}" for case in comparison.cases for table in latex.tables(case))
