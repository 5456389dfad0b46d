"""Training one network on a problem with one balancer, and what becomes of it: a record."""

from hardfirst.training._check import check_problem
from hardfirst.training._cost import step_seconds, trial_seconds
from hardfirst.training._devices import ACCELERATORS, check_devices, leads
from hardfirst.training._fit import fit
from hardfirst.training._interrupt import Interrupted
from hardfirst.training._processes import context, end_with_parent
from hardfirst.training._sampling import epoch_order
from hardfirst.training._training import Watcher
from hardfirst.training._trial import Trial

__all__ = [
    "ACCELERATORS",
    "Interrupted",
    "Trial",
    "Watcher",
    "check_devices",
    "check_problem",
    "context",
    "end_with_parent",
    "epoch_order",
    "fit",
    "leads",
    "step_seconds",
    "trial_seconds",
]
