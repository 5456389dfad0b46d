"""Which order of tasks is best in a task hierarchy: the trials of a study that compares orders."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from statistics import fmean

from hardfirst.networks import MEASURED, NetworkSpec
from hardfirst.problems import Problem
from hardfirst.records import Record
from hardfirst.records.names import ORDERS
from hardfirst.records.study_folder import CaseTrials, Entry
from hardfirst.studies.kinds.balancers import Job
from hardfirst.studies.plan import Plan
from hardfirst.training import Trial

HARD_SHARING, HIERARCHY = "hard_sharing", "task_hierarchy"
ALL_UP_TO = 4
"""So many tasks have all their orders compared; of more, as many orders as tasks."""


class OrderSchedule:
    """The trials of one problem: task hierarchies in many orders, with equal weights, and hard sharing of the same size.

    Of up to four tasks all orders are run, of more those of a Latin square, in which each task has each place once. The
    orders "hard_first" and "easy_first" follow the mean validation KPIs of hard sharing, and so come last.

    Args:
        plan: the study.
        case: one of `plan.cases`.
        find: the record of a trial that has ended, or None. Called with its key.
    """

    baseline = HARD_SHARING

    def __init__(self, plan: Plan, case: tuple[Trial, Problem], find: Callable[[str], Record | None]) -> None:
        self.plan, self.find = plan, find
        base, self.problem = case
        self.sample = sample(self.problem.task_names)
        self.base = replace(base, network=_network(self.sample[0]))
        self._keys: dict[Trial, str] = {}

    @property
    def name(self) -> str:
        """What the case is called in cost.json."""
        return f"{self.problem.name}/{HIERARCHY}"

    def jobs(self) -> Iterator[Job]:
        """What is known to be needed, seed by seed, so that a study that is stopped has whole pairs."""
        for seed in range(self.plan.seeds):
            yield Job(HARD_SHARING, "method", False, replace(self.base, network=HARD_SHARING, seed=seed))
            for order in self.sample:
                yield Job(" → ".join(order), "order", False, self._trial(order, seed))
        for name, order in self._by_difficulty().items():
            for seed in range(self.plan.seeds):
                yield Job(name, "method", False, self._trial(order, seed))

    def key(self, trial: Trial) -> str:
        """The name of the trial's record."""
        if trial not in self._keys:
            self._keys[trial] = trial.key(trial.of(self.problem))
        return self._keys[trial]

    def entries(self) -> CaseTrials:
        """What study.json says of the trials that are known so far."""
        entries = [Entry(key=self.key(job.trial), method=job.method, role=job.role) for job in self.jobs()]
        return CaseTrials(problem=self.problem.name, network=HIERARCHY, baseline=self.baseline, trials=entries)

    def first_trials(self) -> dict[str, Trial]:
        """For hard sharing and the orders by difficulty, the trial with seed 0."""
        orders = {name: self._trial(order, 0) for name, order in self._by_difficulty().items()}
        return {HARD_SHARING: replace(self.base, network=HARD_SHARING, seed=0), **orders}

    def count(self) -> dict[str, tuple[int, int]]:
        """How many runs there will be at most."""
        seeds = self.plan.seeds
        counts = {HARD_SHARING: (0, seeds), ORDERS: (0, seeds * len(self.sample))}
        if len(self.problem.task_names) > ALL_UP_TO:  # else they are among the orders
            counts |= dict.fromkeys(MEASURED, (0, seeds))
        return counts

    def _trial(self, order: Sequence[str], seed: int) -> Trial:
        return replace(self.base, network=_network(order), seed=seed)

    def _by_difficulty(self) -> dict[str, tuple[str, ...]]:
        """The orders that measured KPIs decide; none until all runs of hard sharing have ended."""
        trials = [replace(self.base, network=HARD_SHARING, seed=seed) for seed in range(self.plan.seeds)]
        found = [self.find(self.key(trial)) for trial in trials]
        finished = [record for record in found if record is not None and record.outcome == "finished"]
        if None in found or not finished:
            return {}
        kpis = {task: fmean(record.validation_kpi(task) for record in finished) for task in self.problem.task_names}
        specs = {name: NetworkSpec(HIERARCHY, (("order", name),)).ordered(kpis) for name in MEASURED}
        return {name: order for name, spec in specs.items() if isinstance(order := spec.option("order"), tuple)}  # type: ignore[misc]


def sample(tasks: Sequence[str]) -> list[tuple[str, ...]]:
    """The orders that are compared.

    >>> len(sample("abcd")), len(sample("abcdefg"))
    (24, 7)
    """
    return list(permutations(tasks)) if len(tasks) <= ALL_UP_TO else latin_square(tasks)


def latin_square(tasks: Sequence[str]) -> list[tuple[str, ...]]:
    """As many orders as tasks, in which each task has each place once.

    If their number is even, each task follows each other one once, too (Williams, Experimental Designs Balanced for the
    Estimation of Residual Effects of Treatments, Australian Journal of Scientific Research, 1949).

    >>> [" ".join(order) for order in latin_square("abcd")]
    ['a b d c', 'b c a d', 'c d b a', 'd a c b']
    """
    count = len(tasks)
    zigzag = [place // 2 + 1 if place % 2 else -(place // 2) for place in range(count)]  # 0, 1, -1, 2, -2, …
    return [tuple(tasks[(start + step) % count] for step in zigzag) for start in range(count)]


def _network(order: Sequence[str]) -> str:
    return str(NetworkSpec(HIERARCHY, (("order", tuple(order)),)))
