"""Studies: many trials of one question, run in parallel, kept by content, and summed up with intervals."""

from hardfirst.studies.difficulty import difficulty_trial, with_default_order, with_measured_order
from hardfirst.studies.executors.local import Event, cores, run_locally
from hardfirst.studies.forecast import counts, estimate
from hardfirst.studies.kinds.balancers import Job, Schedule
from hardfirst.studies.plan import Plan
from hardfirst.studies.runner import Runner
from hardfirst.studies.store import Store

__all__ = [
    "Event",
    "Job",
    "Plan",
    "Runner",
    "Schedule",
    "Store",
    "cores",
    "counts",
    "difficulty_trial",
    "estimate",
    "run_locally",
    "with_default_order",
    "with_measured_order",
]
