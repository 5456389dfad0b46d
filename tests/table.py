"""The balancers that the contract is tested on: every name in the registry."""

from hardfirst.balancers import BALANCERS, LossBalancer, Spec

TASKS = ("easy", "hard one", "c.d")
# Methods that cannot be made from their name alone, and variants that deserve the whole table.
OPTIONS = {
    "fixed": ["fixed:easy=1,hard one=2,c.d=0.5", "fixed:easy=1,hard one=2,c.d=0.5,normalize=true"],
    "dtp": [
        "dtp",
        "dtp:normalize=false,gamma=2",
        "dtp:priority=easy",
        "dtp:uniform=0.8",
        "dtp:potential.easy=0.9,potential.c.d=0.5",
    ],
}
SPECS = [Spec.parse(text) for name in BALANCERS for text in OPTIONS.get(name, [name])]


def make(spec: Spec) -> LossBalancer:
    balancer = spec.build(TASKS)
    assert isinstance(balancer, LossBalancer)
    return balancer


LINEAR = [spec for spec in SPECS if make(spec).linear]
