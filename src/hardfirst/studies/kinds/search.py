"""Searches for the balancing method that raises an objective without losing what is to be kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.problems import Problem
from hardfirst.records.names import AVERAGE, HARD_TASKS, RATE, WINNER
from hardfirst.records.objective import Objective
from hardfirst.records.search_runs import figures
from hardfirst.statistics.intervals import Array
from hardfirst.statistics.search import Standing, rungs, runs, standings, survivors, winner
from hardfirst.studies.candidates import DTP, settled
from hardfirst.studies.kinds._search_start import HARD_SEEDS, SearchStart, Settings, search_run
from hardfirst.studies.kinds.base import FindRecord, is_vectorizable
from hardfirst.studies.trials import CaseBase, StudyTrial
from hardfirst.studies.tuning import EQUAL
from hardfirst.training import Trial

if TYPE_CHECKING:
    from hardfirst.studies.plan import Plan


class SearchStudy(SearchStart):
    """The trials of a search on one problem and network.

    What waits for what::

        order of tasks   where the network takes its order from measured KPIs, the run that measures them: all else waits
        hard tasks       nothing: runs with equal weights; and one of DTP, where a candidate needs the average of its weights
        learning rate    the hard tasks if the objective names them; runs with equal weights, unless the user gives a rate;
                         each further one waits for those before
        rung 1           all above: all candidates with the first search seed, and equal weights with all search seeds
        further rungs    the rung before, whose best candidates get further seeds
        fresh seeds      equal weights and DTP as rung 1; the winner for the last rung

    The runs of the search have the seeds `SEED`, `SEED` + 1, … and never read the test split. Fresh seeds are 0, 1, 2, …; no
    decision of the search reads their runs.
    """

    heads = ("stage", "search", "fresh seeds")
    title, suffix, baseline = "Search", "search", str(EQUAL)
    summary = "Search for the method that raises an objective without losing what is to be kept."

    refuses = MappingProxyType(
        {
            "balancers": "give `candidates`",
            "tune": "equal weights choose a learning rate for all; `learning_rates` gives the range",
            "criterion": "epochs are chosen by the objective",
            "baselines": "its baseline is equal weights; `hardfirst compare` has others for its winner",
            "controls": "`hardfirst compare` has them for its winner",
        }
    )

    def __init__(self, plan: "Plan", case: CaseBase, find: FindRecord) -> None:
        super().__init__(plan, case, find)
        self.rungs = rungs(len(self.candidates))

    @classmethod
    def check(cls, compared: Any, problems: Sequence[Problem]) -> str:
        if len(problems) != 1:
            names = ", ".join(problem.name for problem in problems)
            raise InputError(f"A search is on one problem, since its answer is for that problem; got {names or 'none'}.")
        (problem,) = problems
        if len(problem.measured) < 2:
            raise InputError(f"A search needs a problem with two tasks that have a KPI; {problem.name} has one.")
        if compared is None:
            raise InputError("A search needs an objective to maximise, such as mean, worst, hard, or 0.7*a+0.3*b.")
        return Objective.parse(compared, problem.measured).text

    @classmethod
    def networks(cls, plan: "Plan") -> Sequence[str]:
        if len(plan.networks) > 1:
            raise InputError(f"A search is on one network; got {', '.join(plan.networks)}.")
        return plan.networks

    def trials(self) -> Iterator[StudyTrial]:
        if self.difficulty is not None:
            yield self.difficulty
            if not self.with_difficulty():
                return
        yield from self._first_runs()
        yield from self._rate_choice()[0]
        if (settings := self._settings()) is None:
            return
        names, runs_of = tuple(self.candidates), dict[str, list[StudyTrial]]()
        for number in range(1, len(self.rungs) + 1):
            new = self._rung(settings, number, names)
            yield from new
            if number == 1:
                yield from self._fresh(settings, {str(method): method for method in (EQUAL, DTP)})
            for trial in new:
                runs_of.setdefault(trial.method, []).append(trial)
            if (standing := self._standing(settings, runs_of)) is None:
                return
            names = survivors(standing, self.rungs[number].candidates) if number < len(self.rungs) else ()
            if not names:
                break
        best = winner(standing or {})
        if best is not None and best != str(DTP) and (spec := settled(self.candidates[best], settings.facts)):
            yield from self._fresh(settings, {best: spec}, WINNER)

    def count(self) -> dict[str, tuple[int, int]]:
        counts = {} if self.difficulty is None else {self.difficulty.row: (1, 0)}
        counts |= {HARD_TASKS: (HARD_SEEDS, 0)} if self._needs_hard else {}
        counts |= {AVERAGE: (1, 0)} if self._needs_average else {}
        counts |= {RATE: (self._most_rates, 0)} if len(self._rates) > 1 else {}
        counts |= {self._row(number): (self._runs_of(number), 0) for number in range(1, len(self.rungs) + 1)}
        return counts | dict.fromkeys([str(EQUAL), str(DTP), WINNER], (0, self.plan.seeds))

    def alone(self) -> dict[str, int]:
        alone, numbered = sum(not is_vectorizable(spec) for spec in self.candidates.values()), enumerate(self.rungs, start=1)
        counts = {self._row(number): min(alone, rung.candidates) * self._new_seeds(number) for number, rung in numbered}
        return counts | {WINNER: self.plan.seeds * bool(alone)}

    def first_trials(self) -> dict[str, Trial]:
        fresh = [trial for trial in self.trials() if trial.role == "method"]
        return {trial.method: trial.trial for trial in fresh if trial.trial.seed == 0}

    def notes(self) -> list[str]:
        first = HARD_SEEDS * self._needs_hard + self._needs_average
        cost = first + self._most_rates - 1 + runs(self.rungs)  # one of the runs that choose the rate is one of rung 1
        shared = " (one of them chooses the learning rate and is in rung 1)" if len(self._rates) > 1 else ""
        return [
            f"Candidates: {', '.join(self.candidates)}. Equal weights are part of every rung.",
            f"The search costs at most {cost} single runs{shared}, and the fresh seeds {3 * self.plan.seeds} more.",
        ]

    # Rungs

    def _new_seeds(self, number: int) -> int:
        """The number of seeds that a rung adds for each of its candidates."""
        return self.rungs[number - 1].seeds - (self.rungs[number - 2].seeds if number > 1 else 0)

    def _runs_of(self, number: int) -> int:
        """The greatest number of runs of a rung."""
        equal = self.rungs[-1].seeds if number == 1 else 0
        return self.rungs[number - 1].candidates * self._new_seeds(number) + equal

    def _row(self, number: int) -> str:
        """The row that counts the runs of a rung."""
        count, seeds = self.rungs[number - 1].candidates, self._new_seeds(number)
        of = f"{count} candidate{'s'[: count != 1]} × {seeds} seed{'s'[: seeds != 1]}"
        return f"rung {number} of {len(self.rungs)}: {of}"

    def _rung(self, settings: Settings, number: int, names: Sequence[str]) -> list[StudyTrial]:
        """The runs that a rung adds."""
        first, last = self.rungs[number - 1].seeds - self._new_seeds(number), self.rungs[number - 1].seeds
        parts = [(str(EQUAL), EQUAL, seed) for seed in range(self.rungs[-1].seeds if number == 1 else 0)]
        for name in names:
            if (spec := settled(self.candidates[name], settings.facts)) is not None:
                parts += [(name, spec, seed) for seed in range(first, last)]
        trials = [(method, search_run(settings.base, spec, seed)) for method, spec, seed in parts]
        return self._stage(self._row(number), trials, rung=number, row=self._row(number))

    def _standing(self, settings: Settings, runs_of: Mapping[str, Sequence[StudyTrial]]) -> dict[str, Standing] | None:
        """How the candidates stand after these runs; None until all have ended."""
        values = dict[str, Array]()
        for method, trials in runs_of.items():
            if (records := self.records_of(trials)) is None:
                return None
            values[method] = np.array([figures(record, settings.measures) for record in records]).T
        equal = values.pop(str(EQUAL))
        return standings(values, equal, [kept.points for kept in self.kept])

    # Trials

    def _fresh(self, settings: Settings, methods: Mapping[str, Spec], row: str | None = None) -> list[StudyTrial]:
        """The runs of methods on fresh seeds."""
        parts = [(method, spec, seed) for seed in range(self.plan.seeds) for method, spec in methods.items()]
        trials = [(method, replace(settings.base, balancer=spec, seed=seed)) for method, spec, seed in parts]
        return self._stage(f"fresh seeds of {', '.join(methods)}", trials, row=row)
