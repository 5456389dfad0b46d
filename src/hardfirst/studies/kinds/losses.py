"""Studies of which loss of a task is best, with that task alone in its network."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hardfirst.errors import InputError, short
from hardfirst.problems import Problem
from hardfirst.studies._settings import check_each, listed, without_repeats
from hardfirst.studies.kinds.base import FindRecord, StudyKind
from hardfirst.studies.trials import CaseBase, StudyTrial
from hardfirst.studies.tuning import EQUAL, SEED, Candidate
from hardfirst.training import Trial

if TYPE_CHECKING:
    from hardfirst.studies.plan import Plan


class LossStudy(StudyKind):
    """The trials of one problem and network: every loss has the same learning rates to choose from and the same seeds.

    The plan's setting `compared` has the losses' names (`Task.losses`); the first is the baseline.
    """

    title, suffix, tunes = "Losses", "losses", True
    summary = "Compare the losses of one task, such as focal losses."
    choices = "The losses to compare, joined by commas, the baseline first. Default: all."

    def __init__(self, plan: "Plan", case: CaseBase, find: FindRecord) -> None:
        super().__init__(plan, case, find)
        self.losses: tuple[str, ...] = plan.compared
        self.base = self.base.alone(self.problem.loss_study_task.name)
        self.baseline = self.losses[0]

    @classmethod
    def check(cls, compared: Any, problems: Sequence[Problem]) -> tuple[str, ...]:
        names = (
            listed(compared)
            if compared is not None
            else [name for problem in problems[:1] for name in problem.loss_study_task.losses]
        )
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise InputError(f"Expected names of losses, as a list or joined by commas; got {short(compared)}.")
        check_each(partial(problem.loss_study_task.with_loss, name) for problem in problems for name in names)
        return without_repeats("loss", tuple(names))

    def trials(self) -> Iterator[StudyTrial]:
        for loss in self.losses:
            if self.plan.tune:
                yield from self._tuning(loss)
        for seed in range(self.plan.seeds):
            for loss in self.losses:
                if settings := self._settings(loss):
                    yield self._trial(loss, settings, seed)

    def first_trials(self) -> dict[str, Trial]:
        settings_of = {loss: self._settings(loss) for loss in self.losses}
        return {loss: self._trial(loss, settings, 0).trial for loss, settings in settings_of.items() if settings}

    def count(self) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(self.losses, (self.plan.tune, self.plan.seeds))

    def _tuning(self, loss: str) -> list[StudyTrial]:
        return [self._trial(loss, candidate, SEED) for candidate in self._candidates(EQUAL)]

    def _settings(self, loss: str) -> Candidate | None:
        """The loss's learning rate; None until its tuning has ended."""
        return self.best(loss, self._candidates(EQUAL), self._tuning(loss))

    def _trial(self, loss: str, settings: Candidate, seed: int) -> StudyTrial:
        trial = replace(self.with_settings(settings, seed), loss=loss)
        return self.study_trial(loss, trial, tuning=seed == SEED)
