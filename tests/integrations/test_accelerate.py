"""Accelerate needs no adapter: `using=accelerator.backward`, and `register_for_checkpointing`."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hardfirst.balancers import Balancer, Spec
from hardfirst.networks import HardSharing
from host_loops import assert_same_parameters, assert_same_state

TASKS = ("a", "b")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def network() -> HardSharing:
    torch.manual_seed(0)
    return HardSharing(nn.Sequential(nn.Linear(4, 8), nn.Tanh()), {task: nn.Linear(8, 1) for task in TASKS})


def loader(batch: int) -> DataLoader[tuple[torch.Tensor, ...]]:
    inputs = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(inputs, inputs[:, :1], inputs[:, 1:2] * inputs[:, 2:3]), batch_size=batch)


def losses(net: nn.Module, batch: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    outputs = net(batch[0])
    return {task: F.mse_loss(outputs[task], target) for task, target in zip(TASKS, batch[1:], strict=True)}


def penalty(net: HardSharing) -> torch.Tensor:
    """A term of a loss that is no task's."""
    return net.trunk[0].weight.square().sum()  # type: ignore[index,operator,union-attr,return-value,no-any-return]


def train(
    spec: str,
    *,
    k: int = 1,
    epochs: int = 2,
    folder: Path | None = None,
    resume: bool = False,
    penalised: bool = False,
) -> tuple[nn.Module, Balancer]:
    """A typical loop with Accelerate; saves after the first epoch."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=k)
    bare, balancer = network(), Spec.parse(spec).build(TASKS)
    balancer.plan_steps(8)
    net, optimizer, batches = accelerator.prepare(bare, torch.optim.Adam(bare.parameters(), lr=0.05), loader(8 // k))
    accelerator.register_for_checkpointing(balancer)
    start = copy.deepcopy([net.state_dict(), optimizer.state_dict()])  # of a resumed run too: the seed is the same
    if resume:
        accelerator.load_state(str(folder))
    for epoch in range(int(resume), epochs):
        for batch in batches:
            with accelerator.accumulate(net):
                balancer.train(accelerator.sync_gradients)

                def backward(total: torch.Tensor) -> None:
                    accelerator.backward(total + penalty(bare) if penalised else total)

                balancer.backward(losses(net, batch), shared=bare.shared_parameters(), using=backward)
                optimizer.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients and balancer.restarted:
                net.load_state_dict(start[0])
                optimizer.load_state_dict(copy.deepcopy(start[1]))
        if folder is not None and not resume and epoch == 0:
            accelerator.save_state(str(folder))
    return bare, balancer


def by_hand(spec: str, epochs: int = 2, *, penalised: bool = False) -> nn.Module:
    net, balancer = network(), Spec.parse(spec).build(TASKS)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    balancer.plan_steps(4 * epochs)
    for _ in range(epochs):
        for batch in loader(8):
            optimizer.zero_grad()
            balancer.backward(losses(net, batch), shared=net.shared_parameters())
            if penalised:
                penalty(net).backward()
            optimizer.step()
            if balancer.restarted:
                net.load_state_dict(network().state_dict())
                optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    return net


@pytest.mark.parametrize("spec", ["uncertainty", "gradnorm", "pcgrad", "hard_first:search=0.3"])
def test_training_is_that_of_a_plain_loop(spec: str) -> None:
    assert_same_parameters(train(spec)[0], by_hand(spec))


@pytest.mark.parametrize("spec", ["uncertainty", "pcgrad"])
def test_what_is_added_to_the_total_is_differentiated_too(spec: str) -> None:
    assert_same_parameters(train(spec, penalised=True)[0], by_hand(spec, penalised=True), rtol=1e-5, atol=1e-7)


def test_micro_batches_add_up() -> None:
    assert_same_parameters(train("equal", k=4)[0], by_hand("equal"), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("spec", ["uncertainty", "pcgrad", "hard_first:search=0.75"])
def test_a_resumed_run_goes_on_bit_for_bit(spec: str, tmp_path: Path) -> None:
    whole, balancer = train(spec, folder=tmp_path)
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    rest, again = train(spec, folder=tmp_path, resume=True)
    assert_same_parameters(rest, whole)
    assert_same_state(again, balancer)
