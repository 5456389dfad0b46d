"""The methods that TorchJD has too give the numbers that TorchJD gives."""

import pytest
import torch
from torch import Tensor, nn

from hardfirst.balancers import GradientBalancer, GradVac, PCGrad
from hardfirst.balancers.gradvac import gradvac_weights

oracle = pytest.importorskip("torchjd.scalarization", reason="needs `pip install torchjd`", exc_type=ImportError)
aggregation = pytest.importorskip("torchjd.aggregation")
TASKS = ["a", "b", "c"]


@pytest.mark.parametrize(("tasks", "rank"), [(1, 3), (2, 5), (3, 2), (10, 4), (40, 100)])
def test_gradvac_in_the_same_order(tasks: int, rank: int) -> None:
    """For three steps, since the averages begin at 0; theirs adds a constant to denominators unless told otherwise."""
    other, averages = aggregation.GradVacWeighting(beta=0.3, eps=0), torch.zeros(tasks, tasks, dtype=torch.float64)
    for step in range(3):
        gramian = gramian_of(tasks, rank, seed=step)
        with torch.random.fork_rng():
            torch.manual_seed(step)
            drawn = [torch.randperm(tasks - 1) for _ in range(tasks)]
            torch.manual_seed(step)
            expected = other(gramian)
        orders = torch.stack([order + (order >= task) for task, order in enumerate(drawn)])
        weights, averages = gradvac_weights(gramian, orders, averages, 0.3)
        torch.testing.assert_close(weights, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_gradvac_takes_no_cosine_of_a_gradient_that_is_gone(seed: int) -> None:
    """Turned off its opposite, nothing but rounding is left of a gradient; TorchJD takes its cosines as well."""
    row = torch.randn(1, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = torch.cat([row, -3 * row, torch.ones(1, 7, dtype=torch.float64)])
    orders = torch.tensor([[1, 2], [0, 2], [0, 1]])
    _, averages = gradvac_weights(rows @ rows.T, orders, torch.zeros(3, 3, dtype=torch.float64), 0.3)
    torch.testing.assert_close(averages[:2], torch.tensor([[0, -0.3, 0], [-0.3, 0, 0]], dtype=torch.float64))


def gramian_of(tasks: int, rank: int, seed: int = 0) -> Tensor:
    """Of gradients that partly agree."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, rank, generator=generator, dtype=torch.float64) + 0.5
    return rows @ rows.T


@pytest.mark.parametrize(
    ("method", "updates"),
    [
        (PCGrad, [[0.0979, -0.74628, 2.06848, 0.56524], [-0.20955, 0.04052, 1.87648, 0.59677]]),
        (GradVac, [[-0.32326, -0.08048, 1.85856, 0.32752], [0.75895, -0.64632, 1.94764, 0.86065]]),
    ],
)
def test_a_seed_gives_the_order_that_it_gave_when_torchjd_solved_these(
    method: type[GradientBalancer], updates: list[list[float]]
) -> None:
    rows = torch.tensor([[1.0, 0, 0, 0], [-0.7, 1, 0, 0], [-0.5, -0.6, 1, 2], [0.3, -1, 0.2, -1]])
    balancer = method(["a", "b", "c", "d"], seed=7)  # type: ignore[call-arg]
    for expected in updates:
        shared = nn.Parameter(torch.zeros(4))
        losses = {task: 1 + row @ shared for task, row in zip(balancer.tasks, rows, strict=True)}
        balancer.backward(losses, shared=[shared])
        torch.testing.assert_close(shared.grad, torch.tensor(expected), rtol=0, atol=2e-5)


def test_theirs_are_not_resumed_by_their_state() -> None:
    """What the README says of TorchJD; ours are in tests/balancers/test_contract.py."""
    other, fresh = oracle.DWA(), oracle.DWA()
    losses = torch.tensor([0.1, 2.0, 30.0])
    for factor in (1.0, 0.5, 2.0):
        other(losses**factor)
        other.step()
    fresh.load_state_dict(other.state_dict())
    assert not torch.allclose(other(losses), fresh(losses))
