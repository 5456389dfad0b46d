"""What a balancer costs: `python benchmarks/balancers.py`. All ratios of a row come from one interleaved run.

- "bare": update + forward + backward over bare losses, relative to a Python sum and its backward, for T tasks;
- "step": a whole training step of a small CNN with three heads, relative to the same step with a Python sum.
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.balancers import Balancer, Spec

SPECS = ["equal", "fixed", "uncertainty", "dtp", "dtp_paper"]


def ratio(run: Callable[[], object], base: Callable[[], object], calls: int, rounds: int = 31) -> float:
    """The median over rounds of time(run) / time(base), the two taking turns."""

    def seconds(function: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            function()
        return time.perf_counter() - start

    seconds(run), seconds(base)
    return statistics.median(seconds(run) / seconds(base) for _ in range(rounds))


def make(name: str, tasks: list[str]) -> Balancer:
    text = name if name != "fixed" else "fixed:" + ",".join(f"{task}=1" for task in tasks)
    return Spec.parse(text).build(tasks)


def bare(name: str, count: int) -> float:
    tasks = [f"task {number}" for number in range(count)]
    balancer = make(name, tasks)
    losses = {task: torch.rand((), requires_grad=True) for task in tasks}
    kpis: dict[str, Tensor | float] = {task: torch.rand(()) for task in tasks}

    def clear() -> None:
        for loss in losses.values():
            loss.grad = None

    def balanced() -> None:
        clear()
        balancer(losses, kpis).backward()

    def summed() -> None:
        clear()
        sum(losses.values()).backward()  # type: ignore[union-attr]

    return ratio(balanced, summed, calls=300)


def step(name: str) -> float:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten())
    heads = nn.ModuleDict({task: nn.Linear(16 * 24 * 24, 10) for task in "abc"})
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()])
    images, labels = torch.rand(64, 1, 28, 28), torch.randint(10, (64,))
    balancer = make(name, list("abc"))

    def train(total: Callable[[dict[str, Tensor], dict[str, Tensor | float]], Tensor]) -> None:
        optimizer.zero_grad()
        features = trunk(images)
        outputs = {task: head(features) for task, head in heads.items()}
        losses = {task: F.cross_entropy(output, labels) for task, output in outputs.items()}
        kpis = {task: (output.argmax(1) == labels).float().mean() for task, output in outputs.items()}
        total(losses, kpis).backward()
        optimizer.step()

    return ratio(
        lambda: train(balancer),
        lambda: train(lambda losses, _: sum(losses.values())),
        calls=5,
        rounds=15,  # type: ignore[return-value]
    )


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'balancer':14}{'bare T=3':>10}{'T=11':>8}{'T=40':>8}{'CNN step':>10}   (1.00 = Python sum)")
    for name in SPECS:
        figures = [bare(name, count) for count in (3, 11, 40)]
        print(f"{name:14}{figures[0]:10.2f}{figures[1]:8.2f}{figures[2]:8.2f}{step(name):10.3f}", flush=True)


if __name__ == "__main__":
    main()
