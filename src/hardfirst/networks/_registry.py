"""The spec that builds a network from a problem's parts: `task_hierarchy:order=depth+segment`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hardfirst._spec import SpecBase, as_names
from hardfirst.errors import InputError
from hardfirst.networks import NETWORKS

if TYPE_CHECKING:
    from hardfirst.networks._base import Network
    from hardfirst.networks._parts import Parts

MEASURED: Mapping[str, Literal["hard", "easy"]] = {"hard_first": "hard", "easy_first": "easy"}
"""The words for an order of tasks by measured KPIs, with the tasks that come first for each."""


@dataclass(frozen=True)
class NetworkSpec(SpecBase):
    """A network written as text: a name in `NETWORKS`, and options sorted by key.

    Example:
        >>> spec = NetworkSpec.parse("task_hierarchy:width=32,order=segment+depth")
        >>> str(spec)
        'task_hierarchy:order=segment+depth,width=32'
    """

    kind = "network"
    registry = NETWORKS

    def build(self, parts: "Parts") -> "Network":
        """Build the network.

        Raises:
            InputError: the network rejects an option or does not fit the parts, or its order has not been measured yet.
        """
        if self.measured:
            raise InputError(
                f"{str(self)!r} takes the order of its tasks from measured KPIs. Use it in `hardfirst compare` or "
                "`hardfirst train`, or give the order itself: order=a+b+c."
            )
        arguments: dict[str, Any] = self.arguments()
        if (order := arguments.get("order")) is not None:
            arguments["order"] = as_names(order, parts.heads)
        network: Network = self.maker()(parts, **arguments)
        return network

    @property
    def measured(self) -> bool:
        """Whether the order of tasks depends on measured KPIs."""
        return self.option("order") in MEASURED

    def ordered(self, kpis: Mapping[str, float]) -> "NetworkSpec":
        """Return the spec with the order by these KPIs written out.

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
        from hardfirst.networks.task_hierarchy import order_by_difficulty

        return self.replace({"order": order_by_difficulty(kpis, first=MEASURED[order])})
