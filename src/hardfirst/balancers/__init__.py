"""Balancing methods: one method per file, all with the same interface, looked up by name in `BALANCERS`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hardfirst._registry import Registry, lazy_names

if TYPE_CHECKING:
    from hardfirst.balancers._base import Balancer as Balancer
    from hardfirst.balancers._cards import Card as Card
    from hardfirst.balancers._cards import card as card
    from hardfirst.balancers._gradient import GradientBalancer as GradientBalancer
    from hardfirst.balancers._gradient import GramianBalancer as GramianBalancer
    from hardfirst.balancers._loss import LossBalancer as LossBalancer
    from hardfirst.balancers._nonlinear import NonlinearLossBalancer as NonlinearLossBalancer
    from hardfirst.balancers._ops import no_recompute as no_recompute
    from hardfirst.balancers._ops import task_weights as task_weights
    from hardfirst.balancers._ops import weighted_sum as weighted_sum
    from hardfirst.balancers._registry import Spec as Spec
    from hardfirst.balancers._registry import needed_options as needed_options
    from hardfirst.balancers._search_space import Range as Range
    from hardfirst.balancers.achievement import Achievement as Achievement
    from hardfirst.balancers.aligned_mtl import AlignedMTL as AlignedMTL
    from hardfirst.balancers.cagrad import CAGrad as CAGrad
    from hardfirst.balancers.config import ConFIG as ConFIG
    from hardfirst.balancers.curriculum import Curriculum as Curriculum
    from hardfirst.balancers.db_mtl import DBMTL as DBMTL
    from hardfirst.balancers.dtp import DTP as DTP
    from hardfirst.balancers.dwa import DWA as DWA
    from hardfirst.balancers.equal import Equal as Equal
    from hardfirst.balancers.excess_mtl import ExcessMTL as ExcessMTL
    from hardfirst.balancers.fairgrad import FairGrad as FairGrad
    from hardfirst.balancers.famo import FAMO as FAMO
    from hardfirst.balancers.fixed import Fixed as Fixed
    from hardfirst.balancers.geometric import Geometric as Geometric
    from hardfirst.balancers.graddrop import GradDrop as GradDrop
    from hardfirst.balancers.gradnorm import GradNorm as GradNorm
    from hardfirst.balancers.gradvac import GradVac as GradVac
    from hardfirst.balancers.hard_first import HardFirst as HardFirst
    from hardfirst.balancers.imtl_g import IMTLG as IMTLG
    from hardfirst.balancers.imtl_l import IMTLL as IMTLL
    from hardfirst.balancers.learning_progress import LearningProgress as LearningProgress
    from hardfirst.balancers.mgda import MGDA as MGDA
    from hardfirst.balancers.moco import MoCo as MoCo
    from hardfirst.balancers.modo import MoDo as MoDo
    from hardfirst.balancers.nash_mtl import NashMTL as NashMTL
    from hardfirst.balancers.pcgrad import PCGrad as PCGrad
    from hardfirst.balancers.random import RLW as RLW
    from hardfirst.balancers.relobralo import ReLoBRaLo as ReLoBRaLo
    from hardfirst.balancers.sdmgrad import SDMGrad as SDMGrad
    from hardfirst.balancers.self_paced import SelfPaced as SelfPaced
    from hardfirst.balancers.softadapt import SoftAdapt as SoftAdapt
    from hardfirst.balancers.stch import STCH as STCH
    from hardfirst.balancers.uncertainty import Uncertainty as Uncertainty
    from hardfirst.balancers.upgrad import UPGrad as UPGrad
    from hardfirst.balancers.uw_so import UWSO as UWSO

_METHODS = {
    "dtp": "dtp:DTP",
    "dtp_paper": "dtp:DTP.paper",
    "equal": "equal:Equal",
    "fixed": "fixed:Fixed",
    "frozen": "fixed:Fixed.frozen",
    "dwa": "dwa:DWA",
    "geometric": "geometric:Geometric",
    "imtl_l": "imtl_l:IMTLL",
    "random": "random:RLW",
    "stch": "stch:STCH",
    "uncertainty": "uncertainty:Uncertainty",
    "gradnorm": "gradnorm:GradNorm",
    "famo": "famo:FAMO",
    "achievement": "achievement:Achievement",
    "hard_first": "hard_first:HardFirst",
    "curriculum": "curriculum:Curriculum",
    "self_paced": "self_paced:SelfPaced",
    "learning_progress": "learning_progress:LearningProgress",
    "softadapt": "softadapt:SoftAdapt",
    "relobralo": "relobralo:ReLoBRaLo",
    "uw_so": "uw_so:UWSO",
    "pcgrad": "pcgrad:PCGrad",
    "mgda": "mgda:MGDA",
    "cagrad": "cagrad:CAGrad",
    "imtl_g": "imtl_g:IMTLG",
    "nash_mtl": "nash_mtl:NashMTL",
    "fairgrad": "fairgrad:FairGrad",
    "modo": "modo:MoDo",
    "moco": "moco:MoCo",
    "sdmgrad": "sdmgrad:SDMGrad",
    "excess_mtl": "excess_mtl:ExcessMTL",
    "aligned_mtl": "aligned_mtl:AlignedMTL",
    "upgrad": "upgrad:UPGrad",
    "gradvac": "gradvac:GradVac",
    "graddrop": "graddrop:GradDrop",
    "config": "config:ConFIG",
    "db_mtl": "db_mtl:DBMTL",
}

BALANCERS: "Registry[Callable[..., Balancer]]" = Registry(
    "balancer", {name: f"{__name__}.{target}" for name, target in _METHODS.items()}, group="hardfirst.balancers"
)
"""Each method's class, or the class method that makes a variant of it, by name."""

_HOMES = {
    "Balancer": "_base",
    "Card": "_cards",
    "GradientBalancer": "_gradient",
    "GramianBalancer": "_gradient",
    "LossBalancer": "_loss",
    "NonlinearLossBalancer": "_nonlinear",
    "Range": "_search_space",
    "Spec": "_registry",
    "card": "_cards",
    "needed_options": "_registry",
    "no_recompute": "_ops",
    "task_weights": "_ops",
    "weighted_sum": "_ops",
}

__all__ = ["BALANCERS", *_HOMES, *BALANCERS.classes]  # noqa: PLE0604  # the names of a table, all strings

__getattr__, __dir__ = lazy_names(
    __name__, {name: f"{__name__}.{module}:{name}" for name, module in _HOMES.items()} | BALANCERS.classes
)
