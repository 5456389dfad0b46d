"""Which loss of a task is best: the trials of a study that compares losses, each of them alone in its network."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from hardfirst.problems import Problem
from hardfirst.records import Record, selection
from hardfirst.records.study_folder import CaseTrials, Entry
from hardfirst.studies import tuning as settings
from hardfirst.studies.kinds.balancers import Job
from hardfirst.studies.plan import EQUAL, Plan
from hardfirst.studies.tuning import Candidate
from hardfirst.training import Trial


class LossSchedule:
    """The trials of one problem and network, as `Schedule` has them for balancers: every loss has the same learning rates
    to choose from, and the same seeds.

    Args:
        plan: the study.
        case: one of `plan.cases`.
        find: the record of a trial that has ended, or None. Called with its key.
    """

    def __init__(self, plan: Plan, case: tuple[Trial, Problem], find: Callable[[str], Record | None]) -> None:
        self.plan, self.find = plan, find
        base, self.problem = case
        self.base = replace(base, only=self.problem.loss_study_task.name)
        self.baseline = plan.losses[0]
        self._keys: dict[Trial, str] = {}

    @property
    def name(self) -> str:
        """What the case is called in cost.json."""
        return f"{self.problem.name}/{self.base.network}"

    def jobs(self) -> Iterator[Job]:
        """What is known to be needed: tuning first, then seed by seed, so that a study that is stopped has whole pairs."""
        for loss in self.plan.losses:
            if self.plan.tune:
                yield from (Job(loss, "method", True, trial) for trial in self._tuning(loss))
        for seed in range(self.plan.seeds):
            for loss in self.plan.losses:
                if chosen := self._chosen(loss):
                    yield Job(loss, "method", False, self._trial(loss, chosen, seed))

    def key(self, trial: Trial) -> str:
        """The name of the trial's record."""
        if trial not in self._keys:
            self._keys[trial] = trial.key(trial.of(self.problem))
        return self._keys[trial]

    def entries(self) -> CaseTrials:
        """What study.json says of the trials that are known so far."""
        entries = [Entry(key=self.key(job.trial), method=job.method, tuning=job.tuning) for job in self.jobs()]
        return CaseTrials(problem=self.problem.name, network=self.base.network, baseline=self.baseline, trials=entries)

    def first_trials(self) -> dict[str, Trial]:
        """For each loss whose settings are known, its trial with seed 0."""
        known = {loss: self._chosen(loss) for loss in self.plan.losses}
        return {loss: self._trial(loss, chosen, 0) for loss, chosen in known.items() if chosen}

    def count(self) -> dict[str, tuple[int, int]]:
        """By loss, how many tuning runs and how many reported runs there will be."""
        return dict.fromkeys(self.plan.losses, (self.plan.tune, self.plan.seeds))

    def _candidates(self) -> list[Candidate]:
        rate, span = self.base.learning_rate, self.plan.learning_rates
        return settings.candidates(EQUAL, [self.problem.loss_study_task.name], rate, self.plan.tune, span)

    def _tuning(self, loss: str) -> list[Trial]:
        return [self._trial(loss, candidate, settings.SEED, test=False) for candidate in self._candidates()]

    def _chosen(self, loss: str) -> Candidate | None:
        """The settings that did best; None while they are being tried."""
        candidates = self._candidates()
        if len(candidates) == 1:
            return candidates[0]
        found = [self.find(self.key(trial)) for trial in self._tuning(loss)]
        known = [record for record in found if record is not None]
        return candidates[selection.chosen(known)] if len(known) == len(found) else None

    def _trial(self, loss: str, candidate: Candidate, seed: int, *, test: bool = True) -> Trial:
        return replace(self.base, loss=loss, learning_rate=candidate.learning_rate, seed=seed, test=test)
