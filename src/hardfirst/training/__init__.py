"""Train one network on a problem with one balancer, and write the record of the run."""

from hardfirst.training._check import check_problem
from hardfirst.training._cost import step_seconds, trial_seconds
from hardfirst.training._devices import ACCELERATORS, check_devices, is_main_process
from hardfirst.training._doubts import MeasureWarning
from hardfirst.training._fit import fit
from hardfirst.training._interrupt import Interrupted
from hardfirst.training._processes import exit_with_parent, process_context
from hardfirst.training._sampling import epoch_order
from hardfirst.training._training import Watcher
from hardfirst.training._trial import Trial

__all__ = [
    "ACCELERATORS",
    "Interrupted",
    "MeasureWarning",
    "Trial",
    "Watcher",
    "check_devices",
    "check_problem",
    "epoch_order",
    "exit_with_parent",
    "fit",
    "is_main_process",
    "process_context",
    "step_seconds",
    "trial_seconds",
]
