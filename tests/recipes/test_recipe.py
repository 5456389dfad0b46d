"""Recipes: what their specs make, by torch's own classes and by hand, and the errors for values out of range."""

import math
from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau, StepLR

from hardfirst.errors import InputError
from hardfirst.recipes import OPTIMIZERS, PRECISIONS, SCHEDULES, OptimizerSpec, Recipe, Schedule

STEPS, EPOCHS = 5, 8


def trained(make: Callable[[nn.Module], Optimizer]) -> torch.Tensor:
    """The weights after three steps on a fixed loss."""
    torch.manual_seed(0)
    network = nn.Linear(4, 1)
    optimizer = make(network)
    for _ in range(3):
        optimizer.zero_grad()
        (network(torch.ones(2, 4)) - 3).square().mean().backward()
        optimizer.step()
    return network.weight.detach()


@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        ("adam", lambda network: Adam(network.parameters(), lr=0.1)),
        (
            "adam:weight_decay=0.1,beta1=0.8",
            lambda net: Adam(net.parameters(), lr=0.1, weight_decay=0.1, betas=(0.8, 0.999)),
        ),
        ("adamw", lambda network: torch.optim.AdamW(network.parameters(), lr=0.1)),
        ("adamw:weight_decay=0.5", lambda network: torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)),
        ("sgd", lambda network: SGD(network.parameters(), lr=0.1)),
        (
            "sgd:momentum=0.9,nesterov=true,weight_decay=0.01",
            lambda network: SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        ),
    ],
)
def test_an_optimizer_is_torchs(spec: str, theirs: Callable[[nn.Module], Optimizer]) -> None:
    ours = trained(lambda network: Recipe(spec).make_optimizer(network, 0.1))
    torch.testing.assert_close(ours, trained(theirs), rtol=1e-6, atol=1e-7)


def rates(recipe: Recipe, scores: list[float] | None = None) -> list[float]:
    """The learning rate of each step, from a highest of 1."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, after = recipe.make_schedule(optimizer, STEPS, EPOCHS)
    used = []
    for epoch in range(EPOCHS):
        for _ in range(STEPS):
            used.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            if after == "step":
                scheduler.step()
        if after == "epoch" and scheduler is not None:
            scheduler.step()
        if after == "validation":
            scheduler.step((scores or [0.0] * EPOCHS)[epoch])
    return used


def test_a_constant_rate() -> None:
    assert set(rates(Recipe())) == {1.0}


def test_a_rate_that_falls_in_steps() -> None:
    assert rates(Recipe(schedule="step:every=3,factor=0.1"))[::STEPS] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_a_cosine() -> None:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs, expected = CosineAnnealingLR(optimizer, STEPS * EPOCHS), []
    for _ in range(STEPS * EPOCHS):
        expected.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        theirs.step()
    assert rates(Recipe(schedule="cosine")) == pytest.approx(expected, abs=1e-9)


def test_a_cosine_after_a_warm_up() -> None:
    used = rates(Recipe(schedule="cosine:warmup=0.1,least=0.2"))
    assert used[:4] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert used[4] == pytest.approx(1)
    assert used[22] == pytest.approx(0.2 + 0.8 / 2), "half-way between warm-up and end"
    assert used[-1] == pytest.approx(0.2 + 0.4 * (1 + math.cos(math.pi * 35 / 36)))


def test_one_cycle() -> None:
    used = rates(Recipe(schedule="onecycle:warmup=0.25,start=0.1,end=0.001"))
    assert (used[0], max(used), used[-1]) == pytest.approx((0.1, 1.0, 0.001))
    assert used.index(max(used)) == 9, "a quarter of the steps"


def test_a_plateau_follows_the_score() -> None:
    scores = [0.1, 0.2, 0.2, 0.2, 0.2, 0.3, 0.2, 0.2]
    used = rates(Recipe(schedule="plateau:factor=0.5,patience=1,least=0.3"), scores)[::STEPS]
    assert used == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]


def test_functions_make_what_specs_cannot() -> None:
    def groups(network: nn.Module, learning_rate: float) -> Optimizer:
        return SGD([{"params": [network.weight], "lr": learning_rate / 10}, {"params": [network.bias]}], lr=learning_rate)

    network = nn.Linear(2, 1)
    recipe = Recipe(groups, lambda optimizer, steps, epochs: StepLR(optimizer, 2))
    optimizer = recipe.make_optimizer(network, 1.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0]
    assert recipe.make_schedule(optimizer, 1, 1).after == "epoch"
    plateau = Recipe(schedule=lambda optimizer, steps, epochs: ReduceLROnPlateau(optimizer))
    assert plateau.make_schedule(optimizer, 1, 1).after == "validation"
    own = Recipe(schedule=lambda optimizer, steps, epochs: Schedule(StepLR(optimizer, 2), "step"))
    assert own.make_schedule(optimizer, 1, 1).after == "step"
    assert "groups" in recipe.settings()["optimizer"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_frozen_parameters_are_not_trained_until_they_are_thawed(optimizer: str) -> None:
    network = nn.Linear(2, 1)
    network.bias.requires_grad_(False)
    before = network.bias.clone()
    made = Recipe(f"{optimizer}:weight_decay=0.1").make_optimizer(network, 0.1)
    network(torch.ones(1, 2)).sum().backward()
    made.step()
    assert torch.equal(network.bias, before)
    network.bias.requires_grad_(True)
    network(torch.ones(1, 2)).sum().backward()
    made.step()
    assert not torch.equal(network.bias, before)


def test_sgd_with_momentum_takes_late_first_gradients() -> None:
    """As for a task whose labels begin after the first step: each parameter's sum begins with its first gradient."""
    network = nn.ParameterList([nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))])
    optimizer = Recipe("sgd:momentum=0.5").make_optimizer(network, learning_rate=1.0)
    for gradients in ((1.0, None), (1.0, 1.0), (1.0, 1.0)):
        for parameter, gradient in zip(network, gradients, strict=True):
            parameter.grad = None if gradient is None else torch.full((1,), gradient)
        optimizer.step()
    assert [parameter.item() for parameter in network] == [-4.25, -2.5]


def test_complex_parameters_have_no_fused_kernel() -> None:
    network = nn.ParameterList([nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    assert not Recipe("sgd").make_optimizer(network, 0.1).defaults["fused"]


def test_settings_are_what_differs_and_make_the_recipe_again() -> None:
    recipe = Recipe("sgd:momentum=0.9", "cosine", clip=1.0, accumulate=2, precision="bf16-mixed", average=0.99, loaders=2)
    assert Recipe(**recipe.settings()) == recipe
    assert Recipe().replace(recipe.settings()) == recipe
    assert recipe.replace({field.name: field.default for field in fields(Recipe)}) == Recipe()


@pytest.mark.parametrize("registry", [OPTIMIZERS, SCHEDULES])
def test_each_name_is_documented(registry: object) -> None:
    for name in registry:  # type: ignore[attr-defined]
        assert "Args:" in registry[name].__doc__  # type: ignore[index]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"optimizer": "adan"}, "Unknown optimizer 'adan'; did you mean 'adam'?"),
        ({"optimizer": "sgd:momentun=0.9"}, "Unknown option of optimizer 'sgd': 'momentun'; did you mean 'momentum'?"),
        ({"optimizer": "sgd:nesterov=true"}, "The optimizer 'sgd:nesterov=true' does not accept these options: Nesterov"),
        ({"optimizer": "adam:beta1=2"}, "The optimizer 'adam:beta1=2' does not accept these options: Invalid beta"),
        ({"optimizer": "adam:eps=word"}, "The optimizer 'adam:eps=word' does not accept these options"),
        ({"optimizer": 3}, "Expected `optimizer` to be a spec such as adam, or a function; got 3."),
        ({"schedule": "step"}, "The schedule 'step' needs the options every; write step:every=…."),
        ({"schedule": "step:every=0"}, "The schedule 'step:every=0': Expected `every` to be a whole number, at least 1"),
        ({"schedule": "cosine:warmup=1"}, "The schedule 'cosine:warmup=1': Expected `warmup` to be below 1; got 1."),
        ({"schedule": "plateau:factor=1"}, "Expected `factor` to be below 1; got 1."),
        ({"clip": 0}, "Expected `clip` to be above 0; got 0."),
        ({"accumulate": 0}, "Expected `accumulate` to be a whole number, at least 1; got 0."),
        ({"precision": "fp8"}, "Unknown precision 'fp8'"),
        ({"average": 1.0}, "Expected `average` to be below 1; got 1.0."),
        ({"loaders": -1}, "Expected `loaders` to be a whole number, at least 0; got -1."),
        ({"drop_last": "no"}, "Expected `drop_last` to be true or false; got 'no'."),
    ],
)
def test_what_is_wrong_with_a_recipe(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        Recipe(**values)  # type: ignore[arg-type]
    assert sentence in str(error.value)


def test_a_function_that_makes_something_else() -> None:
    with pytest.raises(InputError, match="to return a torch optimizer; got int"):
        Recipe(lambda network, rate: 3).make_optimizer(nn.Linear(1, 1), 1.0)  # type: ignore[arg-type, return-value]
    with pytest.raises(InputError, match="to return a torch scheduler; got int"):
        Recipe(schedule=lambda optimizer, steps, epochs: 3).make_schedule(  # type: ignore[arg-type, return-value]
            SGD([nn.Parameter(torch.zeros(1))], lr=1.0), 1, 1
        )


def test_fabric_knows_the_precisions() -> None:
    from typing import get_args

    pytest.importorskip("lightning")
    from lightning.fabric.plugins.precision.precision import _PRECISION_INPUT_STR

    assert set(PRECISIONS) <= set(get_args(_PRECISION_INPUT_STR))


def test_an_option_of_the_caller_is_none_of_a_spec() -> None:
    with pytest.raises(InputError, match="Unknown option of optimizer 'adam': 'learning_rate'"):
        OptimizerSpec.parse("adam:learning_rate=1")
