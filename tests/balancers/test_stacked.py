"""Balancers whose steps are taken as one: totals, weights, gradients and state are those of single ones."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import hardfirst
from hardfirst.balancers import BALANCERS, LossBalancer, Spec, card
from hardfirst.balancers._stacked import StackedBalancers, refusal
from hardfirst.errors import InputError

TASKS = ("a", "b", "c")
STEPS = 30
# State is float32, and a single balancer computes it in Python's floats.
CLOSE: dict[str, Any] = {"rtol": 2e-5, "atol": 1e-6, "equal_nan": True}

# A row for each method and structure: the specs of three trials.
STACKED = [
    ("equal", "equal", "equal"),
    ("fixed:a=1,b=2,c=0", "fixed:a=0,b=1,c=0", "fixed:a=1,b=1,c=1,normalize=true"),
    ("dtp", "dtp", "dtp"),
    ("dtp:gamma=0.5", "dtp:gamma.b=2", "dtp:alpha=0.75,gamma=3"),
    ("dtp:uniform=0", "dtp:uniform=0.3", "dtp:floor=0.05"),
    ("dtp:normalize=false", "dtp:normalize=false,gamma=2", "dtp_paper"),
    ("dtp:priority=easy", "dtp:priority=easy,gamma=2", "dtp:priority=easy,alpha=0.5"),
    ("dtp:potential.a=0.5", "dtp:potential.b=0.7", "dtp:potential.a=0.9,gamma=2"),
    ("dtp:differentiable=true", "dtp:differentiable=true,gamma=2,uniform=0.2", "dtp:differentiable=true,alpha=0.5"),
    ("uncertainty", "uncertainty:lr=0.1", "uncertainty:lr=0.002"),
    ("imtl_l", "imtl_l:lr=0.1", "imtl_l:lr=0.002"),
    ("dwa", "dwa:temperature=1", "dwa:temperature=0.5"),
    ("random", "random", "random"),
    ("geometric", "geometric", "geometric"),
    ("famo", "famo:lr=0.1", "famo:decay=0.01"),
    ("famo:decay=0", "famo:decay=0", "famo:decay=0,lr=0.1"),
    ("famo:min_losses=0.01", "famo:min_losses.a=0.005", "famo:min_losses=0.001,lr=0.1"),
    ("stch:warmup_epochs=1", "stch:warmup_epochs=2,mu=0.5", "stch:mu=3"),
    ("uw_so", "uw_so:temperature=3", "uw_so:temperature=0.5"),
    ("achievement", "achievement:margin=0.2,gamma=1", "achievement:alpha=0.5,potential.a=0.7"),
    ("self_paced", "self_paced:growth=2", "self_paced:growth=1.1"),
    ("self_paced:kind=linear", "self_paced:kind=linear,growth=2", "self_paced:kind=linear"),
    ("curriculum:order=a+b+c,epochs=3", "curriculum:order=c+b+a,epochs=2", "curriculum:order=b+a+c,epochs=6"),
    ("softadapt:beta=3", "softadapt", "softadapt:beta=-5"),
    ("softadapt:window=2,weigh=true", "softadapt:window=2,weigh=true,beta=3", "softadapt:window=2,weigh=true,beta=0"),
    ("softadapt:normalize=false", "softadapt:normalize=false,beta=1", "softadapt:normalize=false,beta=0.01"),
    ("relobralo:alpha=0.5,rho=0.5", "relobralo:alpha=0.9,rho=0.5,temperature=0.3", "relobralo"),
    (
        "hard_first:steps=40,restart=false",
        "hard_first:steps=80,search=0.5,restart=false",
        "hard_first:steps=200,alpha=0.5,uniform=0,restart=false",
    ),
    (
        "hard_first:steps=48,search=0.5,restart=false",
        "hard_first:steps=100,search=0.23,restart=false",
        "hard_first:steps=24,anneal=0.6+0.7,restart=false",
    ),
    ("learning_progress:eta=0.1", "learning_progress:eta=0.01,epsilon=0.3", "learning_progress"),
]


def built(specs: Sequence[str]) -> list[LossBalancer]:
    return [Spec.parse(spec).build(TASKS, seed=seed) for seed, spec in enumerate(specs)]


def weights_of(balancers: Sequence[LossBalancer]) -> Tensor:
    return torch.stack([torch.stack([*one.weights.values()]) for one in balancers])


def named(row: Tensor) -> dict[str, Tensor]:
    return dict(zip(TASKS, row.unbind(), strict=True))


def batches(dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """Losses and KPIs of three trials: falling, some absent, some not measured, and some of trial 1 not finite."""
    generator = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        losses = torch.rand(3, 3, generator=generator, dtype=dtype) * torch.tensor([0.1, 2, 30], dtype=dtype) + 0.02
        kpis = torch.rand(3, 3, generator=generator)
        losses = losses * 0.95**step
        if step % 4 == 1:
            losses[0, 0] = losses[2, 1] = 0
            kpis[0, 1] = kpis[2] = torch.nan
        if step % 10 == 7:
            losses[0] = 0
        if step in (12, 17):
            losses[1, step % 3] = torch.nan if step == 12 else torch.inf
        yield losses.requires_grad_(), kpis.requires_grad_()


def assert_same_state(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    torch.testing.assert_close(dict(one), dict(other), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("specs", STACKED, ids="|".join)
def test_as_single_balancers(specs: Sequence[str], dtype: torch.dtype) -> None:
    single, stacked = built(specs), StackedBalancers(built(specs))
    for step, (losses, kpis) in enumerate(batches(dtype)):
        totals, weights = stacked.step(losses, kpis)
        gradients = torch.autograd.grad(totals.sum(), (losses, kpis), allow_unused=True)
        own = torch.stack([one(named(loss), named(kpi)) for one, loss, kpi in zip(single, losses, kpis, strict=True)])
        expected = torch.autograd.grad(own.sum(), (losses, kpis), allow_unused=True)
        torch.testing.assert_close(totals, own, **CLOSE)
        torch.testing.assert_close(weights, expected[0], **CLOSE)
        for gradient, other in zip(gradients, expected, strict=True):
            assert (gradient is None) == (other is None)
            if other is not None:
                torch.testing.assert_close(gradient, other, **CLOSE)
        if step % 6 == 5:
            stacked.end_epoch()
            stacked.update(kpis.detach())
            for one, kpi in zip(single, kpis.detach(), strict=True):
                one.end_epoch()
                one.update(named(kpi))
        for one, other in zip(single, stacked.balancers, strict=True):
            assert_same_state(one.state_dict(), other.state_dict())
    torch.testing.assert_close(stacked.weights, weights_of(single), **CLOSE)


def test_where_no_state_is_rounded_all_is_equal_in_float64() -> None:
    specs = ("uw_so", "uw_so:temperature=3", "uw_so:temperature=0.1")
    single, stacked = built(specs), StackedBalancers(built(specs))
    for losses, _ in batches(torch.float64):
        totals, weights = stacked.step(losses)
        own = torch.stack([one(named(loss)) for one, loss in zip(single, losses, strict=True)])
        torch.testing.assert_close(totals, own, rtol=1e-12, atol=1e-12, equal_nan=True)
        expected = torch.autograd.grad(own.sum(), losses)[0]
        torch.testing.assert_close(weights, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_a_state_is_loaded_into_a_row() -> None:
    stacked, other = StackedBalancers(built(["dtp"] * 3)), hardfirst.DTP(TASKS)
    other.update(dict.fromkeys(TASKS, 0.3))
    stacked.balancers[1].load_state_dict(other.state_dict())
    losses, kpis = next(batches(torch.float32))
    stacked.step(losses, torch.full_like(kpis, torch.nan))
    torch.testing.assert_close(stacked.balancers[1].kpi.average, torch.full((3,), 0.3))
    assert stacked.balancers[0].kpi.average.isnan().all()


@pytest.mark.parametrize("name", list(BALANCERS))
def test_every_method_is_stacked_or_its_card_says_not(name: str) -> None:
    if name == "frozen":
        pytest.skip("needs a record; it is `fixed`")
    if name == "cagrad":
        pytest.importorskip("torchjd")
    method = Spec(name).method
    balancers = [method(TASKS, **method.example_options(TASKS)) for _ in range(3)]
    singly = refusal(balancers) and name != "gradnorm"  # its balancers step one by one, with the norms of the stack
    assert card(name).trials == ("singly" if singly else "vectorized")


class ByValue(LossBalancer):
    def current_weights(self) -> Tensor:
        return torch.ones(3)

    def combine(self, losses: Tensor, kpis: object) -> Tensor:
        return losses.sum() if losses[0] > 1 else losses.max()


class Replacing(ByValue):
    """Makes a new tensor of its state, which is lost when stacked."""

    def __init__(self, tasks: Sequence[str], norm: str = "sum") -> None:
        super().__init__(tasks)
        self.norm = norm
        self.add_state("weight", 1.0)

    def combine(self, losses: Tensor, kpis: object) -> Tensor:
        return (losses * self.weight).sum()

    def learn(self, losses: Tensor) -> None:
        self.weight = self.weight * 2


@pytest.mark.parametrize(
    ("balancers", "reason"),
    [
        (lambda: built(["pcgrad"] * 2), "PCGrad works on the gradients of each task"),
        (lambda: built(["gradnorm"] * 2), "GradNorm works on the gradients of each task"),
        (lambda: built(["dtp", "dtp:priority=easy"]), "differ in `easy_first` of DTP, which is not a number"),
        (lambda: built(["dtp", "dtp:normalize=false"]), "differ in `normalize` of DTP"),
        (lambda: built(["dtp", "dtp:potential.a=0.5"]), "differ in the form of `kpi.potential`"),
        (lambda: built(["famo", "famo:min_losses=0.1"]), "differ in `has_minimum` of FAMO"),
        (lambda: built(["equal", "dtp"]), "one method and the same tasks"),
        (lambda: [ByValue(TASKS)] * 2, "ByValue does not run under torch.vmap"),
        (lambda: [Replacing(TASKS), Replacing(TASKS)], "Replacing gives different numbers under torch.vmap"),
        (lambda: [Replacing(TASKS), Replacing(TASKS, "max")], "differ in `norm` of Replacing"),
    ],
    ids=["pcgrad", "gradnorm", "priority", "normalize", "potential", "min_losses", "methods", "value", "state", "option"],
)
def test_refusals(balancers: object, reason: str) -> None:
    made = balancers()  # type: ignore[operator]
    before = [one.state_dict() for one in made]
    assert reason in (refusal(made) or "")
    for one, state in zip(made, before, strict=True):
        assert_same_state(state, one.state_dict())


def test_what_differs_cannot_be_stacked() -> None:
    with pytest.raises(InputError, match="differ in `normalize` of DTP"):
        StackedBalancers(built(["dtp", "dtp:normalize=false"]))


def test_kpis_are_checked() -> None:
    stacked = StackedBalancers(built(["dtp"] * 3))
    losses, kpis = next(batches(torch.float32))
    with pytest.raises(InputError, match="task 'b'"):
        stacked.step(losses, kpis.detach().index_fill(1, torch.tensor(1), 1.5))


def test_an_error_leaves_each_balancer_its_state() -> None:
    stacked = StackedBalancers(built(["dtp:alpha=0.2", "dtp", "dtp"]))
    losses, kpis = next(batches(torch.float32))
    with pytest.raises(ValueError, match="mapped dimension"):
        stacked.step(losses, kpis[:2])
    assert stacked.balancers[0].kpi.alpha == 0.2
    assert stacked.balancers[0].kpi.average.isnan().all()
