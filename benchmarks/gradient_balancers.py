"""Cost of gradient balancers: `python benchmarks/gradient_balancers.py [NAME …]`; it fails where a limit is exceeded.

Ratios are those of a step with `balancer.backward` to one forward and a backward for each loss, measured alternately.

- "CNN T=…": of a small CNN with T heads; the limit is 1.2;
- "passes": number of backward passes through the trunk in a step, for T = 3;
- "TorchJD": the same ratio for TorchJD's `mtl_backward` and its aggregator of the same name, T = 3, if it has one;
- "10M T=…": of an MLP with P = 10 million shared parameters and a batch of 256; the limit is 1.2, for three methods more.
  On a core on which the backward of a task takes 0.1 s, the float64 products of all pairs of rows take 0.03 s for T = 3 and
  0.4 s for T = 20; GradDrop takes 0.03 s for its draws, and 0.09 s (T = 3) for each parameter's equation and the weights;
  DB-MTL takes 0.03 s (T = 3) for its T·P averages and their lengths;
- "peak MiB": memory of this step, in a separate process, over that at its start; the limit is 1.3·T·P·4 bytes (and T·P·4
  for DB-MTL's averages), and what the other step takes, and 2·P·4 bytes for the update;
- "200 tasks": seconds a step with 200 tasks, of a small MLP and where gradients have 100 numbers; the limits are 5 and 15.
"""

import multiprocessing
import sys
import timeit
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchjd import aggregation
from torchjd.autojac import jac_to_grad, mtl_backward

from balancers import ratio
from hardfirst.balancers import BALANCERS, GradientBalancer
from hardfirst.networks import HardSharing

COUNTS = (3, 8)
LARGE = (3, 20)
AT_20 = ("db_mtl", "graddrop", "upgrad")  # of the three kinds: state for each parameter, columns, and inner products
WITH_ROWS = ("db_mtl", "excess_mtl", "moco")  # these keep a number for each task and parameter
MANY = ("gradvac", "pcgrad", "upgrad")  # these go through all pairs of tasks
MOST_TIME, MOST_MEMORY, MOST_SECONDS, MOST_SECONDS_DEPENDENT = 1.2, 1.3, 5, 15
MOST_TIME_LARGE = {
    ("upgrad", 20): 1.3,
    ("db_mtl", 3): 1.3,
    ("db_mtl", 20): 1.4,
    ("moco", 3): 1.4,
    ("excess_mtl", 3): 1.5,
    ("graddrop", 3): 1.5,
    ("graddrop", 20): 1.5,
}
MIB = 2**20
TORCHJD: Mapping[str, Callable[[], nn.Module]] = {
    "pcgrad": aggregation.PCGrad,
    "mgda": aggregation.MGDA,
    "cagrad": lambda: aggregation.CAGrad(c=0.4),
    "imtl_g": aggregation.IMTLG,
    "nash_mtl": lambda: aggregation.NashMTL(3),
    "aligned_mtl": aggregation.AlignedMTL,
    "upgrad": aggregation.UPGrad,
    "gradvac": aggregation.GradVac,
    "graddrop": aggregation.GradDrop,
    "config": aggregation.ConFIG,
}


class Step:
    """A training step of a network with a head for each task.

    Args:
        tasks: how many there are.
        trunk: what they share.
        inputs: a batch.
        features: how many numbers the trunk gives for an example.
    """

    def __init__(self, tasks: int, trunk: nn.Module, inputs: Tensor, features: int) -> None:
        self.tasks = [f"task{number}" for number in range(tasks)]
        self.network = HardSharing(trunk, {task: nn.Linear(features, 10) for task in self.tasks})
        self.inputs = inputs
        self.labels = torch.randint(10, (tasks, len(inputs)))
        self.passes = 0

    def forward(self) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.zero_grad()
        features = self.network.trunk(self.inputs)
        features.register_hook(self._count)
        outputs = {task: head(features) for task, head in zip(self.tasks, self.network.heads.values(), strict=True)}
        return features, {task: F.cross_entropy(outputs[task], self.labels[n]) for n, task in enumerate(self.tasks)}

    def plain(self) -> None:
        """Run one forward, and a backward for each loss."""
        _, losses = self.forward()
        for loss in losses.values():
            loss.backward(retain_graph=True)

    def balanced(self, balancer: GradientBalancer) -> None:
        _, losses = self.forward()
        balancer.backward(losses, shared=self.network.shared_parameters())

    def torchjds(self, aggregator: nn.Module) -> None:
        features, losses = self.forward()
        mtl_backward(list(losses.values()), features=features)
        jac_to_grad(self.network.shared_parameters(), aggregator)

    def shared(self) -> int:
        return sum(parameter.numel() for parameter in self.network.shared_parameters())

    def _count(self, gradient: Tensor) -> None:
        self.passes += 1


def cnn(tasks: int) -> Step:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten()]
    return Step(tasks, nn.Sequential(*layers), torch.rand(64, 1, 28, 28), 16 * 36)


def mlp(tasks: int, *sizes: int) -> Step:
    torch.manual_seed(0)
    layers = [layer for size, following in pairwise(sizes) for layer in (nn.Linear(size, following), nn.ReLU())]
    return Step(tasks, nn.Sequential(*layers), torch.rand(256, sizes[0]), sizes[-1])


def large(tasks: int) -> Step:
    return mlp(tasks, 512, 2048, 2048, 2048, 256)


def cost(name: str, step: Step, calls: int = 3, rounds: int = 11) -> float:
    balancer = make(name, step.tasks)
    return ratio(lambda: step.balanced(balancer), step.plain, calls, rounds)


def passes(name: str) -> int:
    step = cnn(3)
    step.balanced(make(name, step.tasks))
    return step.passes


def rival(name: str) -> str:
    if name not in TORCHJD:
        return f"{'–':>9}"
    step, aggregator = cnn(3), TORCHJD[name]()
    return f"{ratio(lambda: step.torchjds(aggregator), step.plain, calls=3, rounds=11):9.2f}"


def make(name: str, tasks: list[str]) -> GradientBalancer:
    balancer = BALANCERS[name](tasks)
    assert isinstance(balancer, GradientBalancer)
    return balancer


def peak(name: str | None, tasks: int) -> int:
    """Bytes that two steps take at most, over those of the process before them; the plain step's without a name."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (name, tasks))


def _peak(name: str | None, tasks: int) -> int:
    torch.set_num_threads(1)
    step = large(tasks)
    balancer = make(name, step.tasks) if name else None
    torch.linalg.eigh(torch.eye(2, dtype=torch.float64))  # loads libraries
    before = _highest()
    for _ in range(2):
        step.balanced(balancer) if balancer else step.plain()
    return _highest() - before


def _highest() -> int:
    """The most memory that this process has had; `ru_maxrss` begins at that of the process that starts it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def seconds(run: Callable[[], object]) -> float:
    """The faster of two calls, after a first one."""
    run()
    return min(timeit.repeat(run, number=1, repeat=2))


def step_seconds(name: str, step: Step) -> float:
    balancer = make(name, step.tasks)
    return seconds(lambda: step.balanced(balancer))


def dependent_seconds(name: str, tasks: int, size: int) -> float:
    """Seconds a step of losses that are linear in a single parameter, which has fewer numbers than there are tasks."""
    torch.manual_seed(0)
    balancer = make(name, [f"task{number}" for number in range(tasks)])
    shared, rows = nn.Parameter(torch.zeros(size)), torch.randn(tasks, size)

    def run() -> None:
        losses = dict(zip(balancer.tasks, (1 + rows @ shared).unbind(), strict=True))
        balancer.backward(losses, shared=[shared])

    return seconds(run)


class Limits:
    """Writes measurements, and keeps those that are above their limits."""

    def __init__(self) -> None:
        self.exceeded: list[str] = []

    def show(self, what: str, value: float, limit: float, form: str) -> str:
        if value > limit:
            self.exceeded.append(f"{what}: {value:.2f}, limit {limit:.2f}")
        return f"{value:{form}}"


def small_networks(names: list[str], limits: Limits) -> None:
    print("balancer      " + "".join(f"{f'CNN T={count}':>9}" for count in COUNTS) + "  passes  TorchJD")
    for name in names:
        costs = [limits.show(f"{name}, CNN T={count}", cost(name, cnn(count)), MOST_TIME, "9.2f") for count in COUNTS]
        print(f"{name:14}{''.join(costs)}{passes(name):8}{rival(name)}", flush=True)


def large_networks(names: list[str], limits: Limits) -> None:
    print("\nbalancer      10M T=…    ratio   limit  peak MiB   limit")
    plain = {count: peak(None, count) for count in LARGE}
    for name in names:
        for count in LARGE if name in AT_20 else LARGE[:1]:
            step = large(count)
            what = f"{name}, 10M T={count}"
            most_time = MOST_TIME_LARGE.get((name, count), MOST_TIME)
            time_ratio = limits.show(what, cost(name, step, calls=1, rounds=5 if count == 3 else 3), most_time, "9.2f")
            copies = (MOST_MEMORY + (name in WITH_ROWS)) * count + 2
            most = (plain[count] + copies * step.shared() * 4) / MIB
            memory = limits.show(f"{what}, MiB", peak(name, count) / MIB, most, "10.0f")
            print(f"{name:14}{count:7}{time_ratio}{most_time:8}{memory}{most:8.0f}", flush=True)


def many_tasks(names: list[str], limits: Limits) -> None:
    print("\n200 tasks      seconds   limit  dependent   limit")
    for name in names:
        usual = limits.show(f"{name}, 200 tasks", step_seconds(name, mlp(200, 32, 64, 64)), MOST_SECONDS, "9.2f")
        hard = limits.show(f"{name}, 200 dependent", dependent_seconds(name, 200, 100), MOST_SECONDS_DEPENDENT, "11.2f")
        print(f"{name:13}{usual}{MOST_SECONDS:8}{hard}{MOST_SECONDS_DEPENDENT:8}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    gradient = [name for name, made in BALANCERS.items() if isinstance(made, type) and issubclass(made, GradientBalancer)]
    names = sys.argv[1:] or sorted(gradient)
    limits = Limits()
    small_networks(names, limits)
    large_networks(names, limits)
    many_tasks([name for name in names if name in MANY], limits)
    if limits.exceeded:
        sys.exit("above the limit: " + "; ".join(limits.exceeded))


if __name__ == "__main__":
    main()
