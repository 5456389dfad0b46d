"""Studies: many trials of one question, run in parallel, stored by content, and summarised with intervals."""

from typing import TYPE_CHECKING

from hardfirst._registry import lazy_names

if TYPE_CHECKING:
    from hardfirst.studies.difficulty import difficulty_trial as difficulty_trial
    from hardfirst.studies.difficulty import with_default_order as with_default_order
    from hardfirst.studies.difficulty import with_hard_tasks as with_hard_tasks
    from hardfirst.studies.difficulty import with_measured_order as with_measured_order
    from hardfirst.studies.executors import ENGINES as ENGINES
    from hardfirst.studies.executors import EngineSpec as EngineSpec
    from hardfirst.studies.executors.base import Assignment as Assignment
    from hardfirst.studies.executors.base import Ended as Ended
    from hardfirst.studies.executors.base import Executor as Executor
    from hardfirst.studies.executors.drive import Drive as Drive
    from hardfirst.studies.executors.drive import Event as Event
    from hardfirst.studies.executors.local import cores as cores
    from hardfirst.studies.forecast import counts as counts
    from hardfirst.studies.forecast import estimate as estimate
    from hardfirst.studies.forecast import places as places
    from hardfirst.studies.kinds import KINDS as KINDS
    from hardfirst.studies.kinds.base import StudyKind as StudyKind
    from hardfirst.studies.plan import Plan as Plan
    from hardfirst.studies.runner import Runner as Runner
    from hardfirst.studies.store import Store as Store
    from hardfirst.studies.trials import CaseBase as CaseBase
    from hardfirst.studies.trials import StudyTrial as StudyTrial

_HOMES = {
    "Assignment": "executors.base",
    "CaseBase": "trials",
    "Drive": "executors.drive",
    "ENGINES": "executors",
    "Ended": "executors.base",
    "EngineSpec": "executors",
    "Event": "executors.drive",
    "Executor": "executors.base",
    "KINDS": "kinds",
    "Plan": "plan",
    "Runner": "runner",
    "Store": "store",
    "StudyKind": "kinds.base",
    "StudyTrial": "trials",
    "cores": "executors.local",
    "counts": "forecast",
    "difficulty_trial": "difficulty",
    "estimate": "forecast",
    "places": "forecast",
    "with_default_order": "difficulty",
    "with_hard_tasks": "difficulty",
    "with_measured_order": "difficulty",
}

__all__ = [*_HOMES]  # noqa: PLE0604  # the names of a table, all strings

__getattr__, __dir__ = lazy_names(__name__, {name: f"{__name__}.{module}:{name}" for name, module in _HOMES.items()})
