"""Properties that TorchJD claims for its aggregators, and their values, for the methods that both have."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hardfirst.balancers import GradientBalancer, Spec
from table import GRADIENT

oracle = pytest.importorskip("torchjd.aggregation", reason="needs `pip install torchjd`", exc_type=ImportError)
QuadprogProjector = pytest.importorskip("torchjd.linalg").QuadprogProjector
pytest.importorskip("quadprog")

NAMES = sorted({spec.name for spec in GRADIENT})
RANDOM = {"gradvac", "pcgrad"}  # these go through the tasks in random order


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_rank(tasks: int, size: int, rank: int) -> Tensor:
    return draw(tasks, rank) @ draw(rank, size, seed=1)


def orthogonal_to(weights: Tensor, size: int) -> Tensor:
    """Gradients whose sum with these weights is 0."""
    rows = draw(len(weights), size)
    return rows - weights.outer(weights @ rows) / weights.square().sum()


TYPICAL = {
    "one": draw(1, 4),
    "three of three": draw(3, 3),
    "five of forty": draw(5, 40),
    "rank 1": of_rank(4, 3, 1),
    "rank 2": of_rank(4, 3, 2),
    "rank 5": of_rank(9, 11, 5),
    "sum": torch.cat([draw(2, 6), draw(2, 6).sum(0, keepdim=True)]),
    "identical": draw(1, 4).repeat(3, 1),
    "opposite": torch.cat([draw(1, 4), -draw(1, 4)]),
    "opposite and a third": torch.cat([draw(1, 4), -2 * draw(1, 4), draw(1, 4, seed=1)]),
    "zero row": torch.cat([draw(2, 4), torch.zeros(1, 4, dtype=torch.float64)]),
    "stationary": orthogonal_to(torch.tensor([1.0, 2, 0.5, 1, 3], dtype=torch.float64), 3),
    "sizes": draw(3, 5) * torch.tensor([[1e-3], [1.0], [1e3]], dtype=torch.float64),
}
# no combination with weights that are all above 0 is 0
NOT_STATIONARY = {
    "half-space": draw(5, 6) * torch.tensor([1.0, 1, 1, 1, 1, 0], dtype=torch.float64)
    + torch.eye(6, dtype=torch.float64)[5],
    "two opposite": torch.cat([draw(1, 5), -draw(1, 5), draw(1, 5, seed=1)]),
}
FAR = {"far sizes": draw(3, 5) * torch.tensor([[1e-25], [1.0], [1e19]], dtype=torch.float64)}
SCALES = [0.0, 1e-25, 1e-10, 1.0, 1e3, 1e10, 1e19, 2e19, 1e30]


def make(spec: str, count: int) -> GradientBalancer:
    balancer = Spec.parse(spec).build([f"task{number}" for number in range(count)])
    assert isinstance(balancer, GradientBalancer)
    return balancer


def update(spec: str, rows: Tensor) -> Tensor:
    """An aggregator's view of a new balancer: losses that are linear in one shared parameter, with these gradients."""
    return update_of(make(spec, len(rows)), rows)


def update_of(balancer: GradientBalancer, rows: Tensor) -> Tensor:
    shared = nn.Parameter(torch.zeros(rows.shape[1]))
    losses = {task: 1 + row @ shared for task, row in zip(balancer.tasks, rows.float(), strict=True)}
    balancer.backward(losses, shared=[shared])
    assert shared.grad is not None
    return shared.grad.double()


def longest(rows: Tensor) -> float:
    return float(rows.norm(dim=1).max())


def assert_near(found: Tensor, right: Tensor, size: float, tolerance: float = 1e-4) -> None:
    assert float((found - right).norm()) <= tolerance * size


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", NAMES)
def test_the_update_is_finite(name: str, scale: float) -> None:
    for matrix, rows in (TYPICAL | (FAR if scale == 1 else {})).items():
        assert update(name, scale * rows).isfinite().all(), matrix


@pytest.mark.parametrize("matrix", TYPICAL)
@pytest.mark.parametrize("name", sorted(set(NAMES) - RANDOM))
def test_the_order_of_tasks_does_not_matter(name: str, matrix: str) -> None:
    rows = TYPICAL[matrix]
    before = update(name, rows)
    for seed in range(3):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        assert_near(update(name, rows[order]), before, longest(rows))


@pytest.mark.parametrize("matrix", TYPICAL)
@pytest.mark.parametrize("name", ["config", "gradvac", "pcgrad", "upgrad"])
def test_linear_under_scaling(name: str, matrix: str) -> None:
    """As a function of positive factors of the rows, one each."""
    rows = TYPICAL[matrix]
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        first, second = torch.rand(2, len(rows), 1, generator=generator, dtype=torch.float64) + 1e-3
        one, other = torch.rand(2, generator=generator, dtype=torch.float64)
        right = one * update(name, first * rows) + other * update(name, second * rows)
        assert_near(update(name, (one * first + other * second) * rows), right, longest(rows))


# Of the longest gradient: UPGrad's, MGDA's and Nash-MTL's problems are regularised.
TOLERANCES = {"upgrad": 1e-5, "cagrad:c=1": 1e-5, "cagrad:c=2": 1e-5, "nash_mtl": 1e-5, "mgda": 1e-3}
CANCEL = {"rank 2", "stationary"}  # no direction improves all tasks, and there is no bargain


@pytest.mark.parametrize("matrix", [*TYPICAL, *NOT_STATIONARY])
@pytest.mark.parametrize("spec", TOLERANCES)
def test_no_task_gets_worse(spec: str, matrix: str) -> None:
    if spec == "nash_mtl" and matrix in CANCEL:
        return
    rows = (TYPICAL | NOT_STATIONARY)[matrix]
    found = update(spec, rows)
    products = rows @ found / rows.norm(dim=1).clamp(min=1e-30)
    assert products.min() >= -1e-4 * found.norm() - TOLERANCES[spec] * longest(rows)


@pytest.mark.parametrize("matrix", NOT_STATIONARY)
def test_upgrad_is_not_0_where_a_task_can_still_improve(matrix: str) -> None:
    assert update("upgrad", NOT_STATIONARY[matrix]).norm() > 0.1


def same_draws(make_other: Callable[[], nn.Module]) -> Callable[[GradientBalancer, Tensor], Tensor]:
    """TorchJD's, which takes torch's global random numbers, with those of the balancer's next step."""

    def aggregate(balancer: GradientBalancer, rows: Tensor) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(copy.deepcopy(balancer.draws).generator(torch.device("cpu")).initial_seed())
            return make_other()(rows)

    return aggregate


def times_tasks(other: nn.Module) -> Callable[[GradientBalancer, Tensor], Tensor]:
    """For weights that sum to T here and to 1 there."""
    return lambda balancer, rows: len(rows) * other(rows)


def nash(balancer: GradientBalancer, rows: Tensor) -> Tensor:
    other = oracle.NashMTL(len(rows), optim_niter=200)
    for _ in range(5):  # it starts from the weights of the step before
        found = other(rows)
    return found


def fair(balancer: GradientBalancer, rows: Tensor) -> Tensor:
    """Cut to the length 1, as the default here is."""
    found = oracle.FairGrad(alpha=1.0)(rows)
    return found / found.norm().clamp(min=1)


def weighted(other: nn.Module, *, unit: bool = False) -> Callable[[GradientBalancer, Tensor], Tensor]:
    """A weighting of theirs for a matrix that may be of two batches, here of one; `unit` for a mean square length of 1."""

    def aggregate(balancer: GradientBalancer, rows: Tensor) -> Tensor:
        gramian = rows @ rows.T
        weights = copy.deepcopy(other)(gramian / gramian.diagonal().mean() if unit else gramian)
        return len(rows) * weights @ rows

    return aggregate


ORACLES: dict[str, Callable[[GradientBalancer, Tensor], Tensor]] = {
    "aligned_mtl": times_tasks(oracle.AlignedMTL()),
    "cagrad": times_tasks(oracle.CAGrad(c=0.4)),
    "config": lambda balancer, rows: oracle.ConFIG()(rows),
    "fairgrad": fair,
    "graddrop": same_draws(oracle.GradDrop),
    "gradvac": same_draws(lambda: oracle.GradVac(beta=0.01)),
    "imtl_g": times_tasks(oracle.IMTLG()),
    "mgda": times_tasks(oracle.MGDA()),
    "modo": weighted(oracle.MoDoWeighting(gamma=0.1, rho=0), unit=True),
    "nash_mtl": nash,
    "pcgrad": same_draws(oracle.PCGrad),
    "sdmgrad": weighted(oracle.SDMGradWeighting(lr=0.5)),
    "upgrad": times_tasks(oracle.UPGrad(projector=QuadprogProjector(reg_eps=1e-7))),
}

VALUES = {
    **TYPICAL,
    **NOT_STATIONARY,
    "tiny": 1e-10 * TYPICAL["five of forty"],
    "huge": 1e10 * TYPICAL["five of forty"],
}


def difference(name: str, rows: Tensor) -> float:
    """Between the updates, relative to TorchJD's; to a tenth of the shortest gradient where that is smaller."""
    balancer = make(name, len(rows))
    theirs = ORACLES[name](balancer, rows.float() if name == "graddrop" else rows).double()
    lengths = rows.norm(dim=1)
    size = max(float(theirs.norm()), 0.1 * float(lengths[lengths > 0].min()))
    return float((update_of(balancer, rows) - theirs).norm()) / size


# The differences that stay, by method: a part of the note that says why, and their sizes.
DIFFERENCES: dict[str, tuple[str, dict[str, float]]] = {
    "cagrad": ("treats those shorter than about 0.01 as 0", {"tiny": 23}),
    "fairgrad": (
        "may stop before the solution",
        {
            "rank 1": 0.0038,
            "rank 2": 0.0059,
            "opposite and a third": 0.00029,
            "stationary": 0.26,
            "sizes": 0.12,
            "tiny": 1.3e6,
        },
    ),
    "gradvac": ("adds 1e-8 to denominators", {"tiny": 0.56}),
    "mgda": (
        "may end before the shortest combination",
        {
            "three of three": 0.0031,
            "five of forty": 0.011,
            "rank 2": 0.018,
            "rank 5": 0.12,
            "opposite and a third": 1,
            "stationary": 1,
            "sizes": 0.052,
            "half-space": 0.024,
            "two opposite": 1,
            "tiny": 0.011,
            "huge": 0.011,
        },
    ),
    "nash_mtl": (
        "keeps these if the solver fails",
        {
            "rank 1": 1,
            "rank 2": 1,
            "opposite and a third": 1.1,
            "two opposite": 0.55,
            "zero row": 0.21,
            "stationary": 1,
            "sizes": 0.48,
            "tiny": 8e8,
        },
    ),
    "sdmgrad": ("adds 1e-8 to the mean square length", {"tiny": 0.58}),
    "upgrad": ("regularizes relative to the longest gradient", {"sizes": 3.9e-3, "tiny": 0.62}),
}


# theirs fails for a single task
PAIRS = [(name, matrix) for name in ORACLES for matrix in VALUES if (name, matrix) != ("nash_mtl", "one")]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # of Nash-MTL's solver
@pytest.mark.parametrize(("name", "matrix"), PAIRS)
def test_the_value_is_torchjds_but_for_a_difference_that_the_card_tells(name: str, matrix: str) -> None:
    if name == "nash_mtl":
        pytest.importorskip("ecos")
    found = difference(name, VALUES[matrix])
    words, sizes = DIFFERENCES.get(name, ("", {}))
    if matrix in sizes:
        assert sizes[matrix] / 2 < found < sizes[matrix] * 2
        assert words in " ".join((Spec(name).method.__doc__ or "").split())
    else:
        assert found < 2e-4


def test_every_method_that_both_have_is_compared() -> None:
    assert set(ORACLES) == set(NAMES) - {"db_mtl", "moco"} - {"excess_mtl"}  # its first step is another
