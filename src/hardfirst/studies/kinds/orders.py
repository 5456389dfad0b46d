"""Studies of the order of tasks in a task hierarchy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from statistics import fmean
from typing import TYPE_CHECKING, Any

from hardfirst.errors import InputError, short
from hardfirst.networks import MEASURED, NetworkSpec
from hardfirst.problems import Problem
from hardfirst.records.names import ORDERS
from hardfirst.studies.kinds.base import FindRecord, StudyKind
from hardfirst.studies.trials import CaseBase, StudyTrial
from hardfirst.training import Trial

if TYPE_CHECKING:
    from hardfirst.studies.plan import Plan

HARD_SHARING, HIERARCHY = "hard_sharing", "task_hierarchy"
ALL_UP_TO = 4
"""The greatest number of tasks of which all orders are compared; of more tasks, as many orders as tasks."""


class OrderStudy(StudyKind):
    """The trials of one problem: task hierarchies in many orders, with equal weights, and hard sharing of the same size.

    Up to four tasks are trained in all their orders, more in those of a Latin square, in which each task is once at each
    position. The orders "hard_first" and "easy_first" follow the mean validation KPIs of hard sharing, and therefore wait
    for all its runs.
    """

    title, suffix, baseline = "Orders of tasks", "order", HARD_SHARING
    summary = "Compare orders of tasks in a task hierarchy."

    def __init__(self, plan: "Plan", case: CaseBase, find: FindRecord) -> None:
        super().__init__(plan, case, find)
        self.sample = sample(self.problem.task_names)
        self.base = replace(self.base, network=_network(self.sample[0]))

    @classmethod
    def check(cls, compared: Any, problems: Sequence[Problem]) -> bool:
        if compared not in (None, True):
            raise InputError(f"Expected `orders` to be true or false; got {short(compared)}.")
        for problem in problems:
            if len(problem.tasks) < 2:
                raise InputError(f"{problem.name} has one task, and so no order of tasks.")
            if problem.auxiliary:
                raise InputError(
                    f"{problem.name} has tasks without a KPI, {', '.join(problem.auxiliary)}, whose place cannot be judged."
                )
            if problem.parts is None:
                raise InputError(f"{problem.name} has no parts, of which a task hierarchy could be made: see Problem.parts.")
        return True

    @classmethod
    def networks(cls, plan: "Plan") -> Sequence[str]:
        return [HIERARCHY]

    def trials(self) -> Iterator[StudyTrial]:
        if self.difficulty is not None:
            yield self.difficulty
            if not self.with_difficulty():
                return
        for seed in range(self.plan.seeds):
            yield self._hard_sharing(seed)
            for order in self.sample:
                yield self.study_trial(" → ".join(order), self._trial(order, seed), role="order")
        for name, order in self._by_difficulty().items():
            for seed in range(self.plan.seeds):
                yield self.study_trial(name, self._trial(order, seed))

    def first_trials(self) -> dict[str, Trial]:
        orders = {name: self._trial(order, 0) for name, order in self._by_difficulty().items()}
        return {HARD_SHARING: self._hard_sharing(0).trial, **orders}

    def count(self) -> dict[str, tuple[int, int]]:
        seeds = self.plan.seeds
        counts = {HARD_SHARING: (0, seeds), ORDERS: (0, seeds * len(self.sample))}
        if len(self.problem.task_names) > ALL_UP_TO:  # else the orders by difficulty are among all orders
            counts |= dict.fromkeys(MEASURED, (0, seeds))
        if self.difficulty is not None:
            counts[self.difficulty.row] = (1, 0)
        return counts

    def _trial(self, order: Sequence[str], seed: int) -> Trial:
        return replace(self.base, network=_network(order), seed=seed)

    def _hard_sharing(self, seed: int) -> StudyTrial:
        return self.study_trial(HARD_SHARING, replace(self.base, network=HARD_SHARING, seed=seed))

    def _by_difficulty(self) -> Mapping[str, tuple[str, ...]]:
        """The orders that measured KPIs decide; none until all runs of hard sharing have ended."""
        records = self.records_of([self._hard_sharing(seed) for seed in range(self.plan.seeds)]) or []
        finished = [record for record in records if record.outcome == "finished"]
        if not finished:
            return {}
        tasks = self.problem.task_names
        kpis = {task: fmean(record.validation_kpi(task, undefined=0.0) for record in finished) for task in tasks}
        specs = {name: NetworkSpec(HIERARCHY, (("order", name),)).ordered(kpis) for name in MEASURED}
        return {name: order for name, spec in specs.items() if isinstance(order := spec.option("order"), tuple)}  # type: ignore[misc]


def sample(tasks: Sequence[str]) -> list[tuple[str, ...]]:
    """The orders that are compared.

    >>> len(sample("abcd")), len(sample("abcdefg"))
    (24, 7)
    """
    return list(permutations(tasks)) if len(tasks) <= ALL_UP_TO else latin_square(tasks)


def latin_square(tasks: Sequence[str]) -> list[tuple[str, ...]]:
    """As many orders as tasks; each task is at each position in one of them.

    For an even number of tasks, each task also follows each other one in exactly one order (Williams, Experimental Designs
    Balanced for the Estimation of Residual Effects of Treatments, Australian Journal of Scientific Research, 1949).

    >>> [" ".join(order) for order in latin_square("abcd")]
    ['a b d c', 'b c a d', 'c d b a', 'd a c b']
    """
    count = len(tasks)
    zigzag = [position // 2 + 1 if position % 2 else -(position // 2) for position in range(count)]  # 0, 1, -1, 2, -2, …
    return [tuple(tasks[(start + step) % count] for step in zigzag) for start in range(count)]


def _network(order: Sequence[str]) -> str:
    return str(NetworkSpec(HIERARCHY, (("order", tuple(order)),)))
