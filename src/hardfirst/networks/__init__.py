"""Networks for several tasks: each returns `{task: output}` and lists the parameters that the tasks share."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hardfirst._registry import Registry, lazy_names

if TYPE_CHECKING:
    from hardfirst.networks._base import Network as Network
    from hardfirst.networks._parts import Parts as Parts
    from hardfirst.networks._parts import matched as matched
    from hardfirst.networks._parts import parameters as parameters
    from hardfirst.networks._registry import MEASURED as MEASURED
    from hardfirst.networks._registry import NetworkSpec as NetworkSpec
    from hardfirst.networks.cross_stitch import CrossStitch as CrossStitch
    from hardfirst.networks.dilated_resnet import ASPP as ASPP
    from hardfirst.networks.dilated_resnet import DilatedResNet as DilatedResNet
    from hardfirst.networks.hard_sharing import HardSharing as HardSharing
    from hardfirst.networks.layers import class_head as class_head
    from hardfirst.networks.layers import image_layer as image_layer
    from hardfirst.networks.layers import number_head as number_head
    from hardfirst.networks.layers import sequence_layer as sequence_layer
    from hardfirst.networks.layers import vector_layer as vector_layer
    from hardfirst.networks.mmoe import MMoE as MMoE
    from hardfirst.networks.mtan import MTAN as MTAN
    from hardfirst.networks.mtan import Attention as Attention
    from hardfirst.networks.ple import CGC as CGC
    from hardfirst.networks.ple import PLE as PLE
    from hardfirst.networks.segnet import SegNet as SegNet
    from hardfirst.networks.segnet import SegNetMTAN as SegNetMTAN
    from hardfirst.networks.segnet import batch_layer as batch_layer
    from hardfirst.networks.segnet import map_head as map_head
    from hardfirst.networks.task_hierarchy import TaskHierarchy as TaskHierarchy
    from hardfirst.networks.task_hierarchy import order_by_difficulty as order_by_difficulty
    from hardfirst.networks.ubernet import UberNet as UberNet

_NETWORKS = {
    "hard_sharing": "hard_sharing:HardSharing.from_parts",
    "ubernet": "ubernet:UberNet.from_parts",
    "task_hierarchy": "task_hierarchy:TaskHierarchy.from_parts",
    "cross_stitch": "cross_stitch:CrossStitch.from_parts",
    "mmoe": "mmoe:MMoE.from_parts",
    "ple": "ple:PLE.from_parts",
    "mtan": "mtan:MTAN.from_parts",
}

NETWORKS: "Registry[Callable[..., Network]]" = Registry(
    "network", {name: f"{__name__}.{target}" for name, target in _NETWORKS.items()}, group="hardfirst.networks"
)
"""The class methods that build a network from a problem's `Parts` and options, by name."""

_NAMES = {
    "_base": ("Network",),
    "_parts": ("Parts", "matched", "parameters"),
    "_registry": ("MEASURED", "NetworkSpec"),
    "dilated_resnet": ("ASPP", "DilatedResNet"),
    "layers": ("class_head", "image_layer", "number_head", "sequence_layer", "vector_layer"),
    "mtan": ("Attention",),
    "ple": ("CGC",),
    "segnet": ("SegNet", "SegNetMTAN", "batch_layer", "map_head"),
    "task_hierarchy": ("order_by_difficulty",),
}
"""By module, what it has for users."""

_HOMES = {name: f"{__name__}.{module}:{name}" for module, names in _NAMES.items() for name in names}
__all__ = ["NETWORKS", *_HOMES, *NETWORKS.classes]  # noqa: PLE0604  # the names of a table, all strings

__getattr__, __dir__ = lazy_names(__name__, _HOMES | NETWORKS.classes)
