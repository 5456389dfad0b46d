"""Training one network on a problem with one balancer, and what becomes of it: a record."""

from hardfirst.training._check import check_problem
from hardfirst.training._cost import step_seconds, trial_seconds
from hardfirst.training._fit import Interrupted, Watcher, fit
from hardfirst.training._sampling import epoch_order
from hardfirst.training._trial import Trial

__all__ = ["Interrupted", "Trial", "Watcher", "check_problem", "epoch_order", "fit", "step_seconds", "trial_seconds"]
