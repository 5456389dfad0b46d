"""From a plan and what has ended so far to the trials that can be run now."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import NamedTuple

from hardfirst.balancers import Spec
from hardfirst.problems import Problem
from hardfirst.records import Record
from hardfirst.records.names import EASY, FROZEN, GRID, ORDER, RAW, SINGLE, STATIC, Role
from hardfirst.records.selection import chosen
from hardfirst.records.study_folder import CaseTrials, Entry
from hardfirst.studies import tuning as settings
from hardfirst.studies.difficulty import difficulty_trial, with_measured_order
from hardfirst.studies.plan import EQUAL, STL, Plan
from hardfirst.studies.tuning import Candidate
from hardfirst.training import Trial

_LEAST_POTENTIAL = 0.01


class Job(NamedTuple):
    """A trial, and what it is in the study: see `Entry`."""

    method: str
    role: Role
    tuning: bool
    trial: Trial


class Schedule:
    """The trials of one problem and network, with equal weights as the baseline.

    What depends on the outcome of others appears once these have ended.

    Args:
        plan: the study.
        case: one of `plan.cases`.
        find: the record of a trial that has ended, or None. Called with its key.
    """

    baseline = str(EQUAL)

    def __init__(self, plan: Plan, case: tuple[Trial, Problem], find: Callable[[str], Record | None]) -> None:
        self.plan, self.find = plan, find
        self.base, self.problem = case
        self.network = self.base.network
        self.difficulty_trial = difficulty_trial(self.base, self.problem)
        self.tasks = self.problem.task_names
        self._keys: dict[Trial, str] = {}
        self._candidates_of: dict[Spec, list[Candidate]] = {}
        self._chosen_of: dict[tuple[Spec | str, str | None], Candidate] = {}

    def jobs(self) -> Iterator[Job]:
        """All that is known to be needed; what others wait for comes first, then seed by seed, so that a study that is
        stopped has complete pairs.
        """
        if self.difficulty_trial is not None:
            yield Job(ORDER, "order", True, self.difficulty_trial)
            if (found := self._record(self.difficulty_trial)) is None:
                return
            self.base = with_measured_order(replace(self.base, network=self.network), self.problem, found)
        yield from self._single_tuning()
        for method in self.plan.specs:
            yield from self._tuning(method)
        yield from self._grid_tuning()
        for seed in range(self.plan.seeds):
            yield from self._reported(seed)

    def key(self, trial: Trial) -> str:
        """The name of the trial's record."""
        if trial not in self._keys:
            self._keys[trial] = trial.key(trial.of(self.problem))
        return self._keys[trial]

    def entries(self) -> CaseTrials:
        """What study.json says of the trials that are known so far."""
        entries = [
            Entry(key=self.key(job.trial), method=job.method, role=job.role, tuning=job.tuning) for job in self.jobs()
        ]
        return CaseTrials(problem=self.problem.name, network=self.network, trials=entries)

    @property
    def name(self) -> str:
        """What the case is called in cost.json."""
        return f"{self.problem.name}/{self.network}"

    def first_trials(self) -> dict[str, Trial]:
        """For each method whose settings are known, its trial with seed 0."""
        found = {str(method): self._reported_trial(method, 0) for method in self.plan.specs}
        return {method: trial for method, trial in found.items() if trial is not None}

    def count(self) -> dict[str, tuple[int, int]]:
        """By method, how many tuning runs and how many reported runs there will be at most."""
        seeds = self.plan.seeds
        each = (self.plan.tune, seeds)
        counts = {str(method): each for method in self.plan.specs}
        if self._static:
            counts[STATIC] = (len(settings.simplex_grid(self.tasks)), seeds)
        if self._grid:
            counts[GRID] = (0, seeds * len(self._grid))
        counts |= dict.fromkeys(self._controls, (0, seeds))
        if self.difficulty_trial is not None:
            counts[ORDER] = (1, 0)
        if self._single:
            counts[SINGLE] = (each[0] * len(self.tasks), seeds * len(self.tasks))
        return counts

    # What is planned

    @property
    def _single(self) -> bool:
        """Whether single-task networks are wanted."""
        wanted = self.plan.baselines or any(spec.option("potential") == STL for spec in self.plan.specs)
        return wanted and len(self.tasks) > 1

    @property
    def _static(self) -> bool:
        return self.plan.baselines and len(self.tasks) > 1

    @property
    def _grid(self) -> list[Spec]:
        """The static weights that are shown beside equal ones: of two tasks, as the reference of their Pareto front."""
        return settings.simplex_grid(self.tasks)[1:] if self._static and len(self.tasks) == 2 else []

    @property
    def _controlled(self) -> Spec | None:
        """The DTP that controls belong to: the first."""
        dtps = (spec for spec in self.plan.specs if spec.name == "dtp")
        return next(dtps, None) if self.plan.controls and len(self.tasks) > 1 else None

    @property
    def _controls(self) -> list[str]:
        spec = self._controlled
        if spec is None:
            return []
        easy = [] if spec.option("priority") == "easy" else [EASY]
        raw = [] if spec.option("normalize") is False else [RAW]
        return [*easy, *raw, FROZEN]

    # Tuning

    def _candidates(self, method: Spec) -> list[Candidate]:
        if method not in self._candidates_of:
            rate, span = self.base.learning_rate, self.plan.learning_rates
            self._candidates_of[method] = settings.candidates(method, self.tasks, rate, self.plan.tune, span)
        return self._candidates_of[method]

    def _chosen(self, method: Spec, only: str | None = None) -> Candidate | None:
        """The method's settings; None while they are being chosen."""
        candidates = self._candidates(method)
        if len(candidates) == 1:
            return candidates[0]
        return self._best((method, only), candidates, self._tuning_trials(method, only))

    def _best(
        self, name: tuple[Spec | str, str | None], candidates: list[Candidate], trials: Sequence[Trial] | None
    ) -> Candidate | None:
        """The candidate that did best; None until all have ended."""
        if name not in self._chosen_of and trials is not None and (found := self._ended(trials)) is not None:
            self._chosen_of[name] = candidates[chosen(found)]
        return self._chosen_of.get(name)

    def _tuning_trials(self, method: Spec, only: str | None = None) -> list[Trial] | None:
        found = [self._resolved(self._for_tuning(candidate, only)) for candidate in self._candidates(method)]
        known = [trial for trial in found if trial is not None]
        return known if len(known) == len(found) else None

    def _for_tuning(self, candidate: Candidate, only: str | None = None) -> Trial:
        return self._trial(candidate, settings.SEED, only, test=False)

    def _trial(self, candidate: Candidate, seed: int, only: str | None = None, *, test: bool = True) -> Trial:
        spec, rate = candidate
        return replace(self.base, balancer=spec, learning_rate=rate, seed=seed, only=only, test=test)

    def _tuning(self, method: Spec) -> Iterator[Job]:
        if self.plan.tune:
            for trial in self._tuning_trials(method) or []:
                yield Job(str(method), "method", True, trial)

    def _single_tuning(self) -> Iterator[Job]:
        if self._single and self.plan.tune:
            for only in self.tasks:
                for trial in self._tuning_trials(EQUAL, only) or []:
                    yield Job(SINGLE, "single", True, trial)

    def _grid_candidates(self) -> list[Candidate] | None:
        """The grid at the learning rate chosen for equal weights."""
        equal = self._chosen(EQUAL)
        return (
            None if equal is None else [Candidate(spec, equal.learning_rate) for spec in settings.simplex_grid(self.tasks)]
        )

    def _grid_tuning(self) -> Iterator[Job]:
        if self._static:
            for candidate in self._grid_candidates() or []:
                yield Job(STATIC, "static", True, self._for_tuning(candidate))

    def _chosen_static(self) -> Candidate | None:
        if (candidates := self._grid_candidates()) is None:
            return None
        return self._best((STATIC, None), candidates, [self._for_tuning(candidate) for candidate in candidates])

    # What is reported on

    def _reported(self, seed: int) -> Iterator[Job]:
        for method in self.plan.specs:
            if trial := self._reported_trial(method, seed):
                yield Job(str(method), "method", False, trial)
        if self._single:
            for only in self.tasks:
                if chosen := self._chosen(EQUAL, only):
                    yield Job(SINGLE, "single", False, self._trial(chosen, seed, only))
        if self._static:
            yield from self._reported_static(seed)
        yield from self._reported_controls(seed)

    def _reported_trial(self, method: Spec, seed: int) -> Trial | None:
        candidate = self._chosen(method)
        return self._resolved(self._trial(candidate, seed)) if candidate else None

    def _reported_static(self, seed: int) -> Iterator[Job]:
        if chosen := self._chosen_static():
            yield Job(STATIC, "static", False, self._trial(chosen, seed))
        if self._grid:
            for candidate in (self._grid_candidates() or [])[1:]:
                yield Job(str(candidate.spec), "grid", False, self._trial(candidate, seed))

    def _reported_controls(self, seed: int) -> Iterator[Job]:
        """Each differs from its DTP in one thing, and has its learning rate and other options."""
        if self._controlled is None or (dtp := self._reported_trial(self._controlled, seed)) is None:
            return
        for control in self._controls:
            if spec := self._control(control, dtp):
                yield Job(control, "control", False, replace(dtp, balancer=spec))

    def _control(self, control: str, dtp: Trial) -> Spec | None:
        if control == EASY:
            return dtp.balancer.replace({"priority": "easy"})
        if control == RAW:
            return dtp.balancer.replace({"normalize": False, "uniform": None})
        return self._frozen(dtp)

    def _frozen(self, trial: Trial) -> Spec | None:
        """The run's weights, averaged over its epochs; None until it has ended well."""
        record = self._record(trial)
        if record is None or record.outcome != "finished":
            return None
        curves = {task: [weight for weight in record.curve(task, "weight") if not math.isnan(weight)] for task in self.tasks}
        means = {task: fmean(curve) if curve else 0.0 for task, curve in curves.items()}
        return settings.fixed(means) if sum(means.values()) > 0 else None

    # What others depend on

    def _resolved(self, trial: Trial) -> Trial | None:
        """The trial with potentials in place of `potential=stl`: validation KPIs of the single-task runs with its seed."""
        if trial.balancer.option("potential") != STL:
            return trial
        potential: dict[str, float] = {}
        for only in self.tasks:
            record = self._single_record(trial, only)
            if record is None:
                return None
            kpi = record.validation_kpi(only)
            if not math.isnan(kpi):  # a run that diverged tells nothing, and leaves the potential at 1
                potential[only] = max(round(kpi, 4), _LEAST_POTENTIAL)
        return replace(trial, balancer=trial.balancer.per_task("potential", potential))

    def _single_record(self, trial: Trial, only: str) -> Record | None:
        chosen = self._chosen(EQUAL, only)
        return self._record(self._trial(chosen, trial.seed, only, test=trial.test)) if chosen else None

    def _record(self, trial: Trial) -> Record | None:
        return self.find(self.key(trial))

    def _ended(self, trials: Sequence[Trial]) -> list[Record] | None:
        """The trials' records; None while one is missing."""
        found = [self._record(trial) for trial in trials]
        known = [record for record in found if record is not None]
        return known if len(known) == len(found) else None
