"""UPGrad's quadratic programs: their conditions of optimality, and the weights that quadprog gives."""

import pytest
import torch
from torch import Tensor, nn

from hardfirst.balancers import upgrad
from hardfirst.balancers.upgrad import REGULARISATION, projection_weights, upgrad_weights


def gramians(tasks: int, rank: int) -> list[Tensor]:
    """Of gradients whose lengths differ by up to four orders of magnitude."""
    generator = torch.Generator().manual_seed(tasks)
    directions = torch.randn(10, tasks, rank, generator=generator, dtype=torch.float64)
    rows = directions * 10 ** (4 * torch.rand(10, tasks, 1, generator=generator, dtype=torch.float64) - 2)
    return list(rows @ rows.mT)


@pytest.mark.parametrize(("tasks", "rank"), [(2, 1), (2, 2), (3, 2), (5, 2), (5, 9), (10, 5), (20, 10), (20, 20)])
def test_weights_are_those_of_quadprog(tasks: int, rank: int) -> None:
    """Dependent gradients have many solutions; the regularisation selects the same one."""
    pytest.importorskip("quadprog")
    from torchjd.aggregation import UPGradWeighting
    from torchjd.linalg import QuadprogProjector

    for gramian in gramians(tasks, rank):
        lengths = gramian.diagonal().sqrt()
        oracle = UPGradWeighting(pref_vector=lengths, projector=QuadprogProjector(reg_eps=REGULARISATION))
        expected = oracle(gramian / lengths.outer(lengths)) / lengths
        torch.testing.assert_close(upgrad_weights(gramian), expected, rtol=1e-6, atol=1e-6 * float(expected.norm()))


@pytest.mark.parametrize(("tasks", "rank"), [(5, 2), (40, 20), (100, 50), (100, 1000)])
def test_conditions_of_optimality(tasks: int, rank: int) -> None:
    """With half as many dimensions as tasks, pivoting alone goes in circles."""
    generator = torch.Generator().manual_seed(0)
    rows = nn.functional.normalize(torch.randn(tasks, rank, generator=generator, dtype=torch.float64))
    identity = torch.eye(tasks, dtype=torch.float64)
    weights = projection_weights(rows @ rows.T)
    products = weights @ (rows @ rows.T / tasks + REGULARISATION * identity)
    assert (weights >= identity).all()
    assert (products >= -1e-11).all()
    assert (products * (weights - identity)).max() < 1e-11


def test_systems_are_solved_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many at once as fit into a given memory."""
    gramian = gramians(7, 4)[0]
    whole = upgrad_weights(gramian)
    monkeypatch.setattr(upgrad, "_MOST_NUMBERS", 100)
    torch.testing.assert_close(upgrad_weights(gramian), whole)


@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_the_update_has_no_negative_product_with_any_gradient(tasks: int) -> None:
    for gramian in gramians(tasks, 2 * tasks):
        products = gramian @ upgrad_weights(gramian)
        assert (products >= -1e-5 * gramian.diagonal().sqrt() * products.abs().max()).all()


def test_two_conflicting_gradients_by_hand() -> None:
    """g = (1, 0) and h = (−1, 1): the projections are (½, ½) and (0, 1)."""
    gramian = torch.tensor([[1.0, -1.0], [-1.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(upgrad_weights(gramian), torch.tensor([2.0, 1.5], dtype=torch.float64), rtol=1e-5, atol=0)


def test_a_gradient_of_length_0_counts_once() -> None:
    gramian = torch.tensor([[4.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert upgrad_weights(gramian).tolist() == [1, 1]
