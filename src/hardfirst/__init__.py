"""hardfirst: multi-task training in which easy tasks do not starve hard ones.

>>> import torch, hardfirst
>>> balancer = hardfirst.DTP(["segment", "depth"])
>>> losses = {"segment": torch.tensor(0.7), "depth": torch.tensor(0.5)}
>>> loss = balancer(losses, kpis={"segment": 0.6, "depth": 0.9})
"""

from typing import TYPE_CHECKING

from hardfirst._registry import lazy_names

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hardfirst.balancers import DTP as DTP
    from hardfirst.balancers import Balancer as Balancer
    from hardfirst.balancers import GradientBalancer as GradientBalancer
    from hardfirst.balancers import LossBalancer as LossBalancer
    from hardfirst.balancers import Spec as Spec
    from hardfirst.balancers import task_weights as task_weights
    from hardfirst.errors import InputError as InputError
    from hardfirst.errors import MissingPackage as MissingPackage
    from hardfirst.kpi import MovingKPI as MovingKPI
    from hardfirst.losses import RegressionFocalLoss as RegressionFocalLoss
    from hardfirst.losses import SigmoidFocalLoss as SigmoidFocalLoss
    from hardfirst.losses import SoftmaxFocalLoss as SoftmaxFocalLoss
    from hardfirst.networks import MTAN as MTAN
    from hardfirst.networks import PLE as PLE
    from hardfirst.networks import CrossStitch as CrossStitch
    from hardfirst.networks import HardSharing as HardSharing
    from hardfirst.networks import MMoE as MMoE
    from hardfirst.networks import TaskHierarchy as TaskHierarchy
    from hardfirst.networks import UberNet as UberNet
    from hardfirst.trained import load as load

_HOMES = {
    "DTP": "balancers",
    "Balancer": "balancers",
    "CrossStitch": "networks",
    "GradientBalancer": "balancers",
    "HardSharing": "networks",
    "InputError": "errors",
    "LossBalancer": "balancers",
    "MMoE": "networks",
    "MTAN": "networks",
    "MissingPackage": "errors",
    "MovingKPI": "kpi",
    "PLE": "networks",
    "RegressionFocalLoss": "losses",
    "SigmoidFocalLoss": "losses",
    "SoftmaxFocalLoss": "losses",
    "Spec": "balancers",
    "TaskHierarchy": "networks",
    "UberNet": "networks",
    "task_weights": "balancers",
}
_MODULES = ("balancers", "errors", "functional", "kpi", "losses", "networks", "records")
# Reached in the same way, as `load` is, but `from hardfirst import *` leaves them out: most need an extra.
_MORE_MODULES = (
    "compat",
    "integrations",
    "problems",
    "report",
    "sklearn",
    "statistics",
    "stopping",
    "studies",
    "study",
    "trackers",
    "trained",
    "training",
)

__all__ = [*_HOMES, *_MODULES]  # noqa: PLE0604  # the names of a table, all strings

__getattr__, __dir__ = lazy_names(
    __name__,
    {name: f"hardfirst.{module}:{name}" for name, module in (_HOMES | {"load": "trained"}).items()}
    | {module: f"hardfirst.{module}" for module in (*_MODULES, *_MORE_MODULES)},
)
