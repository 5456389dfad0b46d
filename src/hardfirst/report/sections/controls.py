"""The controls of a method: variants with one thing changed, which show why it works."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hardfirst.records.names import EASY, FROZEN, NO_ANNEALING, NO_RESTART, RAW
from hardfirst.report.blocks import Block, Heading, TableCell, TableRow, bar_cell, bar_scale, row, table
from hardfirst.report.model.case import Case
from hardfirst.report.model.leaderboard import effect
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.statistics import Difference


class _Control(NamedTuple):
    """What a control changes, and what follows from its effect on the worst task: if it is worse, not told apart, better."""

    what: str
    worse: str
    alike: str
    better: str


_CONTROLS = {
    EASY: _Control(
        "Priority to the easy tasks instead of the hard ones.",
        "It matters which tasks get the weight.",
        "Which tasks get the weight is not shown to matter.",
        "Priority to the hard tasks is the wrong way round here.",
    ),
    RAW: _Control(
        "Weights that are not normalised, so that their sum falls as KPIs rise, and not mixed with equal weights.",
        "Normalising helps the worst task.",
        "Normalising is not shown to matter to the worst task.",
        "Normalising holds the worst task back here.",
    ),
    NO_RESTART: _Control(
        "The weights that the search finds, without putting network and optimizer back to step 0.",
        "Training from the start with the weights helps.",
        "The restart is not shown to matter.",
        "The restart is not worth its steps here.",
    ),
    NO_ANNEALING: _Control(
        "The weights that the search finds until the end, without the change to equal weights.",
        "Equal weights at the end help.",
        "Equal weights at the end are not shown to matter to the worst task.",
        "Equal weights at the end hold the worst task back here.",
    ),
    FROZEN: _Control(
        "Each run's weights, averaged over its epochs, as constants in a new run with the same seed.",
        "The change of weights over time helps.",
        "The change of weights over time is not shown to matter.",
        "The change of weights over time does harm here.",
    ),
}


def blocks(case: Case) -> list[Block]:
    """A row for each control, with its change of the worst task and of the mean; empty without any, or without the method
    that they belong to.
    """
    method = controlled_method(case)
    names = [control for control in case.controls if control in _CONTROLS]
    if not names or method is None:
        return []
    found = {scope: scope.differences(case, method, names) for scope in (WORST, MEAN)}
    scales = {scope: bar_scale(each.interval for each in by.values()) for scope, by in found.items()}
    rows = [_row(control, {scope: by[control] for scope, by in found.items()}, scales) for control in names]
    head = ["Control", f"Worst task, Δ to {method}", f"Mean, Δ to {method}", "What it shows"]
    return [Heading(f"Controls of {method}"), table("Controls", _caption(method, len(names), found[WORST]), head, rows)]


def controlled_method(case: Case) -> str | None:
    """The method that the controls are variants of; None if it is not in the comparison."""
    return next((method for method in case.controls.values() if method in case.others), None)


def _caption(method: str, count: int, found: Mapping[str, Difference]) -> str:
    caption = (
        f"Each control is {method} with one thing changed; learning rate, other options and seeds are the same. Differences "
        f"are control − {method}, in points, paired by seed"
    )
    if any(each.interval.bounded for each in found.values()):
        caption += ", with 95% t intervals"
    if all(each.decision == "too few seeds" for each in found.values()):
        return f"{caption}."
    holm = f", Holm-corrected over {count} controls" if count > 1 else ""
    return f"{caption}. What they show is decided on the worst task by a sign-flip test at p ≤ 0.05{holm}."


def _row(control: str, found: Mapping[Scope, Difference], scales: Mapping[Scope, Sequence[float]]) -> TableRow:
    cells = [_cell(found[scope], scales[scope]) for scope in (WORST, MEAN)]
    what, *conclusions = _CONTROLS[control]
    conclusion = "No seed has a worst-task KPI of both."
    if found[WORST].interval.n:
        decisions = ("worse", "not told apart", "better", "too few seeds")
        conclusion = [*conclusions, "Too few seeds to test."][decisions.index(found[WORST].decision)]
    return row(control, [*cells, TableCell(conclusion, what, breakable=True)])


def _cell(difference: Difference, scale: Sequence[float]) -> TableCell:
    interval = difference.interval.clipped(-100, 100)
    return bar_cell(interval, scale, effect(interval))
