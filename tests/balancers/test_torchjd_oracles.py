"""The methods that TorchJD has too give the numbers that TorchJD gives."""

import pytest
import torch
from torch import Tensor

from hardfirst import functional
from hardfirst.balancers import DWA, IMTLL, LossBalancer, Uncertainty

oracle = pytest.importorskip("torchjd.scalarization", reason="needs `pip install torchjd`", exc_type=ImportError)
TASKS = ["a", "b", "c"]


def losses_of_steps(count: int) -> list[Tensor]:
    sizes = torch.tensor([0.1, 2.0, 30.0])
    return [(torch.rand(3) * sizes + 0.01).requires_grad_() for _ in range(count)]


def compare(balancer: LossBalancer, other: torch.nn.Module, losses: Tensor) -> None:
    """The same total, and the same gradient for the losses."""
    mine = balancer(dict(zip(TASKS, losses.unbind(), strict=True)))
    theirs = other(losses)
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    found, expected = (torch.autograd.grad(total, losses, retain_graph=True)[0] for total in (mine, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("method", "name"), [(Uncertainty, "UW"), (IMTLL, "IMTLL")])
def test_learned_scales(method: type[LossBalancer], name: str) -> None:
    balancer, other = method(TASKS, lr=0.05), getattr(oracle, name)(3)
    optimizer = torch.optim.Adam(other.parameters(), lr=0.05)
    for losses in losses_of_steps(20):
        compare(balancer, other, losses)
        optimizer.zero_grad()
        other(losses.detach()).backward()
        optimizer.step()


def test_dwa() -> None:
    balancer, other = DWA(TASKS, temperature=1.5), oracle.DWA(temperature=1.5)
    for _ in range(5):
        for losses in losses_of_steps(4):
            compare(balancer, other, losses)
        balancer.end_epoch()
        other.step()


def test_geometric_mean() -> None:
    for losses in losses_of_steps(5):
        torch.testing.assert_close(functional.geometric(losses), oracle.GeometricMean()(losses))


@pytest.mark.parametrize("mu", [0.1, 1.0, 3.0])
def test_smooth_tchebycheff(mu: float) -> None:
    """TorchJD's has neither the logarithm nor the nadir, and weighs by 1/T unless told otherwise."""
    other = oracle.STCH(mu, weights=torch.ones(3))
    for losses, nadir in zip(losses_of_steps(5), losses_of_steps(5), strict=True):
        expected = 3 * other((losses / nadir).log())
        torch.testing.assert_close(functional.stch(losses, nadir, mu), expected, rtol=1e-5, atol=1e-5)


def test_theirs_are_not_resumed_by_their_state() -> None:
    """What the README says of TorchJD; ours are in tests/balancers/test_contract.py."""
    other, fresh = oracle.DWA(), oracle.DWA()
    for losses in losses_of_steps(3):
        other(losses)
        other.step()
    fresh.load_state_dict(other.state_dict())
    losses = losses_of_steps(1)[0]
    assert not torch.allclose(other(losses), fresh(losses))
