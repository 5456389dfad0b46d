"""The base of all kinds of studies."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from hardfirst._spec import has_range
from hardfirst.balancers import Spec
from hardfirst.balancers._stacked import trains_together
from hardfirst.problems import Problem
from hardfirst.records import Record
from hardfirst.records.description import CaseTrials
from hardfirst.records.names import HARD_TASKS, ORDER, Role
from hardfirst.records.objective import Objective
from hardfirst.records.selection import chosen
from hardfirst.studies.difficulty import difficulty_trial, with_hard_tasks, with_measured_order
from hardfirst.studies.trials import Block, CaseBase, StudyTrial
from hardfirst.studies.tuning import SEED, Candidate, candidates
from hardfirst.training import PUBLISHED, Trial

if TYPE_CHECKING:
    from hardfirst.studies.plan import Plan

FindRecord = Callable[[str], Record | None]

_SEEDS = 10  # of a block


def is_vectorizable(spec: Spec) -> bool:
    """Whether runs with this balancer may be trained together."""
    return trains_together(spec.method)


def needs_own_block(spec: Spec) -> bool:
    """Whether runs with this balancer are trained together with their like alone: each task has a backward pass."""
    return "shared" in spec.method.needs


class StudyKind(ABC):
    """The trials of one kind of study on one problem and network.

    Trials depend on the outcome of others: a method is reported on with the settings that its tuning chooses. `trials` is
    therefore a function of the plan and of the records so far. It is called again whenever a trial has ended, and lists all
    trials whose settings are known by then, those that have ended included. It has no other state, which is why a study
    that was stopped resumes by asking again.

    A kind is a subclass in a separate file and a row in `KINDS`; `hardfirst study NAME` is made from its class attributes.

    Args:
        plan: the study.
        case: one of `plan.cases`.
        find: returns the record of an ended trial by the trial's key, or None.
    """

    title: ClassVar[str]
    """What is compared, for the page's title."""

    suffix: ClassVar[str] = ""
    """What the name of the study's folder ends in, after the problems' names."""

    summary: ClassVar[str]
    """What `hardfirst study --help` says of the kind."""

    choices: ClassVar[str | None] = None
    """What `--help` says of the flag for what is compared; None if there is no choice."""

    tunes: ClassVar[bool] = False
    """Whether the plan's settings `tune` and `learning_rates` apply."""

    has_baselines: ClassVar[bool] = False
    """Whether the plan's setting `baselines` applies."""

    heads: ClassVar[tuple[str, str, str]] = ("method", "tuning", "reported")
    """What the rows of `count` are, and their two numbers."""

    refuses: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """The settings of a plan that do not apply, each with what to do instead."""

    baseline: str
    """The method that the others are compared with."""

    def __init__(self, plan: "Plan", case: CaseBase, find: FindRecord) -> None:
        self.plan, self.find = plan, find
        self.base, self.problem = case
        self.network = self.base.network
        self._trials: dict[tuple[Hashable, ...], StudyTrial] = {}
        self._best: dict[Hashable, Candidate] = {}
        self._candidates_of: dict[Spec, list[Candidate]] = {}

    @classmethod
    @abstractmethod
    def check(cls, compared: Any, problems: Sequence[Problem]) -> Any:
        """Return the plan's setting `compared` in its normal form, which JSON and YAML can hold.

        Args:
            compared: as the user gave it; None for the default.
            problems: the plan's.

        Raises:
            InputError: it is not what this kind of study compares, or a problem does not have it.
        """

    @classmethod
    def networks(cls, plan: "Plan") -> Sequence[str]:
        """The networks that the study compares; each is a separate case."""
        return plan.networks

    @abstractmethod
    def trials(self) -> Iterator[StudyTrial]:
        """Yield all trials whose settings are known so far, in the order in which they should run.

        Trials that others depend on come first. Reported trials come seed by seed, so that a study that is stopped early has
        all methods at the same seeds.
        """

    @abstractmethod
    def count(self) -> dict[str, tuple[int, int]]:
        """By row (`StudyTrial.row`), the greatest number of tuning runs and of reported runs."""

    @abstractmethod
    def first_trials(self) -> dict[str, Trial]:
        """By method, the reported trial with seed 0 if its settings are known: the trials whose step cost is measured."""

    @property
    def name(self) -> str:
        """The case's name in cost.json."""
        return f"{self.plan.names[self.base.problem]}/{self.network}"

    def notes(self) -> list[str]:
        """What a dry run says of the case, in sentences."""
        return []

    def alone(self) -> Mapping[str, int]:
        """By row, the greatest number of runs whose balancer keeps them from being trained together with others."""
        return {}

    @cached_property
    def difficulty(self) -> StudyTrial | None:
        """The run that measures the order of tasks, or the hard ones; None if neither network nor criterion needs it."""
        trial = difficulty_trial(self.base, self.problem)
        if trial is None:
            return None
        needs_hard = Objective.parse(self.base.criterion, self.problem.measured).needs_hard
        return self.study_trial(HARD_TASKS if needs_hard else ORDER, trial, role="order", tuning=True)

    def with_difficulty(self) -> bool:
        """Put the measured order of tasks and the hard ones into `base`; False while their run has not ended."""
        record = None if self.difficulty is None else self.record_of(self.difficulty)
        if record is not None:
            self.base = with_measured_order(replace(self.base, network=self.network), self.problem, record)
            self.base = with_hard_tasks(self.base, self.problem, record)
        return record is not None

    def entries(self) -> CaseTrials:
        """What study.json says of the case's trials so far."""
        trials = [trial.entry for trial in self.trials()]
        problem = self.plan.names[self.base.problem]
        return CaseTrials(problem=problem, network=self.network, baseline=self.baseline, trials=trials)

    def study_trial(
        self,
        method: str,
        trial: Trial,
        *,
        role: Role = "method",
        tuning: bool = False,
        control_of: str | None = None,
        rung: int | None = None,
        row: str | None = None,
        together: Block | None = None,
    ) -> StudyTrial:
        """A trial with its part in the study; the same object for the same arguments, so that its key is computed once.

        Args:
            method: as in `StudyTrial`, and so are the others below.
            trial: what is trained.
            role: its part in the study.
            tuning: whether it only serves to choose settings.
            control_of: the method that a control is a variant of.
            rung: of a search.
            row: the row that counts it.
            together: the trials that it is trained together with, if that is possible. Default: those with its part in the
                study.
        """
        identity = (method, trial, role, tuning, control_of, rung)
        if identity not in self._trials:
            block = self._block(method, trial, role, tuning=tuning) if together is None else self._possible(trial, together)
            parts = (control_of, block, rung, row)
            self._trials[identity] = StudyTrial(method, trial, self.problem, role, tuning, *parts)
        return self._trials[identity]

    def tuning_runs(self, role: Role) -> int:
        """How many trials choose the settings of a method, and have no other part in the study."""
        return self.plan.tune

    def reported_runs(self, role: Role) -> int:
        """How many trials of one seed, with this part in the study, are trained together."""
        return 1

    def _block(self, method: str, trial: Trial, role: Role, *, tuning: bool) -> Block | None:
        """The trials that this one is trained together with.

        They differ in seed, learning rate and balancer; single-task runs differ in their task as well.
        """
        if tuning and (role == "order" or any(map(has_range, self.plan.recipe.values()))):
            return None
        first = 0 if tuning else trial.seed - trial.seed % _SEEDS
        runs = 1 if tuning or needs_own_block(trial.balancer) else self.reported_runs(role)
        size = self.tuning_runs(role) if tuning else runs * min(_SEEDS, self.plan.seeds - first)
        of = method if runs == 1 else role
        only = None if role == "single" else trial.only
        parts = (self.problem.name, trial.problem, trial.network, only, trial.loss, of, role, tuning, first)
        return self._possible(trial, Block(parts, size))

    def _possible(self, trial: Trial, block: Block) -> Block | None:
        """The block, if the trial may be trained together with others."""
        possible = self.plan.vectorize and is_vectorizable(trial.balancer) and self.plan.protocol != PUBLISHED
        return block if possible else None

    def record_of(self, trial: StudyTrial) -> Record | None:
        """The trial's record; None until it has ended."""
        return self.find(trial.key)

    def records_of(self, trials: Sequence[StudyTrial]) -> list[Record] | None:
        """The trials' records; None until all have ended."""
        records = [record for trial in trials if (record := self.record_of(trial)) is not None]
        return records if len(records) == len(trials) else None

    def with_settings(self, settings: Candidate, seed: int) -> Trial:
        """The case's trial with these settings; that with the tuning seed never reads the test split."""
        spec, rate, drawn = settings
        recipe = tuple((dict(self.base.recipe) | dict(drawn)).items())
        return replace(self.base, balancer=spec, learning_rate=rate, recipe=recipe, seed=seed, test=seed != SEED)

    def _candidates(self, method: Spec) -> list[Candidate]:
        """What a method's tuning chooses from, drawn once."""
        if method not in self._candidates_of:
            plan, rate = self.plan, self.base.learning_rate
            drawn = candidates(method, self.problem.task_names, rate, plan.tune, plan.learning_rates, plan.recipe)
            self._candidates_of[method] = drawn
        return self._candidates_of[method]

    def best(
        self,
        name: Hashable,
        candidates: Sequence[Candidate],
        trials: Sequence[StudyTrial] | None,
        measure: str | None = None,
    ) -> Candidate | None:
        """The candidate whose trial did best on the validation split; None until all trials have ended.

        Args:
            name: identifies the choice, which is made once: records do not change.
            candidates: what to choose from. A single one needs no trial.
            trials: one for each candidate; None while they cannot be planned yet.
            measure: what the trials are compared by. Default: the plan's criterion.
        """
        if len(candidates) == 1:
            return candidates[0]
        if name not in self._best and trials is not None and (records := self.records_of(trials)) is not None:
            self._best[name] = candidates[chosen(records, measure)]
        return self._best.get(name)
