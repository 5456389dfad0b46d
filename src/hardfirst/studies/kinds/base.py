"""What a plan compares, and so which trials it wants."""

from collections.abc import Callable, Iterator
from typing import Protocol

from hardfirst.problems import Problem
from hardfirst.records import Record
from hardfirst.records.study_folder import CaseTrials
from hardfirst.studies.kinds.balancers import Job, Schedule
from hardfirst.studies.kinds.losses import LossSchedule
from hardfirst.studies.kinds.orders import OrderSchedule
from hardfirst.studies.plan import Plan
from hardfirst.training import Trial


class Scheduled(Protocol):
    """The trials of one problem and network."""

    base: Trial
    problem: Problem
    baseline: str
    """The method that the others are held against."""

    @property
    def name(self) -> str:
        """What the case is called in cost.json."""

    def jobs(self) -> Iterator[Job]:
        """All that is known to be needed."""

    def key(self, trial: Trial) -> str:
        """The name of the trial's record."""

    def entries(self) -> CaseTrials:
        """What study.json says of the trials that are known so far."""

    def first_trials(self) -> dict[str, Trial]:
        """For each method whose settings are known, its trial with seed 0."""

    def count(self) -> dict[str, tuple[int, int]]:
        """By method, how many tuning runs and how many reported runs there will be at most."""


def schedules(plan: Plan, find: Callable[[str], Record | None]) -> list[Scheduled]:
    """One for each case of the plan."""
    kind: Callable[..., Scheduled] = OrderSchedule if plan.orders else LossSchedule if plan.losses else Schedule
    return [kind(plan, case, find) for case in plan.cases]
