"""Balancing methods: one file each, one contract for all, by name in `BALANCERS`."""

from hardfirst.balancers._base import Balancer, LossBalancer, no_recompute, task_weights, weighted_sum
from hardfirst.balancers._cards import Card, card
from hardfirst.balancers._gradient import GradientBalancer
from hardfirst.balancers._registry import BALANCERS, Spec, needed_options
from hardfirst.balancers._search_space import Range
from hardfirst.balancers.achievement import Achievement
from hardfirst.balancers.aligned_mtl import AlignedMTL
from hardfirst.balancers.cagrad import CAGrad
from hardfirst.balancers.config import ConFIG
from hardfirst.balancers.curriculum import Curriculum
from hardfirst.balancers.db_mtl import DBMTL
from hardfirst.balancers.dtp import DTP
from hardfirst.balancers.dwa import DWA
from hardfirst.balancers.equal import Equal
from hardfirst.balancers.famo import FAMO
from hardfirst.balancers.fixed import Fixed
from hardfirst.balancers.geometric import Geometric
from hardfirst.balancers.graddrop import GradDrop
from hardfirst.balancers.gradnorm import GradNorm
from hardfirst.balancers.gradvac import GradVac
from hardfirst.balancers.imtl_g import IMTLG
from hardfirst.balancers.imtl_l import IMTLL
from hardfirst.balancers.learning_progress import LearningProgress
from hardfirst.balancers.mgda import MGDA
from hardfirst.balancers.nash_mtl import NashMTL
from hardfirst.balancers.pcgrad import PCGrad
from hardfirst.balancers.random import RLW
from hardfirst.balancers.self_paced import SelfPaced
from hardfirst.balancers.stch import STCH
from hardfirst.balancers.uncertainty import Uncertainty
from hardfirst.balancers.upgrad import UPGrad
from hardfirst.balancers.uw_so import UWSO

__all__ = [
    "BALANCERS",
    "DBMTL",
    "DTP",
    "DWA",
    "FAMO",
    "IMTLG",
    "IMTLL",
    "MGDA",
    "RLW",
    "STCH",
    "UWSO",
    "Achievement",
    "AlignedMTL",
    "Balancer",
    "CAGrad",
    "Card",
    "ConFIG",
    "Curriculum",
    "Equal",
    "Fixed",
    "Geometric",
    "GradDrop",
    "GradNorm",
    "GradVac",
    "GradientBalancer",
    "LearningProgress",
    "LossBalancer",
    "NashMTL",
    "PCGrad",
    "Range",
    "SelfPaced",
    "Spec",
    "UPGrad",
    "Uncertainty",
    "card",
    "needed_options",
    "no_recompute",
    "task_weights",
    "weighted_sum",
]
