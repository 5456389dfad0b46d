"""Kinds of studies: what is compared with what, and which trials that takes. One kind a file."""

from typing import Any

from hardfirst._registry import Registry

BALANCERS, SEARCH = "balancers", "search"

KINDS: Registry[Any] = Registry(
    "kind of study",
    {
        BALANCERS: "hardfirst.studies.kinds.balancers:BalancerStudy",
        "losses": "hardfirst.studies.kinds.losses:LossStudy",
        "orders": "hardfirst.studies.kinds.orders:OrderStudy",
        SEARCH: "hardfirst.studies.kinds.search:SearchStudy",
    },
    group="hardfirst.studies",
)
"""By name, the class that plans a kind of study. The name is also the plan's setting that asks for it, and its command."""
