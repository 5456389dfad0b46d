"""The facts behind the first screen of a report on several problems or networks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

from hardfirst.report.model.answer import AgainstStatic, Answer, against_static, answer
from hardfirst.report.model.case import Case
from hardfirst.report.model.leaderboard import Standing
from hardfirst.report.model.scopes import MEAN, WORST, Scope, rivals


class Tally(NamedTuple):
    """On how many cases a method is better or worse than the baseline, of those that have figures of both."""

    better: int
    worse: int
    unclear: int

    @property
    def cases(self) -> int:
        """The number of cases that have figures of both."""
        return sum(self)

    @property
    def net(self) -> int:
        """By how many cases it is more often better than worse."""
        return self.better - self.worse


@dataclass(frozen=True)
class Overview:
    """What several cases say together.

    Args:
        answers: what each case says by itself.
        standings: by method, its row in each case that has one together with the baseline's; the first case's order.
        lead: the method that the headline is about; None if none is better than the baseline on anything.
        static: how `lead` compares with the static weights of each case that are not equal weights.
        missing: the number of runs that have not ended.
    """

    answers: tuple[Answer, ...]
    standings: Mapping[str, Mapping[int, Standing]]
    lead: str | None
    static: tuple[AgainstStatic, ...] = ()
    missing: int = 0

    @property
    def cases(self) -> tuple[Case, ...]:
        """What the answers are of."""
        return tuple(each.case for each in self.answers)

    @property
    def against(self) -> str:
        """The baseline in words."""
        return self.answers[0].board.against

    @property
    def unit(self) -> str:
        """What the cases are: problems, networks of one problem, or both."""
        problems = len({case.problem for case in self.cases})
        return "problem" if problems == len(self.cases) else "network" if problems == 1 else "case"

    @property
    def titles(self) -> Mapping[Scope, str]:
        """The measures with their names: one where no case has several tasks."""
        several = any(len(case.tasks) > 1 for case in self.cases)
        return {WORST: "Worst task", MEAN: "Mean over tasks"} if several else {WORST: "Test KPI"}

    @property
    def scope(self) -> Scope:
        """What the leading method is better at: the worst task, or else the mean."""
        return WORST if self.lead is None or self.tally(self.lead, WORST).better else MEAN

    @property
    def subject(self) -> str | None:
        """The method that figures are about: the leading one, or else the one that does least harm; None without any."""
        return self.lead or max(self.standings, key=lambda method: _merit(self.standings[method]), default=None)

    @property
    def untested(self) -> int:
        """The number of cases with too few seeds for a test."""
        return sum(bool(each.paired) and not each.board.can_test for each in self.answers)

    def tally(self, method: str, scope: Scope) -> Tally:
        """On how many cases the method is better or worse than the baseline."""
        return _tally(self.standings[method], scope)


def overview(cases: Sequence[Case], missing: int = 0) -> Overview:
    """Find what the runs of several cases say together.

    Args:
        cases: at least one.
        missing: the number of trials planned so far that have not ended.
    """
    answers = tuple(answer(case) for case in cases)
    standings: dict[str, dict[int, Standing]] = {}
    for index, each in enumerate(answers):
        for name, row in _rivals(each):
            standings.setdefault(name, {})[index] = row
    better = [method for method, rows in standings.items() if _tally(rows, WORST).better or _tally(rows, MEAN).better]
    lead = max(better, key=lambda method: _merit(standings[method]), default=None)
    found = Overview(answers, standings, lead, missing=missing)
    return found if lead is None else replace(found, static=_static(found, lead))


def _rivals(answer: Answer) -> Iterator[tuple[str, Standing]]:
    """The methods with figures to compare, also those whose runs are the baseline's."""
    case = answer.case
    for row in answer.board.rows:
        if row.role == "baseline" or row.paired:
            yield from ((name, row) for name in row.names if name in rivals(case))


def _tally(rows: Mapping[int, Standing], scope: Scope) -> Tally:
    effects = [row.effect(scope) for row in rows.values()]
    better, worse = effects.count("better"), effects.count("worse")
    return Tally(better, worse, len(effects) - better - worse)


def _merit(rows: Mapping[int, Standing]) -> tuple[int, int, float]:
    return _tally(rows, WORST).net, _tally(rows, MEAN).net, fmean(row.change(WORST) for row in rows.values())


def _static(found: Overview, lead: str) -> tuple[AgainstStatic, ...]:
    compared = (against_static(found.cases[index], row, found.scope) for index, row in found.standings[lead].items())
    return tuple(each for each in compared if each and each.difference and each.difference.n)
