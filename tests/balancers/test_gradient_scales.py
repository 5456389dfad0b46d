"""Each gradient method's whole update, uncut, against its paper's equation in float64, at all sizes of gradient."""

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from hardfirst.balancers import GradientBalancer, Spec
from table import GRADIENT

np = pytest.importorskip("numpy")
optimize = pytest.importorskip("scipy.optimize")

Rows = "np.ndarray"  # [T, n] float64
SCALES = [1e-3, 1.0, 1e3]
EXTREMES = [1e-37, 2e19, 1e30]
MATRICES = {
    "conflict": [[2.0, 1, 0, 0.5], [-1.0, 1, 0, 0.2], [-0.5, -0.8, 3, 1]],
    "agreement": [[2.0, 1, 0, 0.5], [1.0, 3, 0, 0.2], [0.5, 0.8, 3, 1]],
    "two": [[2.0, 1], [-1.0, 1]],
    "dependent": [[2.0, 1, 0, 0.5], [-0.5, 1, 0, 0.2], [1.5, 2, 0, 0.7]],  # the third is the sum
    "identical": [[1.0, -2, 0.5]] * 3,
    "one task": [[1.0, -2, 0.5]],
}


def lengths(rows: Rows) -> Rows:
    return np.linalg.norm(rows, axis=1)


def shortest(rows: Rows) -> Rows:
    """The shortest convex combination: the best of those with equal products on a set of tasks, over all sets."""
    found = []
    for size in range(1, len(rows) + 1):
        for tasks in itertools.combinations(rows, size):
            system = np.ones((size + 1, size + 1))
            system[:size, :size], system[size, size] = np.array(tasks) @ np.array(tasks).T, 0
            weights = np.linalg.lstsq(system, np.append(np.zeros(size), 1), rcond=1e-12)[0][:size]
            if (weights > -1e-9).all():
                found.append(weights @ np.array(tasks))
    return min(found, key=np.linalg.norm)


def mgda(rows: Rows, balancer: GradientBalancer) -> Rows:
    return len(rows) * shortest(rows)


def pcgrad(rows: Rows, balancer: GradientBalancer) -> Rows:
    """Algorithm 1 of Yu et al., in the order that the balancer draws."""
    generator = copy.deepcopy(balancer.draws).generator(torch.device("cpu"))
    total = np.zeros(rows.shape[1])
    for task, row in enumerate(rows):
        projected = row.copy()
        for other in torch.randperm(len(rows), generator=generator).tolist():
            inner = projected @ rows[other]
            if other != task and inner < 0:
                projected -= inner / (rows[other] @ rows[other]) * rows[other]
        total += projected
    return total


def gradvac(rows: Rows, balancer: GradientBalancer) -> Rows:
    """Algorithm 1 of Wang et al. from averages of 0, so that gradients are turned until they are orthogonal."""
    generator = copy.deepcopy(balancer.draws).generator(torch.device("cpu"))
    total = np.zeros(rows.shape[1])
    for task, row in enumerate(rows):
        turned = row.copy()
        others = [other for other in range(len(rows)) if other != task]
        for index in torch.randperm(len(others), generator=generator).tolist():
            other = rows[others[index]]
            cosine = turned @ other / np.linalg.norm(turned) / np.linalg.norm(other)
            if cosine < 0:
                turned = turned - cosine * np.linalg.norm(turned) / np.linalg.norm(other) * other
        total += turned
    return total


def cagrad(rows: Rows, balancer: GradientBalancer) -> Rows:
    """The direction itself, by the largest lower bound on its products; the paper solves the dual."""
    mean = rows.mean(0)
    ball = {"type": "ineq", "fun": lambda point: (0.8**2) * (mean @ mean) - np.square(point[:-1] - mean).sum()}
    products = {"type": "ineq", "fun": lambda point: rows @ point[:-1] - point[-1]}
    start = np.append(mean, (rows @ mean).min())
    options = {"ftol": 1e-14, "maxiter": 500}
    solved = optimize.minimize(
        lambda point: -point[-1], start, method="SLSQP", constraints=[ball, products], options=options
    )
    return len(rows) * solved.x[:-1]


def imtl_g(rows: Rows, balancer: GradientBalancer) -> Rows:
    """Weights that sum to T and make the projections on all gradients equally long; nearly so where none do."""
    inverse = np.linalg.pinv(rows, rcond=1e-12)
    weights = inverse.T @ inverse @ lengths(rows)
    return len(rows) / weights.sum() * weights @ rows


def aligned_mtl(rows: Rows, balancer: GradientBalancer) -> Rows:
    left, sizes, right = np.linalg.svd(rows, full_matrices=False)
    rank = int((sizes > 1e-12 * sizes[0]).sum())
    return sizes[rank - 1] * (left[:, :rank] @ right[:rank]).sum(0)


def upgrad(rows: Rows, balancer: GradientBalancer) -> Rows:
    """Each gradient's projection on the dual cone: it, plus the combination of gradients ≥ 0 that leaves the least."""
    return sum(row + rows.T @ optimize.nnls(rows.T, -row)[0] for row in rows)


def nash_mtl(rows: Rows, balancer: GradientBalancer) -> Rows:
    """The root of Gα = 1/α with G as it is."""
    gramian = rows @ rows.T
    start = np.sqrt(1 / len(rows)) / lengths(rows)
    weights = np.exp(optimize.root(lambda logs: np.log(gramian @ np.exp(logs)) + logs, np.log(start), tol=1e-13).x)
    np.testing.assert_allclose(gramian @ weights, 1 / weights, rtol=1e-8)
    return weights @ rows


def fairgrad(rows: Rows, balancer: GradientBalancer) -> Rows:
    """The least of wᵀGw / 2 - Σ 2√w, whose derivative is 0 where G w = w^(-1/2); over log w, from which w > 0."""
    gramian = rows @ rows.T

    def height(logs: Rows) -> tuple[float, Rows]:
        weights = np.exp(logs)
        return weights @ gramian @ weights / 2 - 2 * np.sqrt(weights).sum(), weights * (gramian @ weights) - np.sqrt(weights)

    found = optimize.minimize(height, np.log(lengths(rows)) * -4 / 3, jac=True, method="BFGS", options={"gtol": 1e-11})
    return np.exp(found.x) @ rows


def stepped(rows: Rows) -> Rows:
    """The weights T·λ after a step of 0.1 from equal ones, by a search for the nearest point of the simplex."""
    count, gramian = len(rows), rows @ rows.T
    moved = np.full(count, 1 / count) - 0.1 * gramian @ np.full(count, 1 / count) / gramian.diagonal().mean()
    level = optimize.brentq(lambda level: np.maximum(moved - level, 0).sum() - 1, -9, 9, xtol=1e-15)
    return count * np.maximum(moved - level, 0)


def modo(rows: Rows, balancer: GradientBalancer) -> Rows:
    return stepped(rows) @ rows


def moco(rows: Rows, balancer: GradientBalancer) -> Rows:
    """The first step: averages that are half the gradients."""
    return stepped(rows) @ rows / 2


def sdmgrad(rows: Rows, balancer: GradientBalancer) -> Rows:
    """The nearest point to 0 of the gradients' convex combinations plus 0.3 times their mean."""
    moved = rows + 0.3 * rows.mean(0)
    return len(rows) * shortest(moved) / 1.3


def excess_mtl(rows: Rows, balancer: GradientBalancer) -> Rows:
    """The first step, whose weights are 1."""
    return rows.sum(0)


def graddrop(rows: Rows, balancer: GradientBalancer) -> Rows:
    generator = copy.deepcopy(balancer.draws).generator(torch.device("cpu"))
    draws = torch.rand(rows.shape[1], generator=generator).numpy()
    with np.errstate(invalid="ignore"):
        positive = draws < (1 + rows.sum(0) / np.abs(rows).sum(0)) / 2
    return np.where(positive, rows.clip(min=0).sum(0), rows.clip(max=0).sum(0))


def config(rows: Rows, balancer: GradientBalancer) -> Rows:
    direction = np.linalg.pinv(rows / lengths(rows)[:, None], rcond=1e-12) @ np.ones(len(rows))
    direction /= np.linalg.norm(direction)
    return (rows @ direction).sum() * direction


def db_mtl(rows: Rows, balancer: GradientBalancer) -> Rows:
    """The first step, with losses of 1, so that gradients of logarithms are the rows; averages start at 0, β is .9."""
    return 0.1 * lengths(rows).max() * (rows / lengths(rows)[:, None]).sum(0)


EQUATIONS: dict[str, Callable[[Rows, GradientBalancer], Rows]] = {
    "aligned_mtl": aligned_mtl,
    "cagrad": cagrad,
    "config": config,
    "db_mtl": db_mtl,
    "excess_mtl": excess_mtl,
    "fairgrad": fairgrad,
    "graddrop": graddrop,
    "gradvac": gradvac,
    "imtl_g": imtl_g,
    "mgda": mgda,
    "moco": moco,
    "modo": modo,
    "nash_mtl": nash_mtl,
    "pcgrad": pcgrad,
    "sdmgrad": sdmgrad,
    "upgrad": upgrad,
}
OPTIONS = {
    "cagrad": ":c=0.8",
    "fairgrad": ":alpha=2,max_norm=0",
    "nash_mtl": ":max_norm=0",
    "sdmgrad": ":steps=3000",
}
SPECS = {name: Spec.parse(name + OPTIONS.get(name, "")) for name in EQUATIONS}
POWERS = {"nash_mtl": 0.0, "fairgrad": -1 / 3}  # of the gradients' size in the update's; else 1
TOLERANCE = 1e-4  # of the update's length
INSTALLED = sorted({spec.name for spec in GRADIENT})


def make(name: str, count: int) -> GradientBalancer:
    balancer = SPECS[name].build([f"task{number}" for number in range(count)])
    assert isinstance(balancer, GradientBalancer)
    return balancer


def update(balancer: GradientBalancer, rows: Rows) -> Rows:
    shared = nn.Parameter(torch.zeros(rows.shape[1]))
    gradients = torch.tensor(rows, dtype=torch.float32)
    losses = {task: 1 + row @ shared for task, row in zip(balancer.tasks, gradients, strict=True)}
    balancer.backward(losses, shared=[shared])
    assert shared.grad is not None
    return shared.grad.double().numpy()


def expected(name: str, rows: Rows, balancer: GradientBalancer) -> Rows:
    """By the equation at size 1, where float64 has room, and the power of the size that the equation has."""
    size = lengths(rows).max()
    return EQUATIONS[name](rows / size, balancer) * size ** POWERS.get(name, 1.0)


def test_every_gradient_method_has_an_equation() -> None:
    assert set(INSTALLED) <= set(EQUATIONS)


@pytest.mark.parametrize("scale", [*SCALES, *EXTREMES])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("name", INSTALLED)
def test_the_update_is_the_equations(name: str, matrix: str, scale: float) -> None:
    rows = scale * np.array(MATRICES[matrix])
    balancer = make(name, len(rows))
    right = expected(name, rows, balancer)
    np.testing.assert_allclose(update(balancer, rows), right, rtol=0, atol=TOLERANCE * np.linalg.norm(right))


@pytest.mark.parametrize("scale", SCALES)
def test_nash_is_the_authors_length(scale: float) -> None:
    """What the authors' code and TorchJD give for these gradients, whatever their size."""
    found = update(make("nash_mtl", 2), scale * np.array([[2.0, 1], [-1.0, 1]]))
    np.testing.assert_allclose(found, [0.2265, 1.3960], atol=1e-4)
