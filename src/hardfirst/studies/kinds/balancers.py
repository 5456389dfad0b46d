"""Studies of which balancing method is best, with the baselines and controls of a fair comparison."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from hardfirst._spec import Value
from hardfirst.balancers import Spec
from hardfirst.errors import InputError, short
from hardfirst.problems import Problem
from hardfirst.records.names import FROZEN, GRID, SINGLE, STATIC, STATIC_CRITERION, STATIC_FOR, Role
from hardfirst.studies.kinds.base import FindRecord, StudyKind, is_vectorizable, needs_own_block
from hardfirst.studies.trials import CaseBase, StudyTrial
from hardfirst.studies.tuning import EQUAL, SEED, STL, Candidate, fixed, simplex_grid
from hardfirst.training import Trial

if TYPE_CHECKING:
    from hardfirst.studies.plan import Plan

_LEAST_POTENTIAL = 0.01


class BalancerStudy(StudyKind):
    """The trials of one problem and network, with equal weights as the baseline.

    What waits for what::

        order, hard tasks   where the network takes its order from measured KPIs, or the criterion is of hard tasks, the run
                            that measures them: all else waits
        single-task tuning  nothing
        a method's tuning   nothing; with `potential=stl`, the single-task runs with the tuning seed
        grid tuning         equal weights' tuning, whose learning rate the grid has
        a method's runs     its own tuning; with `potential=stl`, also the single-task runs with the same seed
        static weights      the grid's tuning
        controls            their method's tuning; frozen averages, also their method's run with the same seed
    """

    title, baseline, tunes, has_baselines = "Balancing methods", str(EQUAL), True, True
    summary = "Compare balancing methods."

    def __init__(self, plan: "Plan", case: CaseBase, find: FindRecord) -> None:
        super().__init__(plan, case, find)
        self.tasks = self.problem.task_names  # the auxiliary ones as well, which have weights
        self.methods = plan.specs

    @classmethod
    def check(cls, compared: Any, problems: Sequence[Problem]) -> None:
        if compared is not None:
            raise InputError(f"A study of balancers compares its `balancers`: leave out `compared`, {short(compared)}.")

    def trials(self) -> Iterator[StudyTrial]:
        if self.difficulty is not None:
            yield self.difficulty
            if not self.with_difficulty():
                return  # no trial's key is known before its network and criterion are
        # Single-task runs first: a method with `potential=stl` cannot even be tuned before them.
        if self._has_single and self.plan.tune:
            for task in self.problem.measured:
                yield from self._tuning(EQUAL, task) or []
        if self.plan.tune:
            for method in self.methods:
                yield from self._tuning(method) or []
        # Last of the tuning runs, since the grid has the learning rate that equal weights' tuning chooses.
        if self._has_static:
            yield from self._grid_tuning()
        for seed in range(self.plan.seeds):
            yield from self._reported(seed)

    def first_trials(self) -> dict[str, Trial]:
        trials = {str(method): self._run(method, 0) for method in self.methods}
        return {method: trial.trial for method, trial in trials.items() if trial is not None}

    def count(self) -> dict[str, tuple[int, int]]:
        tune, seeds = self.plan.tune, self.plan.seeds
        counts = {str(method): (tune, seeds) for method in self.methods}
        if self._has_static:
            counts[GRID] = (len(simplex_grid(self.tasks)), seeds * len(self._shown_grid))
            counts |= dict.fromkeys(self._static.values(), (0, seeds))
        counts |= dict.fromkeys([*self._controls, *[FROZEN] * (self._controlled is not None)], (0, seeds))
        if self.difficulty is not None:
            counts[self.difficulty.row] = (1, 0)
        if self._has_single:
            count = len(self.problem.measured)
            counts[SINGLE] = (tune * count, seeds * count)
        return counts

    def alone(self) -> Mapping[str, int]:
        counts = self.count()
        return {str(method): sum(counts[str(method)]) for method in self.methods if not is_vectorizable(method)}

    def tuning_runs(self, role: Role) -> int:
        if role == "single":
            return self.plan.tune * len(self.problem.measured)
        if role != "static":
            return self.plan.tune
        shared = bool(self.plan.tune) and EQUAL in self.methods  # the first point is a run of equal weights' own tuning
        return len(simplex_grid(self.tasks)) - shared

    def reported_runs(self, role: Role) -> int:
        """Runs with the same part in the study are known at about the same time."""
        together = {
            "method": sum(is_vectorizable(method) and not needs_own_block(method) for method in self.methods),
            "grid": len(self._shown_grid),
            "single": len(self.problem.measured),
            "static": len({weights.spec for weights in self._static_weights().values()} - set(self.methods)),
            "control": len(self._controls) + 1,  # and frozen weights, which wait for the method's own run
        }
        return max(1, together.get(role, 1))

    # What the study has

    @property
    def _has_single(self) -> bool:
        """Whether single-task networks are trained."""
        needed = any(method.option("potential") == STL for method in self.methods)
        return (self.plan.baselines or needed) and len(self.tasks) > 1

    @property
    def _has_static(self) -> bool:
        """Whether static weights are chosen from a grid, by the validation split, for each headline measure."""
        return self.plan.baselines and len(self.tasks) > 1 and not self._nothing_held_out

    @property
    def _static(self) -> Mapping[str, str]:
        """By measure, the static weights that are chosen for it; the measures are one where one task alone has a KPI."""
        if len(self.problem.measured) == 1:
            return {"mean": STATIC}
        return STATIC_FOR if self.base.criterion in STATIC_FOR else {**STATIC_FOR, self.base.criterion: STATIC_CRITERION}

    @property
    def _nothing_held_out(self) -> bool:
        published = self.base.published_of(self.problem)
        return published is not None and published.last is not None

    @property
    def _shown_grid(self) -> list[Spec]:
        """The points of the grid that are reported on: of two tasks all but equal weights, as the reference of their Pareto
        front; of more tasks none.
        """
        return simplex_grid(self.tasks)[1:] if self._has_static and len(self.tasks) == 2 else []

    @cached_property
    def _controlled(self) -> Spec | None:
        """The method that controls are variants of: the first that has any."""
        methods = (method for method in self.methods if method.controls)
        return next(methods, None) if self.plan.controls and len(self.tasks) > 1 else None

    @cached_property
    def _controls(self) -> Mapping[str, Mapping[str, Value]]:
        """By name, the changes that make a control; without those that the method has already."""
        method = self._controlled
        if method is None:
            return {}
        return {name: changes for name, changes in method.controls.items() if method.replace(changes) != method}

    # Settings

    def _settings(self, method: Spec, only: str | None = None) -> Candidate | None:
        """The method's chosen learning rate and options; None until its tuning has ended."""
        options = self._candidates(method)
        return self.best((method, only), options, None if len(options) == 1 else self._tuning(method, only))

    def _tuning(self, method: Spec, only: str | None = None) -> list[StudyTrial] | None:
        """The method's tuning runs, or a task's single-task ones; None while one cannot be planned."""
        runs = [self._planned(method, candidate, SEED, only) for candidate in self._candidates(method)]
        trials = [run for run in runs if run is not None]
        return trials if len(trials) == len(runs) else None

    def _grid(self) -> list[Candidate] | None:
        """The grid of static weights, at the rate and recipe chosen for equal weights; None until these are known."""
        if (equal := self._settings(EQUAL)) is None:
            return None
        return [equal._replace(spec=spec) for spec in simplex_grid(self.tasks)]

    def _grid_tuning(self) -> list[StudyTrial]:
        return [self._static_trial(GRID, candidate, SEED) for candidate in self._grid() or []]

    def _static_weights(self) -> dict[str, Candidate]:
        """By name, the static weights that the grid's tuning chooses; none until it has ended."""
        if not (self._has_static and (grid := self._grid())):
            return {}
        chosen = {name: self.best(name, grid, self._grid_tuning(), measure) for measure, name in self._static.items()}
        return {name: weights for name, weights in chosen.items() if weights is not None}

    # Trials

    def _reported(self, seed: int) -> Iterator[StudyTrial]:
        for method in self.methods:
            if trial := self._run(method, seed):
                yield trial
        if self._has_single:
            for task in self.problem.measured:
                if trial := self._run(EQUAL, seed, task):
                    yield trial
        for name, weights in self._static_weights().items():
            yield self._static_trial(name, weights, seed)
        if self._shown_grid:
            for candidate in (self._grid() or [])[1:]:
                yield self.study_trial(str(candidate.spec), self._trial(candidate, seed), role="grid")
        yield from self._control_trials(seed)

    def _run(self, method: Spec, seed: int, only: str | None = None) -> StudyTrial | None:
        """A method's trial with its chosen settings, or a task's single-task one; None while these are not known."""
        settings = self._settings(method, only)
        return None if settings is None else self._planned(method, settings, seed, only)

    def _static_trial(self, name: str, candidate: Candidate, seed: int) -> StudyTrial:
        return self.study_trial(name, self._trial(candidate, seed), role="static", tuning=seed == SEED)

    def _control_trials(self, seed: int) -> Iterator[StudyTrial]:
        """Variants of a method that differ from its run in one thing each, and share its learning rate and other options."""
        method = self._controlled
        if method is None or (run := self._run(method, seed)) is None:
            return
        variants: dict[str, Spec | None] = {
            name: run.trial.balancer.replace(changes) for name, changes in self._controls.items()
        }
        variants[FROZEN] = self._frozen(run)
        for name, spec in variants.items():
            if spec is not None:
                trial = replace(run.trial, balancer=spec)
                yield self.study_trial(name, trial, role="control", control_of=str(method))

    def _frozen(self, run: StudyTrial) -> Spec | None:
        """Static weights at the run's averages over its epochs; None until it has finished."""
        record = self.record_of(run)
        if record is None or record.outcome != "finished":
            return None
        curves = {task: [weight for weight in record.curve(task, "weight") if not math.isnan(weight)] for task in self.tasks}
        means = {task: fmean(curve) if curve else 0.0 for task, curve in curves.items()}
        return fixed(means) if sum(means.values()) > 0 else None

    def _planned(self, method: Spec, settings: Candidate, seed: int, only: str | None = None) -> StudyTrial | None:
        """A method's trial, or a task's single-task one; None while a record that it depends on is missing."""
        trial = self._with_potentials(self._trial(settings, seed, only))
        if trial is None:
            return None
        tuning = seed == SEED
        if only is not None:
            return self.study_trial(SINGLE, trial, role="single", tuning=tuning)
        return self.study_trial(str(method), trial, tuning=tuning)

    def _trial(self, settings: Candidate, seed: int, only: str | None = None) -> Trial:
        trial = self.with_settings(settings, seed)
        return trial if only is None else trial.alone(only)

    def _with_potentials(self, trial: Trial) -> Trial | None:
        """The trial with numbers in place of `potential=stl`: the validation KPIs of the single-task runs with its seed.

        None until all of these have ended. A task whose run diverged keeps the potential 1.
        """
        if trial.balancer.option("potential") != STL:
            return trial
        potentials: dict[str, float] = {}
        for task in self.problem.measured:
            single = self._run(EQUAL, trial.seed, task)
            if single is None or (record := self.record_of(single)) is None:
                return None
            kpi = record.validation_kpi(task)
            if not math.isnan(kpi):
                potentials[task] = max(round(kpi, 4), _LEAST_POTENTIAL)
        return replace(trial, balancer=trial.balancer.per_task("potential", potentials))
