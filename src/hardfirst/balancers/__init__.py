"""Balancing methods: one file each, one contract for all, by name in `BALANCERS`."""

from hardfirst.balancers._base import Balancer, LossBalancer, task_weights
from hardfirst.balancers._registry import BALANCERS, Spec
from hardfirst.balancers.dtp import DTP
from hardfirst.balancers.equal import Equal
from hardfirst.balancers.fixed import Fixed
from hardfirst.balancers.uncertainty import Uncertainty

__all__ = ["BALANCERS", "DTP", "Balancer", "Equal", "Fixed", "LossBalancer", "Spec", "Uncertainty", "task_weights"]
