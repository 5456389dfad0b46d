"""The leaderboard: a row for each method, with its changes drawn as intervals."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from hardfirst.records.names import SINGLE
from hardfirst.report.blocks import (
    Content,
    Look,
    Section,
    TableCell,
    bar_cell,
    bar_scale,
    method_cell,
    number_cell,
    row,
    table,
)
from hardfirst.report.figures import Styles
from hardfirst.report.model.answer import Answer
from hardfirst.report.model.leaderboard import Leaderboard, Reference, Standing
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text.interval_text import count_text, plural
from hardfirst.report.text.tables import over_seeds


class _Column(NamedTuple):
    """A column: its heading, a method's cell, and that of a reference."""

    head: str
    cell: Callable[[Standing], Content]
    reference: Callable[[Reference], Content] = lambda reference: ""


def section(facts: Answer, styles: Styles) -> Section:
    """A row for each method, best first; equal weights stay first, single-task networks are a reference below a rule."""
    board, columns = facts.board, list(_columns(facts))
    rows = [
        row(_heading(each, board, styles), [column.cell(each) for column in columns], _look(each)) for each in board.rows
    ]
    rows += [
        row(_reference_heading(each), [column.reference(each) for column in columns], "reference")
        for each in board.references
    ]
    head = [facts.case.noun.capitalize(), *(column.head for column in columns)]
    return Section(
        "Leaderboard", (table("Leaderboard", _caption(facts), head, rows),), anchor="leaderboard", short="Leaderboard"
    )


def _columns(facts: Answer) -> Iterator[_Column]:
    board, several = facts.board, len(facts.case.tasks) > 1
    compared = board.baseline is not None and len(board.rows) > 1
    for scope in board.scopes if several else (WORST,):
        title = ("Mean" if scope is MEAN else scope.heading) if several else facts.case.tasks[0]
        yield _Column(title, partial(_kpi_cell, scope), partial(_reference_cell, scope))
        if compared:
            scale = bar_scale(each.of(scope).difference for each in board.rows)
            yield _Column(f"Δ to {board.against}", partial(_difference_cell, scope, scale))
    if board.baseline and board.methods and several:
        yield _Column("Better / worse", _counts_cell)
    if _has_delta(board):
        yield _Column("Δm, %", lambda each: number_cell(each.delta_m.mean if each.delta_m else math.nan, "+z.1f"))
    if _has_field_delta(board):
        yield _Column(
            "Δm over metrics, %", lambda each: number_cell(each.field_delta.mean if each.field_delta else math.nan, "+z.1f")
        )
    if board.baseline:
        yield _Column(f"{board.cost_of.capitalize()}, ×", _cost_cell)


def _has_delta(board: Leaderboard) -> bool:
    return any(each.delta_m is not None for each in board.rows)


def _has_field_delta(board: Leaderboard) -> bool:
    return any(each.field_delta is not None for each in board.rows)


def _caption(facts: Answer) -> str:
    board = facts.board
    ranked = len(board.rows) > 1 and len(facts.case.tasks) > 1
    parts = [f"Best first by {board.objective.words}, as the study's settings were chosen." if ranked else ""]
    parts.append(f"Test KPI in points (KPI × 100), {over_seeds(board)}.")
    if facts.case.compares and facts.paired:
        parts.append("Differences are paired by seed, and tasks are counted by their 95% intervals.")
    if facts.paired >= 3:
        parts.append(f"Brackets and bars are 95% t intervals, not corrected for the number of {plural(facts.case.noun)}.")
    if board.can_test:
        holm = f", Holm-corrected over {count_text(board.tested, facts.case.noun)}" if board.tested > 1 else ""
        parts.append(f"Bold differences are significant (sign-flip test, p ≤ 0.05{holm}).")
    if _has_delta(board):
        parts.append("Δm is the mean relative change against single-task networks; positive is better.")
    if _has_field_delta(board):
        whose = "published " if facts.case.reference == "published" else ""
        parts.append(f"Δm over metrics against {whose}single-task networks is the field's; lower is better.")
    return " ".join(filter(None, parts))


# Cells


def _look(each: Standing) -> Look:
    return "baseline" if each.role == "baseline" else ""


def _heading(each: Standing, board: Leaderboard, styles: Styles) -> TableCell:
    notes = [f"{each.finished} of {each.started} runs finished"] if each.finished < each.started else []
    if not notes and each.finished < board.seeds:
        notes = [count_text(each.finished, "run")]
    if each.role == "static":
        notes.append("a baseline, not tested")
    return method_cell(each.name, styles, "; ".join(notes), names=each.names)


def _kpi_cell(scope: Scope, each: Standing) -> TableCell:
    return number_cell(each.of(scope).kpi.mean, "z.1f")


def _reference_cell(scope: Scope, each: Reference) -> TableCell:
    return number_cell(each.of(scope).mean, "z.1f")


def _difference_cell(scope: Scope, scale: Sequence[float], each: Standing) -> TableCell:
    tested = each.decisions[scope.name] in ("better", "worse")
    return bar_cell(each.of(scope).difference, scale, each.effect(scope), tested=tested)


def _counts_cell(each: Standing) -> TableCell:
    return TableCell(f"{each.better} / {each.worse}", value=each.better - each.worse) if each.paired else TableCell("–")


def _cost_cell(each: Standing) -> TableCell:
    return TableCell("1", value=1) if each.role == "baseline" else number_cell(each.cost, ".2f")


def _reference_heading(reference: Reference) -> TableCell:
    return TableCell(f"{SINGLE} networks" if reference.name == SINGLE else reference.name, reference.note)
