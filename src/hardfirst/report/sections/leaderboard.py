"""The leaderboard: a row for each method, with its changes drawn as intervals."""

import math
from collections.abc import Sequence

from hardfirst.records.names import SINGLE
from hardfirst.report.blocks import (
    Content,
    Look,
    Section,
    TableCell,
    bar_scale,
    interval_bar,
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
from hardfirst.statistics import number_text


def section(facts: Answer, styles: Styles) -> Section:
    """A row for each method, best first; equal weights stay first, single-task networks are a reference below a rule."""
    board = facts.board
    scopes = board.scopes if len(facts.case.tasks) > 1 else (WORST,)
    scales = {scope: bar_scale(each.of(scope).difference for each in board.rows) for scope in scopes}
    rows = [row(_heading(each, board, styles), _cells(each, board, scales), _look(each)) for each in board.rows]
    rows += [row(_reference_heading(each), _reference_cells(each, board, scopes), "reference") for each in board.references]
    titles = [title for scope in scopes for title in _head(scope, facts)]
    head = [facts.case.noun.capitalize(), *titles, *_more_head(board, len(scopes))]
    return Section(
        "Leaderboard", (table("Leaderboard", _caption(facts), head, rows),), anchor="leaderboard", short="Leaderboard"
    )


def _head(scope: Scope, facts: Answer) -> Sequence[str]:
    title = ("Mean" if scope is MEAN else scope.heading) if len(facts.case.tasks) > 1 else facts.case.tasks[0]
    return (title, f"Δ to {facts.board.against}") if facts.case.compares else (title,)


def _more_head(board: Leaderboard, scopes: int) -> list[str]:
    tasks = ["Better / worse"] if board.methods and board.baseline and scopes > 1 else []
    delta = ["Δm, %"] if _has_delta(board) else []
    delta += ["Δm over metrics, %"] if _has_field_delta(board) else []
    return [*tasks, *delta, f"{board.cost_of.capitalize()}, ×"] if board.baseline else [*tasks, *delta]


def _has_delta(board: Leaderboard) -> bool:
    return any(each.delta_m is not None for each in board.rows)


def _has_field_delta(board: Leaderboard) -> bool:
    return any(each.field_delta is not None for each in board.rows)


def _caption(facts: Answer) -> str:
    board = facts.board
    ranked = len(board.rows) > 1 and len(facts.case.tasks) > 1
    parts = [f"Best first by {board.objective.words}, as the study's settings were chosen." if ranked else ""]
    parts.append(f"Test KPI in points (KPI × 100), {_seeds(facts)}.")
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


def _seeds(facts: Answer) -> str:
    return "one seed" if facts.board.seeds == 1 else f"mean over {facts.board.seeds} seeds"


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


def _cells(each: Standing, board: Leaderboard, scales: dict[Scope, list[float]]) -> list[Content]:
    cells: list[Content] = []
    for scope, scale in scales.items():
        found = each.of(scope)
        cells.append(number_cell(found.kpi.mean, "z.1f"))
        if board.baseline and (board.methods or len(board.rows) > 1):
            cells.append(_difference_cell(each, scope, scale))
    if board.methods and board.baseline and len(scales) > 1:
        counts = "–" if each.role == "baseline" or not _n(each) else f"{each.better} / {each.worse}"
        cells.append(TableCell(counts, value=each.better - each.worse if counts != "–" else None))
    if _has_delta(board):
        cells.append(number_cell(each.delta_m.mean if each.delta_m else math.nan, "+z.1f"))
    if _has_field_delta(board):
        cells.append(number_cell(each.field_delta.mean if each.field_delta else math.nan, "+z.1f"))
    if board.baseline:
        cost = "1" if each.role == "baseline" else number_text(each.cost, ".2f")
        cells.append(TableCell(cost, value=None if math.isnan(each.cost) else each.cost))
    return cells


def _n(each: Standing) -> int:
    return each.worst.difference.n if each.worst.difference else 0


def _difference_cell(each: Standing, scope: Scope, scale: list[float]) -> TableCell:
    found = each.of(scope).difference
    if each.role == "baseline" or found is None or not found.n:
        return TableCell("–")
    effect = each.effect(scope)
    tested = each.decisions[scope.name] in ("better", "worse")
    return TableCell(
        f"{found:+z.1f}",
        value=found.mean,
        bar=interval_bar(found, scale),
        tone="" if effect == "unknown" else effect,
        shade=1.0 if tested else 0.0,
    )


def _reference_heading(reference: Reference) -> TableCell:
    return TableCell(f"{SINGLE} networks" if reference.name == SINGLE else reference.name, reference.note)


def _reference_cells(reference: Reference, board: Leaderboard, scopes: Sequence[Scope]) -> list[Content]:
    cells: list[Content] = []
    for scope in scopes:
        cells.append(number_cell(reference.of(scope).mean, "z.1f"))
        cells += [""] * bool(board.baseline and (board.methods or len(board.rows) > 1))
    return [*cells, *[""] * len(_more_head(board, len(scopes)))]
