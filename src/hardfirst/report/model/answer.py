"""The facts behind the first screen of a report: what is best, what it costs, and what limits the answer."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hardfirst.records import Record
from hardfirst.records.names import EQUAL
from hardfirst.report.model.case import Case
from hardfirst.report.model.leaderboard import Effect, Leaderboard, Standing, effect, leaderboard
from hardfirst.report.model.scopes import MEAN, WORST, Scope, rivals, static_for, static_is_equal
from hardfirst.statistics import Interval, starvation_gap


class AgainstStatic(NamedTuple):
    """How the leading method compares with the static weights that were chosen for what it is best at.

    Args:
        name: of the static weights.
        scope: the measure.
        difference: leading method − static weights, in points; None where the static weights are equal weights.
        effect: whether that is better or worse.
    """

    name: str
    scope: Scope
    difference: Interval | None
    effect: Effect


@dataclass(frozen=True)
class Answer:
    """What the runs of a case say.

    Args:
        case: the runs.
        board: its leaderboard.
        lead: the method that the headline is about; None if none is better than the baseline on anything.
        alternative: a method that lifts the worst task less than `lead`, but at no measurable cost of the mean; None if
            there is none, or `lead` does so itself.
        static: how `lead` compares with static weights; None without a lead or static weights.
        worst_task: the task that is the worst in every seed under the baseline; None if seeds differ.
        gaps: by task, the starvation gap: what single-task networks reach more than equal weights; empty without them.
        ended: the number of runs that have ended, tuning included.
        missing: the number of runs that have not ended.
        lost: by outcome, or "stopped early", the number of reported runs that did not finish.
        untuned: the methods that nothing was tuned for.
    """

    case: Case
    board: Leaderboard
    lead: Standing | None
    alternative: Standing | None
    static: AgainstStatic | None
    worst_task: str | None
    gaps: Mapping[str, Interval]
    ended: int
    missing: int
    lost: Mapping[str, int]
    untuned: tuple[str, ...]

    @property
    def starved(self) -> tuple[str, ...]:
        """The tasks that are starved under equal weights, the most starved first."""
        found = [task for task, gap in self.gaps.items() if effect(gap) == "better"]
        return tuple(sorted(found, key=lambda task: -self.gaps[task].mean))

    @property
    def finished(self) -> int:
        """The number of methods' runs that finished."""
        return sum(row.finished for row in self.board.rows)

    @property
    def paired(self) -> int:
        """The most seeds that any method shares with the baseline; 0 if there is nothing to compare."""
        return max((row.paired for row in self.board.methods), default=0)


def answer(case: Case, missing: int = 0) -> Answer:
    """Find what the runs of a case say.

    Args:
        case: the runs.
        missing: the number of trials planned so far that have not ended.
    """
    board = leaderboard(case)
    lead = _lead(board)
    return Answer(
        case=case,
        board=board,
        lead=lead,
        alternative=_alternative(board, lead),
        static=against_static(case, lead, WORST if lead.effect(WORST) == "better" else MEAN) if lead else None,
        worst_task=worst_task_name(case, case.baseline),
        gaps=_gaps(case),
        ended=len({id(record) for record in _records(case)}),
        missing=missing,
        lost=Counter(record.outcome or "stopped early" for record in reported(case) if record.outcome != "finished"),
        untuned=tuple(
            method for method in (case.baseline, *rivals(case)) if method in case.methods and not case.tuning.get(method)
        ),
    )


def worst_task_name(case: Case, method: str) -> str | None:
    """The task that is the worst in all of the method's finished runs; None if runs differ, or none finished."""
    if method not in case.methods or len(case.tasks) == 1:
        return None
    points = case.points(method)
    points = points[~np.isnan(points).any(axis=1)]
    worst = set(points.argmin(axis=1).tolist())
    return case.tasks[worst.pop()] if len(worst) == 1 else None


def _lead(board: Leaderboard) -> Standing | None:
    """The best of the methods that are better on both measures, else on the worst task, else on the mean."""
    methods = board.methods
    lifted = [row for row in methods if row.effect(WORST) == "better"]
    raised = [row for row in methods if row.effect(MEAN) == "better"]
    both = [row for row in lifted if row in raised]
    if lifted:
        return max(both or lifted, key=lambda row: row.change(WORST))
    return max(raised, key=lambda row: row.change(MEAN), default=None)


def _alternative(board: Leaderboard, lead: Standing | None) -> Standing | None:
    if lead is None or lead.effect(WORST) != "better" or lead.effect(MEAN) != "worse":
        return None
    free = [row for row in board.methods if row.effect(WORST) == "better" and row.effect(MEAN) != "worse"]
    return max(free, key=lambda row: row.change(WORST), default=None)


def against_static(case: Case, lead: Standing, scope: Scope) -> AgainstStatic | None:
    """By the test that is corrected over all methods, since the leading one was selected by the same seeds."""
    name = static_for(case, scope)
    if name is None:
        return None
    if static_is_equal(case, scope):
        return AgainstStatic(name, scope, None, "")
    found = scope.differences(case, name, rivals(case))[lead.name]
    how: Effect = found.decision if found.decision in ("better", "worse") else "unclear"
    if found.decision == "too few seeds":
        how = effect(found.interval)
    return AgainstStatic(name, scope, found.interval.clipped(-100, 100), how)


def _gaps(case: Case) -> dict[str, Interval]:
    if not case.single or EQUAL not in case.methods:
        return {}
    gaps = starvation_gap(case.single_points(), case.points(EQUAL))
    return {task: gap.clipped(-100, 100) for task, gap in zip(case.tasks, gaps, strict=True) if gap.n}


def reported(case: Case) -> list[Record]:
    """The runs that are reported on, each once."""
    return list({id(record): record for record in (*case.runs.values(), *case.single.values())}.values())


def tasks_without_kpi(case: Case) -> list[str]:
    """The tasks that a finished run of a method has no test KPI for."""
    finished = [record for record in case.method_runs if record.outcome == "finished"]
    return [task for task in case.tasks if any(math.isnan(record.test_kpi(task)) for record in finished)]


def _records(case: Case) -> Iterator[Record]:
    yield from reported(case)
    for records in (*case.tuning.values(), *case.single_tuning.values()):
        yield from records
    if case.search:
        yield from (run.record for run in case.search.runs)
