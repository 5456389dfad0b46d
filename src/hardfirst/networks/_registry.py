"""Every network by its name, and the one-line text that makes one: `task_hierarchy:order=depth+segment`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hardfirst._spec import SpecBase
from hardfirst.errors import InputError
from hardfirst.networks._base import Network
from hardfirst.networks._parts import Parts
from hardfirst.networks.cross_stitch import CrossStitch
from hardfirst.networks.hard_sharing import HardSharing
from hardfirst.networks.mmoe import MMoE
from hardfirst.networks.mtan import MTAN
from hardfirst.networks.ple import PLE
from hardfirst.networks.task_hierarchy import TaskHierarchy, order_by_difficulty
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

MEASURED: Mapping[str, Literal["hard", "easy"]] = {"hard_first": "hard", "easy_first": "easy"}
"""The words for an order that measured KPIs decide."""


@dataclass(frozen=True)
class NetworkSpec(SpecBase):
    """A network as a line of text: its name in `NETWORKS`, and options sorted by their keys.

    Example:
        >>> spec = NetworkSpec.parse("task_hierarchy:width=32,order=segment+depth")
        >>> str(spec)
        'task_hierarchy:order=segment+depth,width=32'
    """

    kind = "network"
    makers = NETWORKS

    def build(self, parts: Parts) -> Network:
        """Make the network.

        Raises:
            InputError: the network refuses an option, or does not fit the parts; or its order has still to be measured.
        """
        if self.measured:
            raise InputError(
                f"{str(self)!r} takes the order of its tasks from measured KPIs: use it in `hardfirst compare` or "
                "`hardfirst train`, or give the order itself, order=a+b+c."
            )
        arguments: dict[str, Any] = self._arguments()
        if isinstance(order := arguments.get("order"), tuple):
            arguments["order"] = tuple(map(str, order))
        return NETWORKS[self.name](parts, **arguments)

    @property
    def measured(self) -> bool:
        """Whether the order of tasks is one that measured KPIs decide."""
        return self.option("order") in MEASURED

    def ordered(self, kpis: Mapping[str, float]) -> "NetworkSpec":
        """The spec with its order spelled out.

        Args:
            kpis: by task, measured; see `order_by_difficulty`.

        Raises:
            InputError: a KPI is NaN.

        Example:
            >>> spec = NetworkSpec.parse("task_hierarchy:order=hard_first")
            >>> str(spec.ordered({"segment": 0.7, "depth": 0.4}))
            'task_hierarchy:order=depth+segment'
        """
        order = self.option("order")
        if not isinstance(order, str) or order not in MEASURED:
            return self
        return self.replace({"order": order_by_difficulty(kpis, first=MEASURED[order])})
