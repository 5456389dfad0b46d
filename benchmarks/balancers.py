"""Cost of loss balancers: `python benchmarks/balancers.py [NAME …]`. The ratios of a row come from one interleaved run.

- "bare T=…": computing the total of T bare losses with KPIs, and backward, relative to a Python sum and its backward;
- "CNN step": a whole training step of a small CNN with three heads, relative to the same step with a Python sum;
- "ops T=…": number of tensor operations, without views, that the balancer runs in a step before backward;
- "TorchJD T=3": "bare T=3" with TorchJD's method of the same name, if it has one.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchjd import scalarization

from hardfirst.balancers import BALANCERS, GradientBalancer, LossBalancer, Spec
from operations import Operations

COUNTS = (3, 11, 40)
Losses = dict[str, Tensor]
Total = Callable[[Losses, Mapping[str, Tensor]], Tensor]

TORCHJD: dict[str, Callable[[int], Callable[[Tensor], Tensor]]] = {
    "equal": lambda count: scalarization.Sum(),
    "fixed": lambda count: scalarization.Constant(torch.ones(count)),
    "uncertainty": scalarization.UW,
    "dwa": lambda count: scalarization.DWA(),
    "random": lambda count: scalarization.Random(),
    "geometric": lambda count: scalarization.GeometricMean(),
    "imtl_l": scalarization.IMTLL,
    "stch": lambda count: scalarization.STCH(mu=1.0),
}


def ratio(run: Callable[[], object], base: Callable[[], object], calls: int, rounds: int = 31) -> float:
    """The median over rounds of time(run) / time(base), measured alternately."""

    def seconds(function: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        return time.perf_counter() - start

    seconds(run), seconds(base)
    return statistics.median(seconds(run) / seconds(base) for _ in range(rounds))


def make(name: str, tasks: list[str]) -> LossBalancer:
    options = {
        "fixed": ":" + ",".join(f"{task}=1" for task in tasks),
        "curriculum": f":order={'+'.join(tasks)},epochs=10",
        "hard_first": ":steps=1000000",  # in the search
    }
    balancer = Spec.parse(name + options.get(name, "")).build(tasks)
    assert isinstance(balancer, LossBalancer)
    return balancer


class Bare:
    """T losses, each one operation away from a shared parameter, and T KPIs."""

    def __init__(self, count: int) -> None:
        self.tasks = [f"task{number}" for number in range(count)]
        self.shared = nn.Parameter(torch.ones(()))
        self.factors = (torch.rand(count) + 0.1).unbind()
        self.kpis = {task: torch.rand(()) for task in self.tasks}

    def losses(self) -> Losses:
        return {task: self.shared * factor for task, factor in zip(self.tasks, self.factors, strict=True)}

    def leaves(self) -> Losses:
        return {task: factor.clone().requires_grad_() for task, factor in zip(self.tasks, self.factors, strict=True)}


def bare(count: int, make_total: Callable[[Bare], Total]) -> float:
    """Time the total and its backward only: the losses are leaves; `bare_with_shared` is for GradNorm."""
    problem = Bare(count)
    total = make_total(problem)
    leaves = problem.leaves()

    def step(make_it: Total) -> None:
        for leaf in leaves.values():
            leaf.grad = None
        make_it(leaves, problem.kpis).backward()

    return ratio(lambda: step(total), lambda: step(python_sum), calls=200)


def bare_with_shared(count: int, name: str) -> float:
    problem = Bare(count)
    balancer = make(name, problem.tasks)

    def step(make_it: Total) -> None:
        problem.shared.grad = None
        make_it(problem.losses(), problem.kpis).backward()

    def total(losses: Losses, kpis: Mapping[str, Tensor]) -> Tensor:
        return balancer(losses, kpis, shared=[problem.shared])

    return ratio(lambda: step(total), lambda: step(python_sum), calls=50)


def python_sum(losses: Losses, kpis: Mapping[str, Tensor]) -> Tensor:
    total = sum(losses.values())
    assert isinstance(total, Tensor)
    return total


def ours(name: str) -> Callable[[Bare], Total]:
    return lambda problem: make(name, problem.tasks)


def torchjds(name: str) -> Callable[[Bare], Total]:
    def make_total(problem: Bare) -> Total:
        scalarizer = TORCHJD[name](len(problem.tasks))
        return lambda losses, kpis: scalarizer(torch.stack(list(losses.values())))

    return make_total


def operations(name: str, count: int) -> int:
    problem = Bare(count)
    balancer = make(name, problem.tasks)
    losses = problem.losses()
    balancer(problem.losses(), problem.kpis, shared=[problem.shared])
    with Operations() as counted:
        balancer(losses, problem.kpis, shared=[problem.shared])
    return counted.count


def cnn_step(name: str) -> float:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten())
    heads = nn.ModuleDict({task: nn.Linear(16 * 24 * 24, 10) for task in "abc"})
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()])
    images, labels = torch.rand(64, 1, 28, 28), torch.randint(10, (64,))
    balancer = make(name, list("abc"))
    last = [*trunk[2].parameters()]

    def train(total: Total) -> None:
        optimizer.zero_grad()
        features = trunk(images)
        outputs = {task: head(features) for task, head in heads.items()}
        losses = {task: F.cross_entropy(output, labels) for task, output in outputs.items()}
        kpis = {task: (output.argmax(1) == labels).float().mean() for task, output in outputs.items()}
        total(losses, kpis).backward()
        optimizer.step()

    return ratio(
        lambda: train(lambda losses, kpis: balancer(losses, kpis, shared=last)),
        lambda: train(python_sum),
        calls=5,
        rounds=15,
    )


def row(name: str) -> str:
    needs_shared = "shared" in make(name, ["a", "b"]).needs
    times = [bare_with_shared(count, name) if needs_shared else bare(count, ours(name)) for count in COUNTS]
    counts = [operations(name, count) for count in COUNTS]
    rival = f"{bare(3, torchjds(name)):13.2f}" if name in TORCHJD else f"{'–':>13}"
    return (
        f"{name:18}{times[0]:9.2f}{times[1]:7.2f}{times[2]:7.2f}{cnn_step(name):10.3f}"
        f"{counts[0]:9}{counts[1]:6}{counts[2]:6}{rival}"
    )


def main() -> None:
    torch.set_num_threads(1)
    print("ratios to a Python sum (1.00 = as fast); operations per step")
    print("balancer           bare T=3   T=11   T=40  CNN step  ops T=3  T=11  T=40  TorchJD T=3")
    gradient = {name for name, made in BALANCERS.items() if isinstance(made, type) and issubclass(made, GradientBalancer)}
    for name in sys.argv[1:] or sorted(set(BALANCERS) - gradient - {"frozen"}):
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
