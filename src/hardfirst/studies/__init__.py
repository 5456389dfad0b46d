"""Studies: many trials of one question, run in parallel, kept by content, and summed up with intervals."""

from hardfirst.studies.cost import StepCost
from hardfirst.studies.difficulty import measuring, ordered, stand_in
from hardfirst.studies.executors import Event, cores, run_locally
from hardfirst.studies.forecast import counts, estimate
from hardfirst.studies.orders import ORDERS
from hardfirst.studies.plan import Plan
from hardfirst.studies.schedule import GRID, Job, Schedule
from hardfirst.studies.session import Session
from hardfirst.studies.store import CaseTrials, Description, Entry, Run, Store
from hardfirst.studies.tuning import chosen

__all__ = [
    "GRID",
    "ORDERS",
    "CaseTrials",
    "Description",
    "Entry",
    "Event",
    "Job",
    "Plan",
    "Run",
    "Schedule",
    "Session",
    "StepCost",
    "Store",
    "chosen",
    "cores",
    "counts",
    "estimate",
    "measuring",
    "ordered",
    "run_locally",
    "stand_in",
]
