"""The leaderboard and the table by task as plain text, which Markdown, LaTeX and notebooks share."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from hardfirst.records.names import SINGLE, joined
from hardfirst.report.model.answer import Answer
from hardfirst.report.model.leaderboard import Leaderboard, Reference, Standing
from hardfirst.report.model.overview import Overview
from hardfirst.report.model.scopes import WORST, Scope
from hardfirst.report.text.interval_text import count_text, plural
from hardfirst.statistics import mean_interval, number_text

_SIGNIFICANT = "*"


class PlainTable(NamedTuple):
    """A table of texts.

    Args:
        caption: what it shows.
        head: the columns' headings.
        rows: its rows.
        reference: rows below a rule.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    reference: tuple[tuple[str, ...], ...] = ()


class _Column(NamedTuple):
    """A column of the leaderboard: its heading, a method's cell, and that of a reference."""

    head: str
    cell: Callable[[Standing], str]
    reference: Callable[[Reference], str] = lambda reference: ""


# The leaderboard


def leaderboard_table(facts: Answer) -> PlainTable:
    """A row for each method, best first."""
    board, columns = facts.board, list(_columns(facts))
    references = ((each.name, *(column.reference(each) for column in columns)) for each in board.references)
    return PlainTable(
        _leaderboard_caption(facts),
        (facts.case.noun.capitalize(), *(column.head for column in columns)),
        tuple((names(row), *(column.cell(row) for column in columns)) for row in board.rows),
        tuple(references),
    )


def names(row: Standing) -> str:
    """The method's name; several if their runs are identical."""
    return joined(row.names)


def _columns(facts: Answer) -> Iterator[_Column]:
    board, several = facts.board, len(facts.case.tasks) > 1
    for scope in board.scopes if several else (WORST,):
        heading, title = (scope.heading, scope.title) if several else (facts.case.tasks[0],) * 2
        yield _kpi_column(scope, heading)
        if facts.case.compares:
            yield _Column(f"Δ {title}", partial(_difference, scope))
    if facts.case.compares and several:
        yield _Column("Better / worse", lambda row: "–" if row.role == "baseline" else f"{row.better} / {row.worse}")
    if any(row.delta_m for row in board.rows):
        yield _Column("Δm, %", lambda row: f"{row.delta_m or mean_interval([]):+z.1f}")
    if any(row.field_delta for row in board.rows):
        whose = "published " if facts.case.reference == "published" else ""
        head = f"Δm over metrics against {whose}single-task, %, lower is better"
        yield _Column(head, lambda row: f"{row.field_delta or mean_interval([]):+z.1f}")
    if board.baseline and len(board.rows) > 1:
        yield _Column(f"{board.cost_of.capitalize()}, ×", lambda row: number_text(row.cost, ".2f"))
    yield _Column("Runs", _runs, lambda single: str(single.n))


def _kpi_column(scope: Scope, title: str) -> _Column:
    return _Column(
        title,
        lambda row: number_text(row.of(scope).kpi.mean, "z.1f"),
        lambda single: number_text(single.of(scope).mean, "z.1f"),
    )


def _difference(scope: Scope, row: Standing) -> str:
    difference = row.of(scope).difference
    if difference is None or row.role == "baseline":
        return "–"
    return f"{difference:+z.1f}" + (_SIGNIFICANT if row.decisions[scope.name] in ("better", "worse") else "")


def _runs(row: Standing) -> str:
    return str(row.finished) if row.finished == row.started else f"{row.finished} of {row.started}"


def _leaderboard_caption(facts: Answer) -> str:
    """How rows are sorted, and what the figures are."""
    board = facts.board
    by = f" by {board.objective.words}" if len(facts.case.tasks) > 1 else ""
    parts = [f"{facts.case.name}: leaderboard" + (f", best first{by}." if len(board.rows) > 1 else ".")]
    parts.append(f"Test KPI in points (KPI × 100), {over_seeds(board)}.")
    if facts.case.compares:
        parts.append(_differences(facts, f"Δ is {facts.case.noun} − {board.against}"))
    if board.can_test:
        holm = f", Holm-corrected over {count_text(board.tested, facts.case.noun)}" if board.tested > 1 else ""
        parts.append(f"{_SIGNIFICANT} is significant (sign-flip test, p ≤ 0.05{holm}).")
    if any(row.delta_m for row in board.rows):
        parts.append("Δm is the mean relative change against single-task networks; positive is better.")
    return " ".join(parts)


def over_seeds(board: Leaderboard) -> str:
    """What the figures are, in words."""
    return "one seed" if board.seeds == 1 else f"mean over {board.seeds} seeds"


def _differences(facts: Answer, what: str) -> str:
    interval = f" with a 95% t interval, not corrected for the number of {plural(facts.case.noun)}"
    bounds = interval if facts.paired >= 3 else ""
    return f"{what}, paired by seed{bounds}."


# Several cases


def overview_tables(found: Overview) -> list[PlainTable]:
    """A row for each case: the change by each method, on the worst task and on the mean over tasks."""
    return [_case_table(found, scope, title) for scope, title in found.titles.items()]


def _case_table(found: Overview, scope: Scope, what: str) -> PlainTable:
    rows = [{name: row for row in answer.board.rows for name in row.names} for answer in found.answers]
    methods = list(dict.fromkeys(name for by_name in rows for name in by_name))
    change = _differences(found.answers[0], f"{found.cases[0].noun} − {found.against}")
    return PlainTable(
        f"{what} by {found.unit}, in points: {change}",
        (found.unit.capitalize(), *methods),
        tuple(
            (answer.case.name, *(_change(by_name.get(method), method, scope) for method in methods))
            for answer, by_name in zip(found.answers, rows, strict=True)
        ),
    )


def _change(row: Standing | None, method: str, scope: Scope) -> str:
    """The method's change, or what the baseline itself reaches."""
    if row is None:
        return "–"
    if row.role != "baseline":
        return _difference(scope, row)
    return number_text(row.of(scope).kpi.mean, "z.1f") if row.name == method else "equal"


# The table by task


def task_table(facts: Answer) -> PlainTable:
    """A row for each task, those that lose most by sharing first: the baseline's KPI, and the change by each method.

    Without a baseline, each method's KPI.
    """
    board, base = facts.board, facts.board.baseline
    if base is None or not facts.case.compares:
        head = [names(row) for row in board.rows]
        rows = [(task, *(f"{row.tasks[task].kpi:z.1f}" for row in board.rows)) for task in facts.case.tasks]
        return PlainTable(f"{facts.case.name}: test KPI in points, {over_seeds(board)}.", ("Task", *head), tuple(rows))
    others = [row for row in board.rows if row is not base]
    references, gap = [each.name for each in board.references], ["Gap"] * bool(facts.gaps)
    return PlainTable(
        _task_caption(facts),
        ("Task", *references, names(base), *gap, *map(names, others)),
        tuple(_task_row(facts, task, base, others) for task in ordered_tasks(facts)),
    )


def ordered_tasks(facts: Answer) -> list[str]:
    """By starvation gap, the largest first; tasks without one follow in their own order."""
    return sorted(facts.case.tasks, key=lambda task: -facts.gaps[task].mean if task in facts.gaps else float("inf"))


def _task_row(facts: Answer, task: str, base: Standing, others: Sequence[Standing]) -> tuple[str, ...]:
    references = [number_text(each.tasks[task].mean, "z.1f") for each in facts.board.references]
    gap = [f"{facts.gaps[task]:+z.1f}" if task in facts.gaps else "–"] if facts.gaps else []
    changes = [row.tasks[task].difference or mean_interval([]) for row in others]
    return (task, *references, number_text(base.tasks[task].kpi.mean, "z.1f"), *gap, *(f"{each:+z.1f}" for each in changes))


def _task_caption(facts: Answer) -> str:
    base, noun = facts.board.against, facts.case.noun
    gap = f" The gap is {SINGLE} − {base}." if facts.gaps else ""
    change = _differences(facts, f"The columns of other {plural(noun)} are {noun} − {base}")
    return f"{facts.case.name}: by task. Test KPI in points, {over_seeds(facts.board)}.{gap} {change}"
