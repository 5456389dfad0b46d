"""Every method under autocast, under a GradScaler, and over accumulated micro-batches, with a network and an optimizer."""

import pytest
import torch
from torch import Tensor, nn

from hardfirst.balancers import Balancer, Spec
from hardfirst.networks import HardSharing
from table import EVERY, GRADIENT, TASKS

SIZES = dict(zip(TASKS, (0.1, 1.0, 5.0), strict=True))


def network() -> HardSharing:
    torch.manual_seed(0)
    return HardSharing(nn.Sequential(nn.Linear(4, 16), nn.Tanh()), {task: nn.Linear(16, 1) for task in TASKS})


def batch(seed: int, examples: int = 12) -> tuple[Tensor, dict[str, Tensor]]:
    inputs = torch.randn(examples, 4, generator=torch.Generator().manual_seed(seed))
    return inputs, {task: inputs[:, place] for place, task in enumerate(TASKS)}


def measured(model: nn.Module, inputs: Tensor, targets: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    outputs = model(inputs)
    errors = {task: outputs[task].squeeze(1) - targets[task] for task in TASKS}
    losses = {task: SIZES[task] * error.square().mean() for task, error in errors.items()}
    return losses, {task: (error.abs() < 0.3).float().mean() for task, error in errors.items()}


def train(spec: Spec, *, dtype: torch.dtype | None = None, scale: float | None = None) -> tuple[HardSharing, Balancer]:
    model, balancer = network(), spec.build(TASKS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    for seed in range(6):
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            losses, kpis = measured(model, *batch(seed))
        optimizer.zero_grad()
        balancer.backward(losses, kpis, shared=model.shared_parameters(), using=lambda total: scaler.scale(total).backward())
        scaler.step(optimizer)
        scaler.update()
        if seed % 2:
            balancer.end_epoch()
    return model, balancer


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_a_scaler_changes_nothing(spec: Spec) -> None:
    """Scales are powers of two, which floating point multiplies by without rounding."""
    (plain, one), (scaled, other) = train(spec), train(spec, scale=2.0**16)
    torch.testing.assert_close(scaled.state_dict(), plain.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(other.state_dict(), one.state_dict(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_an_overflow_skips_the_step_and_spares_the_state(spec: Spec) -> None:
    model, balancer = network(), spec.build(TASKS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    balancer.update(dict.fromkeys(TASKS, 0.5))
    before = {name: tensor.clone() for name, tensor in balancer.state_dict().items() if "step" not in name}
    losses, _ = measured(model, *batch(0))
    endless = {task: loss * float("inf") for task, loss in losses.items()}
    balancer.backward(endless, shared=model.shared_parameters(), using=lambda total: scaler.scale(total).backward())
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0
    torch.testing.assert_close(model.state_dict(), network().state_dict(), rtol=0, atol=0)
    after = {name: balancer.state_dict()[name] for name in before}
    torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_bfloat16_autocast_is_near_float32(spec: Spec) -> None:
    (exact, one), (rough, other) = train(spec), train(spec, dtype=torch.bfloat16)
    moved = max(float((a - b).detach().abs().max()) for a, b in zip(exact.parameters(), network().parameters(), strict=True))
    assert moved > 1e-3
    if spec.name not in ("graddrop", "learning_progress"):  # signs and ranks of nearly equal numbers decide there
        for a, b in zip(exact.parameters(), rough.parameters(), strict=True):
            torch.testing.assert_close(b, a, rtol=0.1, atol=0.1 * moved + 2e-3)
    assert {tensor.dtype for tensor in other.buffers()} == {tensor.dtype for tensor in one.buffers()}
    assert all(parameter.isfinite().all() for parameter in rough.parameters())


@pytest.mark.parametrize("spec", GRADIENT, ids=str)
def test_small_float16_gradients_do_not_vanish(spec: Spec) -> None:
    """A loss of 1e-6 has gradients of its activations that float16 has no number for, were they not made larger."""
    found = {}
    for dtype in (None, torch.float16):
        model, balancer = network(), spec.build(TASKS)
        with torch.autocast("cpu", dtype=dtype or torch.float16, enabled=dtype is not None):
            losses, _ = measured(model, *batch(0))
        losses = {task: 1e-6 * loss.float() for task, loss in losses.items()}
        balancer.backward(losses, shared=model.shared_parameters())
        found[dtype] = model.trunk[0].weight.grad
    assert found[None].abs().max() > 0
    difference = (found[None] - found[torch.float16]).norm() / found[None].norm()
    assert difference < (0.5 if spec.name == "graddrop" else 0.1)
