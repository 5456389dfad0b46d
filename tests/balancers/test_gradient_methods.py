"""Each gradient method against TorchJD on whole Jacobians, against its equation, or by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from hardfirst.balancers import (
    DBMTL,
    ExcessMTL,
    GradientBalancer,
    GradVac,
    MoCo,
    MoDo,
    NashMTL,
    Spec,
)
from hardfirst.balancers._simplex import project
from hardfirst.balancers.fairgrad import fair_weights

oracle = pytest.importorskip("torchjd.aggregation", reason="needs `pip install torchjd`", exc_type=ImportError)
QuadprogProjector = pytest.importorskip("torchjd.linalg").QuadprogProjector
TASKS = ["a", "b", "c"]


LINEAR = [
    "pcgrad",
    "mgda",
    "cagrad",
    "imtl_g",
    "aligned_mtl",
    "upgrad",
    "gradvac",
    "graddrop",
    "config",
    "db_mtl",
    "moco",
    "modo",
    "sdmgrad",
    "excess_mtl",
]


def jacobians(count: int = 5, rows: int = 3, size: int = 7) -> list[Tensor]:
    """Gradients of different size, some of which conflict."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.tensor([0.1, 1.0, 10.0, 3.0])[:rows].unsqueeze(1)
    return [sizes * torch.randn(rows, size, generator=generator) for _ in range(count)]


def update(balancer: GradientBalancer, jacobian: Tensor) -> Tensor:
    """What the balancer makes of losses that are linear in the shared parameters, with these rows as gradients."""
    shared = nn.Parameter(torch.zeros(jacobian.shape[1]))
    losses = {task: 1 + row @ shared for task, row in zip(balancer.tasks, jacobian, strict=True)}
    balancer.backward(losses, shared=[shared])
    assert shared.grad is not None
    return shared.grad


def gradvac(jacobian: Tensor, targets: Tensor, beta: float) -> Tensor:
    """Algorithm 1 of Wang et al. for two tasks, where there is but one order; changes the targets."""
    total = torch.zeros(jacobian.shape[1])
    for task, other in ((0, 1), (1, 0)):
        gradient, beside = jacobian[task], jacobian[other]
        cosine = float(gradient @ beside / gradient.norm() / beside.norm())
        target = float(targets[task, other])
        if cosine < target:
            numerator = gradient.norm() * (target * math.sqrt(1 - cosine**2) - cosine * math.sqrt(1 - target**2))
            gradient = gradient + numerator / (beside.norm() * math.sqrt(1 - target**2)) * beside
        targets[task, other] = (1 - beta) * target + beta * cosine
        total += gradient
    return total


def test_gradvac_is_algorithm_1() -> None:
    balancer, targets = GradVac(["a", "b"], beta=0.3), torch.zeros(2, 2)
    similar = [jacobian + torch.tensor([3.0, 1, 1, -2, 0, 0, 1]) for jacobian in jacobians(8, rows=2)]
    for jacobian in similar:
        torch.testing.assert_close(update(balancer, jacobian), gradvac(jacobian, targets, 0.3), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(balancer.cosine.view(2, 2), targets, rtol=1e-5, atol=1e-5)
    assert targets[0, 1].abs() > 0.1


def test_gradvac_keeps_the_cosines_of_an_absent_task() -> None:
    balancer = GradVac(TASKS, beta=0.3)
    update(balancer, jacobians()[0])
    before = balancer.cosine.view(3, 3).clone()
    shared = nn.Parameter(torch.ones(2))
    balancer.backward({"a": shared.sum(), "c": shared[0] - 3 * shared[1]}, shared=[shared])
    after = balancer.cosine.view(3, 3)
    changed = (after != before).nonzero().tolist()
    assert changed == [[0, 2], [2, 0]]


def test_nash_cuts_the_length() -> None:
    jacobian = jacobians()[0]
    whole, cut = update(NashMTL(TASKS, max_norm=0), jacobian), update(NashMTL(TASKS, max_norm=0.5), jacobian)
    assert whole.norm() == pytest.approx(3**0.5, rel=1e-4)  # α'Gα = T
    torch.testing.assert_close(cut, 0.5 * whole / whole.norm())


def dependent(tasks: int, rank: int) -> Tensor:
    """Gradients of tasks through fewer features, with lengths that differ."""
    generator = torch.Generator().manual_seed(tasks)
    sizes = 10 ** (2 * torch.rand(tasks, 1, generator=generator) - 1)
    return sizes * (torch.randn(tasks, rank, generator=generator) @ torch.randn(rank, 500, generator=generator))


@pytest.mark.parametrize("jacobian", [torch.cat([j := dependent(2, 2), j.sum(0, keepdim=True)]), dependent(20, 16)])
@pytest.mark.parametrize(("name", "other"), [("config", oracle.ConFIG()), ("imtl_g", oracle.IMTLG()), ("aligned_mtl", None)])
def test_linearly_dependent_gradients(name: str, other: nn.Module | None, jacobian: Tensor) -> None:
    """What float32 leaves of a singular value of 0 counts as 0; the oracles have the rank from float32 products."""
    tasks = [str(number) for number in range(len(jacobian))]
    found = update(Spec.parse(name).build(tasks), jacobian)
    if other is None:
        left, values, right = torch.linalg.svd(jacobian.double(), full_matrices=False)
        values = values[values > 1e-5 * values[0]]
        expected = values[-1] * (left[:, : len(values)] @ right[: len(values)]).sum(0)
    else:
        expected = other(jacobian) * (len(tasks) if name == "imtl_g" else 1)
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_config_has_no_direction_for_opposite_gradients() -> None:
    jacobian = torch.tensor([[0.3, 0.7], [-0.9, -2.1]])
    assert update(Spec.parse("config").build(["a", "b"]), jacobian).tolist() == [0, 0]


@pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0, 2.0, 10.0])
def test_fairgrad_solves_its_equation(alpha: float) -> None:
    for jacobian in jacobians(rows=4):
        gramian = (jacobian @ jacobian.T).double()
        weights = fair_weights(gramian, alpha)
        assert (weights > 0).all()
        torch.testing.assert_close(gramian @ weights, weights ** (-1 / alpha), rtol=1e-3, atol=0)


def test_modo_is_torchjds_over_steps() -> None:
    balancer, other = MoDo(TASKS, gamma=0.3, rho=0.2), oracle.MoDoWeighting(gamma=0.3, rho=0.2)
    for jacobian in jacobians(10):
        gramian = (jacobian @ jacobian.T).double()
        expected = 3 * other(gramian / gramian.diagonal().mean())
        update(balancer, jacobian)
        torch.testing.assert_close(balancer.weight, expected.float(), rtol=1e-5, atol=1e-5)


def test_sdmgrad_is_torchjds_over_steps() -> None:
    preference = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    other = oracle.SDMGradWeighting(lr=2.0, momentum=0.3, n_iter=5, lambda_=0.7, pref_vector=preference)
    spec = "sdmgrad:lr=2,momentum=0.3,steps=5,strength=0.7,preference.a=5,preference.b=3,preference.c=2"
    balancer = Spec.parse(spec).build(TASKS)
    for jacobian in jacobians(10):
        update(balancer, jacobian)
        expected = 3 * other((jacobian @ jacobian.T).double())
        torch.testing.assert_close(torch.stack([*balancer.weights.values()]), expected.float(), rtol=1e-4, atol=1e-4)


def test_moco_by_hand() -> None:
    """Three steps, of which the second lacks b: neither its average nor its weight changes."""
    balancer = MoCo(TASKS, beta=0.6, gamma=0.5, rho=0.1, sigma=0.5)
    averages, shares = torch.zeros(3, 7), torch.ones(3)
    for step, jacobian in enumerate(jacobians(3)):
        rows = [0, 2] if step == 1 else [0, 1, 2]
        fall = (step + 1) ** -0.5
        averages[rows] += 0.6 * fall * (jacobian[rows] - averages[rows])
        gramian = averages[rows] @ averages[rows].T
        share = shares[rows] / shares[rows].sum()
        moved = share - 0.5 * fall * (gramian / gramian.diagonal().mean() @ share + 0.1 * share)
        shares[rows] = len(rows) * nearest_shares(moved)
        shared = nn.Parameter(torch.zeros(7))
        balancer.backward({TASKS[row]: 1 + jacobian[row] @ shared for row in rows}, shared=[shared])
        torch.testing.assert_close(shared.grad, shares[rows] @ averages[rows], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(balancer.weight, shares, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(balancer.average, averages)


def nearest_shares(point: Tensor) -> Tensor:
    """The nearest point of the simplex, by bisection of the level that is taken off."""
    low, high = point.min() - 1, point.max()
    for _ in range(60):
        level = (low + high) / 2
        low, high = (level, high) if (point - level).clamp(min=0).sum() > 1 else (low, level)
    return (point - low).clamp(min=0)


@pytest.mark.parametrize("point", [[0.2, 0.3, 0.5], [5.0, 0.0, -3.0], [1.0, 1.0, 1.0], [-2.0, -2.1, -9.0], [0.4]])
def test_the_projection_on_the_simplex(point: list[float]) -> None:
    found = project(torch.tensor(point))
    torch.testing.assert_close(found, nearest_shares(torch.tensor(point)), rtol=0, atol=1e-5)


def test_excess_mtl_by_hand() -> None:
    """Four steps, of which the third lacks b."""
    balancer, squares, first = ExcessMTL(TASKS, eta=0.7), torch.zeros(3, 7), [0.0] * 3
    weights = [1.0] * 3
    for step, jacobian in enumerate(jacobians(4)):
        rows = [0, 2] if step == 2 else [0, 1, 2]
        squares[rows] += jacobian[rows] ** 2
        excess = (jacobian**2 / squares.sqrt().clamp(min=1e-30)).sum(1).tolist()
        total = sum(weights[row] for row in rows)
        for row in rows:
            if first[row]:
                weights[row] *= math.exp(0.7 * excess[row] / first[row])
            else:
                first[row] = excess[row]
        now = sum(weights[row] for row in rows)
        for row in rows:
            weights[row] *= total / now
        shared = nn.Parameter(torch.zeros(7))
        balancer.backward({TASKS[row]: 1 + jacobian[row] @ shared for row in rows}, shared=[shared])
        torch.testing.assert_close(balancer.weight, torch.tensor(weights), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(shared.grad, balancer.weight[rows] @ jacobian[rows], rtol=1e-4, atol=1e-4)
    assert balancer.weight.max() > 1.2


@pytest.mark.parametrize("size", [1e-30, 1e25])
def test_excess_mtl_depends_on_no_unit(size: float) -> None:
    """Squares of these are beyond float32, and small constants in denominators would decide."""
    one, other = ExcessMTL(TASKS, eta=0.7), ExcessMTL(TASKS, eta=0.7)
    for jacobian in jacobians(4):
        update(one, jacobian)
        update(other, size * jacobian)
    torch.testing.assert_close(other.weight, one.weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["upgrad", "aligned_mtl", "config"])
def test_preferences_are_torchjds(name: str) -> None:
    preference = torch.tensor([2.0, 0.5, 0.0])
    other = {
        "upgrad": oracle.UPGrad(pref_vector=preference, projector=QuadprogProjector(reg_eps=1e-9)),
        "aligned_mtl": oracle.AlignedMTL(pref_vector=preference),
        "config": oracle.ConFIG(pref_vector=preference),
    }[name]
    balancer = Spec.parse(f"{name}:preference.a=2,preference.b=0.5,preference.c=0").build(TASKS)
    for jacobian in jacobians():
        torch.testing.assert_close(update(balancer, jacobian), other(jacobian), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["upgrad", "aligned_mtl", "config", "sdmgrad"])
def test_preferences_of_1_change_nothing_and_others_do(name: str) -> None:
    jacobian = jacobians()[0]
    plain, ones, other = (
        update(Spec.parse(name + options).build(TASKS), jacobian) for options in ("", ":preference.b=1", ":preference.b=3")
    )
    assert torch.equal(plain, ones)
    assert not torch.allclose(plain, other, rtol=1e-2)


def test_preferences_of_the_tasks_present_alone() -> None:
    """With only the task that has none, it counts as 1."""
    shared = nn.Parameter(torch.ones(2))
    Spec.parse("upgrad:preference.a=0").build(["a", "b"]).backward({"a": shared.sum()}, shared=[shared])
    torch.testing.assert_close(shared.grad, torch.ones(2), rtol=1e-5, atol=1e-5)


def test_db_mtl_by_hand() -> None:
    """Losses that are 1 at the parameters, so that the gradient of the logarithm is the row itself."""
    balancer, average = DBMTL(["a", "b"], beta=0.6), torch.zeros(2, 7)
    for jacobian in jacobians(4, rows=2):
        average = 0.6 * average + 0.4 * jacobian
        norms = average.norm(dim=1)
        expected = sum(norms.max() / norm * row for norm, row in zip(norms, average, strict=True))
        torch.testing.assert_close(update(balancer, jacobian), expected)


def test_db_mtl_differentiates_logarithms() -> None:
    shared = nn.Parameter(torch.ones(2))
    balancer = DBMTL(["a", "b"], beta=0)
    balancer.backward({"a": 4 + shared[0], "b": 2 * shared[1]}, shared=[shared])
    torch.testing.assert_close(shared.grad, torch.tensor([1.0, 1.0]))  # 1/5 and 1, each as long as the longest
    assert float(balancer.weights["a"]) == pytest.approx(1.0)  # of its own gradient, 1
    assert float(balancer.weights["b"]) == pytest.approx(0.5)


@pytest.mark.parametrize("size", [2e19, 1e36])
def test_db_mtl_takes_any_finite_loss(size: float) -> None:
    """The gradient of a logarithm does not depend on the loss's size; state alone refuses losses beyond 2⁶⁴."""
    shared = nn.Parameter(torch.ones(2))
    DBMTL(["a", "b"], beta=0).backward({"a": size * shared[0], "b": shared[1] * 2}, shared=[shared])
    torch.testing.assert_close(shared.grad, torch.tensor([1.0, 1.0]))


def test_db_mtl_says_when_shared_changes() -> None:
    balancer = DBMTL(["a", "b"])
    update(balancer, jacobians(rows=2)[0])
    with pytest.raises(ValueError, match="to have 7 numbers, as in the earlier steps that DBMTL averages over; got 4"):
        update(balancer, jacobians(rows=2, size=4)[0])


def test_db_mtl_refuses_the_averages_of_other_tasks() -> None:
    balancer = DBMTL(["a", "b"])
    wrong = {**balancer.state_dict(), "average": torch.zeros(3, 7)}
    with pytest.raises(ValueError, match="of another shape is average"):
        balancer.load_state_dict(wrong)
    with pytest.raises(ValueError, match="it lacks average"):
        balancer.load_state_dict({"weight": torch.ones(2), "_extra_state": balancer.get_extra_state()})


def test_db_mtl_shows_a_negative_loss() -> None:
    shared = nn.Parameter(torch.ones(2))
    DBMTL(["a", "b"]).backward({"a": -shared[0], "b": shared.sum()}, shared=[shared])
    assert shared.grad is not None
    assert shared.grad.isnan().any()


def features_and_rows() -> tuple[nn.Parameter, Tensor, Tensor]:
    """A weight, features that are not linear in it, and two tasks' gradients of these, which conflict."""
    weight = nn.Parameter(torch.tensor([[0.3, -0.2, 0.5], [0.1, 0.4, -0.6]]))
    features = (torch.tensor([[1.0, 2.0], [-1.0, 0.5]]) @ weight).tanh()
    return weight, features, torch.tensor([[[1.0, 2, 0], [0, 1, 1]], [[-2.0, 1, 0], [1, -1, 3]]])


def test_mgda_ub_by_hand() -> None:
    """Sener and Koltun, Eq. (5) for two tasks: the shortest point between the gradients of the features, times 2."""
    weight, features, (first, second) = features_and_rows()
    alpha = float(((second - first) * second).sum() / (first - second).square().sum())
    assert 0 < alpha < 1
    (expected,) = torch.autograd.grad(features, weight, 2 * (alpha * first + (1 - alpha) * second), retain_graph=True)
    losses = {"a": (first * features).sum(), "b": (second * features).sum()}
    Spec.parse("mgda").build(["a", "b"]).backward(losses, features=features)
    torch.testing.assert_close(weight.grad, expected, rtol=1e-3, atol=1e-3)


def test_upgrad_of_features_by_hand() -> None:
    """Each gradient less its part along the other, which it conflicts with; their sum."""
    weight, features, (first, second) = features_and_rows()
    second = second - 1.5 * first
    inner = (first * second).sum()
    assert inner < 0
    projected = first - inner / second.square().sum() * second + second - inner / first.square().sum() * first
    (expected,) = torch.autograd.grad(features, weight, projected, retain_graph=True)
    losses = {"a": (first * features).sum(), "b": (second * features).sum()}
    Spec.parse("upgrad").build(["a", "b"]).backward(losses, features=features)
    torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in LINEAR if name not in ("graddrop", "db_mtl")])
def test_gradients_that_are_all_zero_give_a_zero(name: str) -> None:
    assert update(Spec.parse(name).build(TASKS), torch.zeros(3, 7)).tolist() == [0] * 7


@pytest.mark.parametrize("name", [name for name in LINEAR if name not in ("graddrop", "db_mtl", "moco")])
def test_orthogonal_gradients_of_one_size_are_summed(name: str) -> None:
    """Where nothing is in conflict and nothing differs, every method is equal weights."""
    found = update(Spec.parse(f"{name}:c=0" if name == "cagrad" else name).build(TASKS), torch.eye(3, 7))
    torch.testing.assert_close(found, torch.eye(3, 7).sum(0), rtol=1e-3, atol=1e-3)


def test_graddrop_draws_the_same_numbers_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(3, 100, generator=torch.Generator().manual_seed(0))
    whole = update(Spec.parse("graddrop").build(TASKS), rows)
    monkeypatch.setattr("hardfirst.balancers.graddrop._COLUMNS_ON_CPU", 7)
    torch.testing.assert_close(update(Spec.parse("graddrop").build(TASKS), rows), whole, rtol=0, atol=0)


def test_mgda_is_0_where_no_direction_helps_all() -> None:
    rows = torch.tensor([[1.0, 0.0], [-3.0, 0.0], [0.0, 1.0]])
    assert update(Spec.parse("mgda").build(TASKS), rows).norm() < 1e-2
