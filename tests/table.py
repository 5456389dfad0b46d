"""The balancers that the contract is tested on: every name in the registry."""

from collections.abc import Mapping
from typing import Any

import torch

from hardfirst.balancers import BALANCERS, GradientBalancer, LossBalancer, Spec
from hardfirst.errors import MissingPackage

TASKS = ("easy", "hard one", "c.d")
SHARED = torch.nn.Parameter(torch.ones(2))  # what the losses of the table depend on
# Variants that deserve the whole table. A method with required options has an example of its own, `example_options`.
OPTIONS = {
    "fixed": ["fixed:easy=1,hard one=2,c.d=0.5", "fixed:easy=1,hard one=2,c.d=0.5,normalize=true"],
    "dtp": [
        "dtp",
        "dtp:normalize=false,gamma=2",
        "dtp:priority=easy",
        "dtp:uniform=0.8",
        "dtp:potential.easy=0.9,potential.c.d=0.5",
        "dtp:uniform=0.2,anneal=0.2+0.8,steps=10",
    ],
    "curriculum": ["curriculum:order=c.d+easy+hard one,epochs=4"],
    "self_paced": ["self_paced", "self_paced:kind=linear"],
    "achievement": ["achievement", "achievement:anneal=0.8+0.2,steps=10,gamma=0.5,potential.easy=0.6"],
    "stch": ["stch", "stch:mu=0.1,warmup_epochs=1"],
    "hard_first": [
        "hard_first:steps=200,restart=false",
        "hard_first:steps=12,search=0.25,anneal=false,uniform=0,restart=false",
    ],
    "nash_mtl": ["nash_mtl", "nash_mtl:max_norm=0"],
}
BESIDES = {"frozen"}  # a variant of `fixed` that needs a record, tested in test_fixed.py


def _can_be_made(spec: Spec) -> bool:
    """Whether what it needs is installed; without the extra `gradient`, all but TorchJD's methods remain."""
    try:
        return isinstance(spec.build(TASKS), LossBalancer | GradientBalancer)
    except MissingPackage:
        return not issubclass(spec.method, GradientBalancer)


def _examples(name: str) -> list[Spec]:
    """The variants of a method in OPTIONS, or the method with the options that it cannot be made without."""
    if name in OPTIONS:
        return [Spec.parse(text) for text in OPTIONS[name]]
    spec = Spec(name)
    for option, value in spec.method.example_options(TASKS).items():
        spec = spec.per_task(option, value) if isinstance(value, Mapping) else spec.replace({option: value})
    return [spec]


NAMED = [spec for name in BALANCERS if name not in BESIDES for spec in _examples(name)]
EVERY = [spec for spec in NAMED if _can_be_made(spec)]
SPECS = [spec for spec in EVERY if issubclass(spec.method, LossBalancer)]
GRADIENT = [spec for spec in EVERY if issubclass(spec.method, GradientBalancer)]
assert len(SPECS) + len(GRADIENT) == len(EVERY)


def make(spec: Spec) -> LossBalancer:
    balancer = spec.build(TASKS)
    assert isinstance(balancer, LossBalancer)
    if "shared" in balancer.needs:
        balancer.register_forward_pre_hook(_give_shared, with_kwargs=True)
    return balancer


def _give_shared(balancer: torch.nn.Module, args: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    return args, {**options, "shared": options.get("shared") or [SHARED]}


LINEAR = [spec for spec in SPECS if make(spec).linear]
COMPILED = [spec for spec in SPECS if make(spec).compiles]
EAGER = [spec for spec in SPECS if not make(spec).compiles]
