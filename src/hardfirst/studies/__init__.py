"""Studies: many trials of one question, run in parallel, kept by content, and summed up with intervals."""

from hardfirst.studies.executors import Event, cores, run_locally
from hardfirst.studies.plan import Plan
from hardfirst.studies.store import Store

__all__ = ["Event", "Plan", "Store", "cores", "run_locally"]
