"""What a search finds out before its rungs: the hard tasks, the average weights of DTP, and the learning rate."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.records import Record
from hardfirst.records.names import AVERAGE, HARD_TASKS, RATE
from hardfirst.records.objective import Kept, Objective
from hardfirst.records.search_runs import measured_hard_tasks
from hardfirst.studies.candidates import DTP, Facts, mean_weights, needs_average, needs_hard
from hardfirst.studies.kinds.base import FindRecord, StudyKind, is_vectorizable, needs_own_block
from hardfirst.studies.trials import Block, CaseBase, StudyTrial
from hardfirst.studies.tuning import EQUAL, SEED, Candidate, beyond, candidates
from hardfirst.training import Trial

if TYPE_CHECKING:
    from hardfirst.studies.plan import Plan

HARD_SEEDS = 3
"""The runs with equal weights that tell which tasks are hard."""

RATES, MORE_RATES = 3, 2
"""The learning rates that are tried with equal weights, and the most that follow while the best one is the last tried."""

_SPAN = math.sqrt(10)  # between neighbouring rates


class Settings(NamedTuple):
    """What all runs of the rungs and on fresh seeds share.

    Args:
        base: the trial that they are variations of, with the objective as its criterion and the chosen learning rate.
        measures: the objective and what is kept, with the hard tasks in place of their name.
        facts: what static weights are made of.
    """

    base: Trial
    measures: Sequence[Objective]
    facts: Facts


class SearchStart(StudyKind):
    """The runs of a search before its rungs."""

    def __init__(self, plan: "Plan", case: CaseBase, find: FindRecord) -> None:
        super().__init__(plan, case, find)
        self.tasks = self.problem.task_names  # the auxiliary ones as well, which have weights
        measured = self.problem.measured
        self.kept = [Kept.parse(text, measured) for text in plan.keep or ()]
        self.measures = [Objective.parse(plan.compared, measured), *(kept.objective for kept in self.kept)]
        self.candidates = {name: Spec.parse(name) for name in plan.candidates or ()}
        self._stage_of: dict[Trial, str] = {}

    @property
    def _needs_hard(self) -> bool:
        weights = (needs_hard(spec, self.tasks) for spec in self.candidates.values())
        return any(weights) or any(measure.needs_hard for measure in self.measures)

    @property
    def _needs_average(self) -> bool:
        return any(map(needs_average, self.candidates.values()))

    def _first_runs(self) -> list[StudyTrial]:
        """The runs that tell which tasks are hard, and what DTP's weights are on average."""
        parts = [(HARD_TASKS, EQUAL, seed) for seed in range(HARD_SEEDS * self._needs_hard)]
        parts += [(AVERAGE, DTP, 0)] * self._needs_average
        return self._stage("first", [(method, search_run(self.base, spec, seed)) for method, spec, seed in parts])

    def _facts(self) -> Facts | None:
        """What the first runs tell; None until they have ended."""
        trials = self._first_runs()
        if (records := self.records_of(trials)) is None:
            return None
        by_method: dict[str, list[Record]] = {HARD_TASKS: [], AVERAGE: []}
        for trial, record in zip(trials, records, strict=True):
            by_method[trial.method].append(record)
        average = next((mean_weights(record) for record in by_method[AVERAGE] if record.outcome == "finished"), None)
        return Facts(self.tasks, measured_hard_tasks(by_method[HARD_TASKS]), average)

    def _known_measures(self) -> Sequence[Objective] | None:
        """The objective and what is kept; None until the hard tasks are known, if they name these."""
        if not any(measure.needs_hard for measure in self.measures):
            return self.measures
        if (facts := self._facts()) is None:
            return None
        if not facts.hard:
            why = "no run with equal weights that measures them finished with a KPI"
            raise InputError(f"The hard tasks are unknown, since {why}: give a lower learning rate, or name tasks instead.")
        return [measure.with_hard(facts.hard) if measure.needs_hard else measure for measure in self.measures]

    @cached_property
    def _rates(self) -> Sequence[Candidate]:
        """The learning rates that are tried first, with equal weights."""
        rate, span = self.base.learning_rate, self.plan.learning_rates
        count = 0 if self.plan.learning_rate is not None else RATES
        return candidates(EQUAL, self.tasks, rate, count, span or (rate / _SPAN, rate * _SPAN))

    @property
    def _most_rates(self) -> int:
        """The greatest number of learning rates that are tried; a range that the user gives is not left."""
        may_follow = len(self._rates) > 1 and self.plan.learning_rates is None
        return len(self._rates) + MORE_RATES * may_follow

    def _rate_choice(self) -> tuple[list[StudyTrial], Candidate | None]:
        """The runs that choose the learning rate, as far as they are known; and the choice, None until they have ended.

        While the best rate is the lowest or the highest one, the next one is tried too.
        """
        rates, tried = list(self._rates), list[StudyTrial]()
        if len(rates) == 1:
            return tried, rates[0]
        if (measures := self._known_measures()) is None:
            return tried, None
        run = search_run(replace(self.base, criterion=measures[0].text), EQUAL, 0)
        while True:
            new = [(RATE, replace(run, learning_rate=rate)) for _, rate, _ in rates[len(tried) :]]
            tried += self._stage(f"{RATE} {len(rates)}", new)
            best = self.best((RATE, len(rates)), rates, tried)
            further = None if best is None else beyond(rates, best)
            if further is None or len(rates) == self._most_rates:
                return tried, best
            rates.append(further)

    def _settings(self) -> Settings | None:
        """What all further runs share; None while it is not known."""
        measures, facts = self._known_measures(), self._facts()
        if measures is None or facts is None:
            return None
        if (chosen := self._rate_choice()[1]) is None:
            return None
        base = replace(self.base, criterion=measures[0].text, learning_rate=chosen.learning_rate)
        return Settings(base, measures, facts)

    def _stage(
        self, stage: str, trials: Sequence[tuple[str, Trial]], *, rung: int | None = None, row: str | None = None
    ) -> list[StudyTrial]:
        """Trials with their methods; those that no earlier stage has are trained together."""
        possible = [trial for _, trial in trials if is_vectorizable(trial.balancer)]
        new = [trial for trial in possible if self._stage_of.setdefault(trial, stage) == stage]
        sizes = Counter(needs_own_block(trial.balancer) for trial in new)
        return [
            self.study_trial(
                method,
                trial,
                role="method" if trial.test else "candidate",
                tuning=not trial.test,
                rung=rung,
                row=row,
                together=Block((self.problem.name, self.base.network, stage, own), sizes[own]),
            )
            for method, trial in trials
            for own in [needs_own_block(trial.balancer)]
        ]


def search_run(base: Trial, spec: Spec, number: int) -> Trial:
    """The run of a search with a number of its seeds, from 0."""
    return replace(base, balancer=spec, seed=SEED + number, test=False)
