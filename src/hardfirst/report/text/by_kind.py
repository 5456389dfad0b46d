"""The first words of a report, by the kind of study: of methods or losses, of orders of tasks, or a search."""

from collections.abc import Mapping, Sequence
from typing import Any

from hardfirst.report.model.answer import Answer
from hardfirst.report.text import alerts as of_methods
from hardfirst.report.text import headline as methods
from hardfirst.report.text import next_step as steps
from hardfirst.report.text import orders, search, tiles
from hardfirst.report.text.alerts import Alert
from hardfirst.report.text.headline import Headline
from hardfirst.report.text.next_step import NextStep
from hardfirst.report.text.tiles import Tile


def headline_of(answer: Answer) -> Headline:
    """The sentence that answers, and those after it."""
    if answer.case.search:
        return search.headline(answer.case.search)
    return orders.headline(answer) if answer.case.orders else methods.headline(answer)


def tiles_of(answer: Answer) -> tuple[Tile, ...]:
    """The figures in large type."""
    if answer.case.search:
        return search.tiles(answer.case.search)
    return orders.tiles(answer.case) if answer.case.orders else tiles.tiles(answer)


def alerts_of(answer: Answer) -> tuple[Alert, ...]:
    """What limits the answer."""
    return search.alerts(answer.case.search) if answer.case.search else of_methods.alerts(answer)


def next_step_of(
    answer: Answer, command: str | None, plan: Mapping[str, Any], answers: Sequence[Answer] = ()
) -> NextStep | None:
    """What to do next; see `next_step.next_step`."""
    if answer.case.search:
        return search.next_step(answer.case.search, answer.missing, command)
    return steps.next_step(answer, command, plan, answers)
