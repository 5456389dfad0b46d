"""What a search found: its candidates rung by rung, the winner, and what fresh seeds say of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hardfirst.records import Record
from hardfirst.records.description import Entry, Run
from hardfirst.records.names import EQUAL, HARD_TASKS, RATE
from hardfirst.records.objective import Kept, Objective
from hardfirst.records.search_runs import figures, measured_hard_tasks
from hardfirst.statistics import Interval, paired_interval
from hardfirst.statistics.intervals import Array
from hardfirst.statistics.search import FRESH, Standing, Verdict, chance_gain, rungs, standings, survivors, verdict, winner
from hardfirst.statistics.search import Rung as Stage

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
        planned: the number of rungs.
        decided: whether the search has ended, so that without a winner equal weights have won.
        winner: the candidate that was chosen.
        spec: the winner's, with the weights that the search has measured.
        chance: the gain that the best of as many equal candidates shows, in points; NaN until the search has ended.
        fresh: by method, the baseline left out, its changes on fresh seeds.
        verdict: what fresh seeds say of the winner; None until all of its runs have ended.
        seeds: the number of fresh seeds.
        runs: those of the search that have ended.
        waiting: the number of its other runs that are known to be needed.
        fresh_cost: of the runs on fresh seeds, in single runs.
        untried: the candidates without a run, since those that give their weights did not finish.
    """

    objective: Objective
    keep: tuple[Kept, ...]
    rungs: tuple[Rung, ...]
    planned: int
    decided: bool
    winner: str | None
    spec: str | None
    chance: float
    fresh: Mapping[str, Change]
    verdict: Verdict | None
    seeds: int
    runs: tuple[Run, ...] = field(repr=False)
    waiting: int = 0
    fresh_cost: float = 0.0
    untried: tuple[str, ...] = ()

    @property
    def tried(self) -> int:
        """The number of candidates; 0 before the first rung."""
        return len(self.rungs[0].names) if self.rungs else 0

    @property
    def ended_rungs(self) -> tuple[Rung, ...]:
        """The rungs whose runs have all ended."""
        return tuple(rung for rung in self.rungs if rung.standings)

    @property
    def comparable(self) -> bool:
        """Whether equal weights have a run to compare with, as far as rungs have ended."""
        return not self.decided or any(each.state != "unmeasured" for each in self.rungs[-1].standings.values())

    @property
    def tested(self) -> bool:
        """Whether any method shares a fresh seed with equal weights."""
        return any(change.objective.n for change in self.fresh.values())

    @property
    def gain(self) -> float:
        """The winner's gain in the search, in points; NaN without a winner."""
        return self.rungs[-1].standings[self.winner].objective.mean if self.winner else math.nan

    @property
    def measures(self) -> tuple[Objective, ...]:
        """The objective and what is kept."""
        return (self.objective, *(kept.objective for kept in self.keep))

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that equal weights have tried, in ascending order; empty if the user gave one."""
        return tuple(sorted(run.record.trial["learning_rate"] for run in self.runs if run.entry.method == RATE))

    @property
    def rate(self) -> float:
        """The learning rate of all candidates; NaN before the first rung."""
        return next((run.record.trial["learning_rate"] for run in self.runs if run.entry.rung), math.nan)

    @property
    def cost(self) -> float:
        """What the search's runs cost so far, in single runs."""
        return run_count(run.record for run in self.runs)

    def reached(self, record: Record) -> list[float]:
        """What a run reaches on the validation split by each measure, in points; NaN while hard tasks are unknown."""
        unknown = any(measure.needs_hard for measure in self.measures)
        return [math.nan] * len(self.measures) if unknown else figures(record, self.measures)

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

    Raises:
        InputError: the plan's objective, or what is kept, is damaged.
    """
    ended = [run for run in runs if run.entry.role == "candidate"]
    if not ended:
        return None
    keep, measures = _measures(case.tasks, ended, plan)
    figures, allowed = _figures(measures, ended), [each.points for each in keep]
    stages = rungs(len(plan["candidates"]))
    found = _rungs(stages, entries, ended, figures, allowed)
    decided = bool(found) and _is_last(found[-1], stages)
    best = winner(found[-1].standings) if decided else None
    fresh = [entry for entry in entries if entry.role == "method"]
    return Search(
        objective=measures[0],
        keep=keep,
        rungs=found,
        planned=len(stages),
        decided=decided,
        winner=best,
        spec=next((run.record.trial["balancer"] for run in ended if run.entry.method == best), None),
        chance=_chance(figures, allowed, stages) if decided else math.nan,
        fresh=_changes(case, measures),
        verdict=_verdict(case, measures, allowed, best, fresh),
        seeds=int(plan.get("seeds", FRESH)),
        runs=tuple(ended),
        waiting=len({entry.key for entry in entries if entry.role == "candidate"} - {run.entry.key for run in ended}),
        fresh_cost=run_count(case.runs.values()),
        untried=tuple(name for name in plan["candidates"] if found and name not in found[0].names),
    )


def run_count(records: Iterable[Record]) -> float:
    """What runs cost, in runs of all epochs; a record that serves several purposes counts once."""
    once = {id(record): record for record in records}.values()
    return sum(len(record.epochs) / max(record.trial.get("epochs") or 0, len(record.epochs), 1) for record in once)


# What is measured


def _measures(
    tasks: Sequence[str], runs: Sequence[Run], plan: Mapping[str, Any]
) -> tuple[tuple[Kept, ...], tuple[Objective, ...]]:
    """What is kept; and the objective and what is kept, with the hard tasks, if they are known, in place of their name."""
    hard = measured_hard_tasks(run.record for run in runs if run.entry.method == HARD_TASKS)

    def known(measure: Objective) -> Objective:
        return measure.with_hard(hard) if measure.needs_hard and hard else measure

    keep = [Kept.parse(text, tasks) for text in plan.get("keep") or ()]
    keep = [replace(each, objective=known(each.objective)) for each in keep]
    return tuple(keep), (known(Objective.parse(plan["search"], tasks)), *(each.objective for each in keep))


def _figures(measures: Sequence[Objective], runs: Sequence[Run]) -> dict[str, Array]:
    """By method [measures, seeds]: what its runs in rungs reach on the validation split; NaN if one did not finish."""
    by_method: dict[str, dict[int, Record]] = {}
    for run in runs:
        if run.entry.rung is not None:
            by_method.setdefault(run.entry.method, {})[run.record.trial["seed"]] = run.record
    return {
        method: np.array([figures(records[seed], measures) for seed in sorted(records)]).T
        for method, records in by_method.items()
    }


# The rungs


def _rungs(
    stages: Sequence[Stage],
    entries: Sequence[Entry],
    runs: Sequence[Run],
    values: Mapping[str, Array],
    allowed: Sequence[float],
) -> tuple[Rung, ...]:
    done, found = {run.entry.key for run in runs}, []
    for number, stage in enumerate(stages, start=1):
        keys = {(entry.method, entry.key) for entry in entries if entry.rung == number}
        names = tuple(dict.fromkeys(entry.method for entry in entries if entry.rung == number and entry.method != EQUAL))
        if not keys:
            break
        ended, standing = sum(key in done for _, key in keys), {}
        if ended == len(keys):
            known = {name: figures[:, : stage.seeds] for name, figures in values.items() if name != EQUAL}
            everyone = standings(known, values[EQUAL], allowed)
            standing = {name: everyone[name] for name in names}
            names = tuple(sorted(names, key=lambda name: _rank(standing[name]), reverse=True))
        found.append(Rung(number, stage.seeds, names, standing, ended, len(keys)))
    return tuple(found)


def _rank(standing: Standing) -> tuple[float, ...]:
    """As the search ranks, and then those that it drops for another reason."""
    return (standing.state == "in", *((-math.inf,) if math.isnan(standing.objective.mean) else standing.rank))


def _is_last(rung: Rung, stages: Sequence[Stage]) -> bool:
    """Whether the rung has ended, and no other follows."""
    if not rung.standings:
        return False
    return rung.number == len(stages) or not survivors(rung.standings, stages[rung.number].candidates)


def _chance(values: Mapping[str, Array], allowed: Sequence[float], stages: Sequence[Stage]) -> float:
    candidates = {name: figures for name, figures in values.items() if name != EQUAL}
    return chance_gain(candidates, values[EQUAL], allowed, stages)


# Fresh seeds


def _fresh(case: "Case", measures: Sequence[Objective], method: str) -> Array:
    """[measures, seeds]: what the method reaches on the test split; NaN where a run is missing."""
    runs = [case.runs.get((method, seed)) for seed in case.seeds]
    return np.array([figures(run, measures, test=True) if run else [math.nan] * len(measures) for run in runs]).T


def _changes(case: "Case", measures: Sequence[Objective]) -> dict[str, Change]:
    if case.baseline not in case.methods or any(measure.needs_hard for measure in measures):
        return {}
    base, changes = _fresh(case, measures, case.baseline), {}
    for method in case.others:
        pairs = zip(_fresh(case, measures, method), base, strict=True)
        objective, *kept = (paired_interval(*pair).clipped(-100, 100) for pair in pairs)
        changes[method] = Change(objective, tuple(kept))
    return changes


def _verdict(
    case: "Case", measures: Sequence[Objective], allowed: Sequence[float], best: str | None, fresh: Sequence[Entry]
) -> Verdict | None:
    if best is None:
        return None
    planned = {method: sum(entry.method == method for entry in fresh) for method in (best, case.baseline)}
    if not planned[best] or any(len(case.of(method)) < count for method, count in planned.items()):
        return None
    return verdict(_fresh(case, measures, best), _fresh(case, measures, case.baseline), allowed)
