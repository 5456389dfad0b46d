"""Studies: many trials of one question, run in parallel, stored by content, and summarised with intervals."""

from hardfirst.studies.difficulty import difficulty_trial, with_default_order, with_measured_order
from hardfirst.studies.executors import ENGINES, EngineSpec
from hardfirst.studies.executors.base import Assignment, Ended, Executor
from hardfirst.studies.executors.drive import Drive, Event
from hardfirst.studies.executors.local import cores
from hardfirst.studies.forecast import counts, estimate
from hardfirst.studies.kinds import KINDS
from hardfirst.studies.kinds.base import StudyKind
from hardfirst.studies.plan import Plan
from hardfirst.studies.runner import Runner
from hardfirst.studies.store import Store
from hardfirst.studies.trials import CaseBase, StudyTrial

__all__ = [
    "ENGINES",
    "KINDS",
    "Assignment",
    "CaseBase",
    "Drive",
    "Ended",
    "EngineSpec",
    "Event",
    "Executor",
    "Plan",
    "Runner",
    "Store",
    "StudyKind",
    "StudyTrial",
    "cores",
    "counts",
    "difficulty_trial",
    "estimate",
    "with_default_order",
    "with_measured_order",
]
