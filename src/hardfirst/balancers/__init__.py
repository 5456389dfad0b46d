"""Balancing methods: one file each, one contract for all, by name in `BALANCERS`."""

from hardfirst.balancers._base import Balancer, LossBalancer, task_weights
from hardfirst.balancers._cards import Card, card
from hardfirst.balancers._ranges import Range
from hardfirst.balancers._registry import BALANCERS, Spec, needed_options
from hardfirst.balancers.achievement import Achievement
from hardfirst.balancers.curriculum import Curriculum
from hardfirst.balancers.dtp import DTP
from hardfirst.balancers.dwa import DWA
from hardfirst.balancers.equal import Equal
from hardfirst.balancers.famo import FAMO
from hardfirst.balancers.fixed import Fixed
from hardfirst.balancers.geometric import Geometric
from hardfirst.balancers.gradnorm import GradNorm
from hardfirst.balancers.imtl_l import IMTLL
from hardfirst.balancers.learning_progress import LearningProgress
from hardfirst.balancers.random import RLW
from hardfirst.balancers.self_paced import SelfPaced
from hardfirst.balancers.stch import STCH
from hardfirst.balancers.uncertainty import Uncertainty
from hardfirst.balancers.uw_so import UWSO

__all__ = [
    "BALANCERS",
    "DTP",
    "DWA",
    "FAMO",
    "IMTLL",
    "RLW",
    "STCH",
    "UWSO",
    "Achievement",
    "Balancer",
    "Card",
    "Curriculum",
    "Equal",
    "Fixed",
    "Geometric",
    "GradNorm",
    "LearningProgress",
    "LossBalancer",
    "Range",
    "SelfPaced",
    "Spec",
    "Uncertainty",
    "card",
    "needed_options",
    "task_weights",
]
