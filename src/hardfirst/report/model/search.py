"""What a search found: its candidates rung by rung, the winner, and what fresh seeds say of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hardfirst.records import Record
from hardfirst.records.description import Entry, Run
from hardfirst.records.names import EQUAL
from hardfirst.records.objective import Kept, Objective, hard_tasks
from hardfirst.statistics import Interval, paired_interval
from hardfirst.statistics.intervals import Array
from hardfirst.statistics.search import FRESH, Standing, Verdict, chance_gain, rungs, standings, survivors, verdict, winner

if TYPE_CHECKING:
    from hardfirst.report.model.case import Case


@dataclass(frozen=True)
class Rung:
    """A round of the search.

    Args:
        number: from 1.
        seeds: the number of seeds of each candidate, those of earlier rungs included.
        names: its candidates; once its runs have ended, best first.
        standings: by candidate, its gain; empty until its runs have ended.
        ended: the number of its runs that have ended.
        planned: the number of its runs.
    """

    number: int
    seeds: int
    names: tuple[str, ...]
    standings: Mapping[str, Standing]
    ended: int
    planned: int


class Change(NamedTuple):
    """What a method changes against equal weights on fresh seeds: of the test split, in points with 95% intervals."""

    objective: Interval
    kept: tuple[Interval, ...]


@dataclass(frozen=True)
class Search:
    """A search on one problem and network.

    Args:
        objective: what is maximised.
        keep: what may not be lost.
        rungs: those that have begun.
        decided: whether the search has ended, so that without a winner equal weights have won.
        winner: the candidate that was chosen.
        chance: the gain that the best of as many equal candidates shows, in points; NaN until the search has ended.
        fresh: by method, the baseline left out, its changes on fresh seeds.
        verdict: what the fresh seeds say of the winner; None until they all have ended.
        seeds: the number of fresh seeds that the study plans.
        cost: of the search's runs, in single runs.
        fresh_cost: of the runs on fresh seeds, likewise.
        runs: those of the search that have ended.
    """

    objective: Objective
    keep: tuple[Kept, ...]
    rungs: tuple[Rung, ...]
    decided: bool
    winner: str | None
    chance: float
    fresh: Mapping[str, Change]
    verdict: Verdict | None
    seeds: int
    cost: float
    fresh_cost: float
    runs: tuple[Run, ...] = field(repr=False)

    @property
    def tried(self) -> int:
        """The number of candidates."""
        return len(self.rungs[0].names)

    @property
    def ended_rungs(self) -> tuple[Rung, ...]:
        """The rungs whose runs have all ended."""
        return tuple(rung for rung in self.rungs if rung.standings)

    @property
    def gain(self) -> float:
        """The winner's gain in the search, in points; NaN without a winner."""
        return self.rungs[-1].standings[self.winner].objective.mean if self.winner else math.nan

    @property
    def measures(self) -> tuple[Objective, ...]:
        """The objective and what is kept."""
        return (self.objective, *(kept.objective for kept in self.keep))

    def reached(self, record: Record) -> list[float]:
        """What a run reaches on the validation split by each measure, in points; NaN if it did not finish."""
        return _points(self.measures, record, test=False)

    def last(self, name: str) -> Rung:
        """The last rung that has ended with this candidate."""
        return next(rung for rung in reversed(self.ended_rungs) if name in rung.standings)


def search_of(case: "Case", entries: Sequence[Entry], runs: Sequence[Run], plan: Mapping[str, Any]) -> Search | None:
    """Find what a search has found so far; None if the study is no search, or no run of its search has ended.

    Args:
        case: with the runs on fresh seeds that have ended.
        entries: of all runs that are known to be needed so far.
        runs: those that have ended.
        plan: the study's settings.
    """
    ended = [run for run in runs if run.entry.rung is not None]
    if not ended:
        return None
    measures = _measures(case.tasks, ended, plan)
    objective, *kept = measures
    allowed = [each.points for each in _kept(case.tasks, plan)]
    keep = tuple(Kept(each, points) for each, points in zip(kept, allowed, strict=True))
    figures = _figures(measures, ended)
    found = _rungs(entries, ended, figures, allowed)
    last = found[-1]
    planned = rungs(len(found[0].names))
    decided = bool(last.standings) and (
        last.number == len(planned) or not survivors(last.standings, planned[last.number].candidates)
    )
    best = winner(last.standings) if decided else None
    fresh = [entry for entry in entries if entry.rung is None and entry.role == "method"]
    return Search(
        objective=objective,
        keep=keep,
        rungs=found,
        decided=decided,
        winner=best,
        chance=_chance(figures, allowed) if decided else math.nan,
        fresh=_changes(case, measures),
        verdict=_verdict(case, measures, allowed, best, fresh),
        seeds=int(plan.get("seeds", FRESH)),
        cost=_cost([run.record for run in ended]),
        fresh_cost=_cost(list(case.runs.values())),
        runs=tuple(ended),
    )


# What is measured


def _kept(tasks: Sequence[str], plan: Mapping[str, Any]) -> list[Kept]:
    return [Kept.parse(text, tasks) for text in plan.get("keep", ())]


def _measures(tasks: Sequence[str], runs: Sequence[Run], plan: Mapping[str, Any]) -> list[Objective]:
    """The objective and what is kept, with the hard tasks in place of their name."""
    texts = [Objective.parse(plan["search"], tasks), *(kept.objective for kept in _kept(tasks, plan))]
    equal = [run.record for run in runs if run.entry.method == EQUAL and run.entry.rung == 1]
    kpis = {task: float(np.mean([record.validation_kpi(task) for record in equal])) for task in tasks} if equal else {}
    return [each.with_hard(hard_tasks(kpis)) if each.needs_hard and kpis else each for each in texts]


def _figures(measures: Sequence[Objective], runs: Sequence[Run]) -> dict[str, Array]:
    """By method [measures, seeds]: what its runs reach on the validation split, in points; NaN if one did not finish."""
    by_method: dict[str, dict[int, Record]] = {}
    for run in runs:
        by_method.setdefault(run.entry.method, {})[run.record.trial["seed"]] = run.record
    return {
        method: np.array([_points(measures, records[seed], test=False) for seed in sorted(records)]).T
        for method, records in by_method.items()
    }


def _points(measures: Sequence[Objective], record: Record, *, test: bool) -> list[float]:
    if record.outcome != "finished" or any(each.needs_hard for each in measures):
        return [math.nan] * len(measures)
    kpis = {task: record.test_kpi(task) if test else record.validation_kpi(task) for task in record.tasks}
    return [100 * each.value(kpis) for each in measures]


def _cost(records: Sequence[Record]) -> float:
    """In runs of all epochs."""
    return sum(len(record.epochs) / record.trial.get("epochs", len(record.epochs) or 1) for record in records)


# The rungs


def _rungs(
    entries: Sequence[Entry], runs: Sequence[Run], figures: Mapping[str, Array], allowed: Sequence[float]
) -> tuple[Rung, ...]:
    done = {run.entry.key for run in runs}
    found: list[Rung] = []
    numbers = sorted({entry.rung for entry in entries if entry.rung is not None})
    seeds = 0
    for number in numbers:
        of_rung = [entry for entry in entries if entry.rung == number]
        names = tuple(dict.fromkeys(entry.method for entry in of_rung if entry.method != EQUAL))
        seeds += sum(entry.method == names[0] for entry in of_rung) if names else 0
        ended = sum(entry.key in done for entry in of_rung)
        standing = {}
        if ended == len(of_rung):
            known = {name: values[:, :seeds] for name, values in figures.items() if name != EQUAL}
            everyone = standings(known, figures[EQUAL], allowed)
            standing = {name: everyone[name] for name in names}
            names = tuple(sorted(names, key=lambda name: -np.nan_to_num(standing[name].objective.low, nan=-math.inf)))
        found.append(Rung(number, seeds, names, standing, ended, len(of_rung)))
    return tuple(found)


def _chance(figures: Mapping[str, Array], allowed: Sequence[float]) -> float:
    candidates = {name: values for name, values in figures.items() if name != EQUAL}
    return chance_gain(candidates, figures[EQUAL], allowed, rungs(len(candidates)))


# Fresh seeds


def _fresh(case: "Case", measures: Sequence[Objective], method: str) -> Array:
    """[measures, seeds]: what the method reaches on the test split, in points; NaN where a run is missing."""
    nothing = [math.nan] * len(measures)
    runs = [case.runs.get((method, seed)) for seed in case.seeds]
    return np.array([_points(measures, run, test=True) if run else nothing for run in runs]).T


def _changes(case: "Case", measures: Sequence[Objective]) -> dict[str, Change]:
    if case.baseline not in case.methods:
        return {}
    base = _fresh(case, measures, case.baseline)
    changes = {}
    for method in case.others:
        objective, *kept = (paired_interval(*pair) for pair in zip(_fresh(case, measures, method), base, strict=True))
        changes[method] = Change(objective.clipped(-100, 100), tuple(each.clipped(-100, 100) for each in kept))
    return changes


def _verdict(
    case: "Case", measures: Sequence[Objective], allowed: Sequence[float], best: str | None, fresh: Sequence[Entry]
) -> Verdict | None:
    """None until all runs of the winner and of the baseline on fresh seeds have ended."""
    if best is None:
        return None
    planned = {method: sum(entry.method == method for entry in fresh) for method in (best, case.baseline)}
    if not planned[best] or any(len(case.of(method)) < count for method, count in planned.items()):
        return None
    return verdict(_fresh(case, measures, best), _fresh(case, measures, case.baseline), allowed)
