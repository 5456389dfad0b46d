"""Networks that serve several tasks: each gives `{task: output}` and says which parameters the tasks share."""

from hardfirst.networks._base import Network
from hardfirst.networks._parts import Parts, matched, parameters
from hardfirst.networks._registry import MEASURED, NETWORKS, NetworkSpec
from hardfirst.networks.cross_stitch import CrossStitch
from hardfirst.networks.hard_sharing import HardSharing
from hardfirst.networks.layers import class_head, image_layer, number_head, sequence_layer, vector_layer
from hardfirst.networks.mmoe import MMoE
from hardfirst.networks.mtan import MTAN, Attention
from hardfirst.networks.ple import CGC, PLE
from hardfirst.networks.task_hierarchy import TaskHierarchy, order_by_difficulty
from hardfirst.networks.ubernet import UberNet

__all__ = [
    "CGC",
    "MEASURED",
    "MTAN",
    "NETWORKS",
    "PLE",
    "Attention",
    "CrossStitch",
    "HardSharing",
    "MMoE",
    "Network",
    "NetworkSpec",
    "Parts",
    "TaskHierarchy",
    "UberNet",
    "class_head",
    "image_layer",
    "matched",
    "number_head",
    "order_by_difficulty",
    "parameters",
    "sequence_layer",
    "vector_layer",
]
