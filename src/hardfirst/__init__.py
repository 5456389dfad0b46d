"""hardfirst: multi-task training that keeps the hard tasks from being starved by the easy ones.

>>> import torch, hardfirst
>>> balancer = hardfirst.DTP(["segment", "depth"])
>>> losses = {"segment": torch.tensor(0.7), "depth": torch.tensor(0.5)}
>>> loss = balancer(losses, kpis={"segment": 0.6, "depth": 0.9})
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    from hardfirst.losses import RegressionFocalLoss as RegressionFocalLoss
    from hardfirst.losses import SigmoidFocalLoss as SigmoidFocalLoss
    from hardfirst.losses import SoftmaxFocalLoss as SoftmaxFocalLoss
    from hardfirst.moving_kpi import MovingKPI as MovingKPI
    from hardfirst.networks import MTAN as MTAN
    from hardfirst.networks import PLE as PLE
    from hardfirst.networks import CrossStitch as CrossStitch
    from hardfirst.networks import HardSharing as HardSharing
    from hardfirst.networks import MMoE as MMoE
    from hardfirst.networks import TaskHierarchy as TaskHierarchy
    from hardfirst.networks import UberNet as UberNet

# Names are looked up on first use (PEP 562), so that `hardfirst --help` does not wait for torch.
_HOME = {
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
    "MovingKPI": "moving_kpi",
    "PLE": "networks",
    "RegressionFocalLoss": "losses",
    "SigmoidFocalLoss": "losses",
    "SoftmaxFocalLoss": "losses",
    "Spec": "balancers",
    "TaskHierarchy": "networks",
    "UberNet": "networks",
    "task_weights": "balancers",
}
_MODULES = ("balancers", "errors", "functional", "kpi", "losses", "networks", "record")

__all__ = [*_HOME, *_MODULES]  # noqa: PLE0604  # the names of a table, all strings


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"hardfirst.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"hardfirst.{name}")
    raise AttributeError(f"module 'hardfirst' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
