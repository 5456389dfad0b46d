"""A trial with its part in a study."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from hardfirst.problems import Problem
from hardfirst.records.description import Entry
from hardfirst.records.names import GRID, ORDERS, Role
from hardfirst.training import Trial

# Many of these are one row where runs are counted: a row for each point of a grid would fill the screen.
_ROWS: dict[Role, str] = {"grid": GRID, "order": ORDERS}


class CaseBase(NamedTuple):
    """A problem and network of a study: the trial that all its trials are variations of, and the loaded problem."""

    trial: Trial
    problem: Problem


class Block(NamedTuple):
    """Trials that are trained together, as one stacked network.

    Which trials these are depends on the plan and on the outcomes of others, never on what was stopped when. The numbers of
    a record are therefore the same however often a study was killed.

    Args:
        name: identifies the block.
        size: how many trials it has when all are known.
    """

    name: Hashable
    size: int


@dataclass(frozen=True, eq=False)
class StudyTrial:
    """A trial and what it is for in a study.

    Two of them may share a trial: equal weights, for instance, are also the first point of the grid of static weights. The
    trial then runs once, since its record is stored under its key.

    Args:
        method: what the trial counts for, as in `Entry`.
        trial: what is trained.
        problem: the trial's problem, loaded, with all its tasks.
        role: as in `Entry`.
        tuning: whether it only serves to choose settings.
        control_of: for a control, the method that it is a variant of.
        block: the trials that it is trained together with; None if it is trained alone.
        rung: as in `Entry`.
        counted_as: the row that counts the trial where runs are counted. Default: its method, or its role in the study.
    """

    method: str
    trial: Trial
    problem: Problem
    role: Role = "method"
    tuning: bool = False
    control_of: str | None = None
    block: Block | None = None
    rung: int | None = None
    counted_as: str | None = None

    @cached_property
    def key(self) -> str:
        """The name of the trial's record."""
        return self.trial.key(self.trial.of(self.problem))

    @cached_property
    def entry(self) -> Entry:
        """The trial's line in study.json."""
        return Entry(
            key=self.key, method=self.method, role=self.role, tuning=self.tuning, control_of=self.control_of, rung=self.rung
        )

    @property
    def row(self) -> str:
        """The row that counts the trial where runs are counted by method."""
        if self.counted_as is not None:
            return self.counted_as
        return self.method if self.tuning else _ROWS.get(self.role, self.method)
