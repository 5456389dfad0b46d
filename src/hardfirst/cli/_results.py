"""What commands print of a study: the table, what it says, and what to do next."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.style import Style
from rich.text import Text

from hardfirst._text import printable
from hardfirst.cli._common import console, say
from hardfirst.cli._flags import Format
from hardfirst.cli._leaderboard import fitting_table, leaderboard_table, task_table
from hardfirst.report import Comparison, exports
from hardfirst.report.model.answer import Answer, answer
from hardfirst.report.model.overview import overview as across
from hardfirst.report.model.search import Search
from hardfirst.report.text import networks, overview, search_tables, tables
from hardfirst.report.text.by_kind import alerts_of, headline_of
from hardfirst.report.text.search import cost, paste


def write_report(folder: Path, form: Format | None) -> None:
    """Write the page of a study's folder, and print its tables, its answer and the next step."""
    comparison = Comparison.read(folder)
    page = comparison.save(folder / "report.html")
    if form is not None:
        typer.echo(getattr(exports, form.value)(comparison), nl=False)
    answers = [answer(case, comparison.missing if len(comparison.cases) == 1 else 0) for case in comparison.cases]
    for found in answers:
        say("")
        if found.case.search:
            _say_search(found.case.search)
        else:
            _say_methods(found)
        _say_answer(found)
        if found.case.search:
            _say_paste(found.case.search, comparison.plan)
            say(cost(found.case.search))
    _say_overview(comparison)
    for sentence in comparison.damaged:
        say(f"Left out: {sentence}")
    _say_next(comparison)
    say_path("Page", page)


def _say_methods(found: Answer) -> None:
    title, _, legend = tables.leaderboard_table(found).caption.partition(". ")
    _say_named(title, "bold")
    console.print(leaderboard_table(found, console.width))
    say(legend)
    say("")
    if (by_task := task_table(found, console.width)) is not None:
        console.print(by_task)
        say(f"KPI × 100 of {found.board.against}, and Δ; in brackets where its interval includes 0.")
        say("")


def _say_search(search: Search) -> None:
    """The candidates of the last rung, and the methods on fresh seeds."""
    for table in search_tables.search_tables(search, last=True)[::-1]:
        title, _, legend = table.caption.partition(". ")
        _say_named(title, "bold")
        console.print(fitting_table(table, console.width))
        say(legend)
        say("")


def _say_paste(search: Search, plan: Mapping[str, Any]) -> None:
    for each in paste(search, plan):
        say(f"{each.what}:")
        for line in each.text.splitlines():
            say(f"  {line}")


def _say_answer(found: Answer) -> None:
    lead, *rest = headline_of(found).sentences
    _say_named(lead, "bold")
    for sentence in rest:
        _say_named(sentence)
    if strip := " · ".join(alert.text for alert in alerts_of(found) if alert.warns):
        say(f"{strip}.")


def _say_overview(comparison: Comparison) -> None:
    """What several problems or networks say together."""
    if len(comparison.cases) == 1:
        return
    say("")
    together = overview.headline(across(comparison.cases, comparison.missing))
    for sentence in (*together.sentences, *networks.sentences(comparison.cases)):
        _say_named(sentence)


def _say_next(comparison: Comparison) -> None:
    say("")
    found = across(comparison.cases, comparison.missing)
    if step := overview.step(found, comparison.command, comparison.plan):
        say(f"Next: {step.why}")
        if step.command:
            say(f"  {step.command}")


def say_path(what: str, path: Path) -> None:
    """Print a path, which a terminal that can do so opens with a click."""
    link = Style(link=path.absolute().as_uri())
    console.print(Text.assemble(f"{what}: ", (printable(str(path)), link)), soft_wrap=True)


def _say_named(sentence: str, style: str = "") -> None:
    """Print a sentence with the names between backticks in bold."""
    parts = re.split(r"`([^`]*)`", printable(sentence))
    text = Text.assemble(*((part, "bold" if number % 2 else style) for number, part in enumerate(parts)))
    console.print(text, soft_wrap=not console.is_terminal)
