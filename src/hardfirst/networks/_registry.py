"""Every network by its name."""

from collections.abc import Callable

from hardfirst.networks._base import Network
from hardfirst.networks.cross_stitch import CrossStitch
from hardfirst.networks.hard_sharing import HardSharing
from hardfirst.networks.mmoe import MMoE
from hardfirst.networks.mtan import MTAN
from hardfirst.networks.ple import PLE
from hardfirst.networks.task_hierarchy import TaskHierarchy
from hardfirst.networks.ubernet import UberNet

NETWORKS: dict[str, Callable[..., Network]] = {
    "hard_sharing": HardSharing.from_parts,
    "ubernet": UberNet.from_parts,
    "task_hierarchy": TaskHierarchy.from_parts,
    "cross_stitch": CrossStitch.from_parts,
    "mmoe": MMoE.from_parts,
    "ple": PLE.from_parts,
    "mtan": MTAN.from_parts,
}
"""What makes a network from a problem's `Parts`, and options of its own, by name."""
