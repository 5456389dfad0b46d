"""Studies: many trials of one question, run in parallel, kept by content, and summed up with intervals."""

from hardfirst.studies.difficulty import measuring, ordered, stand_in
from hardfirst.studies.executors.local import Event, cores, run_locally
from hardfirst.studies.forecast import counts, estimate
from hardfirst.studies.kinds.balancers import Job, Schedule
from hardfirst.studies.plan import Plan
from hardfirst.studies.runner import Session
from hardfirst.studies.store import Store

__all__ = [
    "Event",
    "Job",
    "Plan",
    "Schedule",
    "Session",
    "Store",
    "cores",
    "counts",
    "estimate",
    "measuring",
    "ordered",
    "run_locally",
    "stand_in",
]
