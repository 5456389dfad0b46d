"""Cost of balancers on a GPU: `python benchmarks/gpu.py`. Without one, it runs on the CPU on small pictures and says so.

- "step": a training step of a network of the size of ResNet-50 with three heads in bfloat16, relative to the same step with
  a plain sum of the losses, measured alternately; gradient methods take the trunk's parameters;
- "waits": how often a step waits for the device, by torch.cuda.set_sync_debug_mode; on the CPU they are not counted;
- "launches": kernels that a balancer starts in a step before backward; on the CPU, tensor operations;
- last, a small study on the local engine with `--accelerator auto`: wall time, seconds a run, and the devices that its
  records name.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from balancers import COUNTS, Bare, Operations
from hardfirst.balancers import Balancer, LossBalancer, Spec
from hardfirst.studies import Plan, Runner, places

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
BATCH, PIXELS, ROUNDS = (64, 224, 15) if GPU else (2, 64, 3)
TASKS = ("a", "b", "c")
METHODS = ("equal", "dtp", "uncertainty", "upgrad")


class Bottleneck(nn.Module):
    """A residual block of ResNet-50."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            *_convolution(inputs, width, 1, 1),
            nn.ReLU(inplace=True),
            *_convolution(width, width, 3, stride),
            nn.ReLU(inplace=True),
            *_convolution(width, outputs, 1, 1),
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Sequential(*_convolution(inputs, outputs, 1, stride))

    def forward(self, inputs: Tensor) -> Tensor:
        return F.relu(self.body(inputs) + self.skip(inputs))


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


def trunk() -> nn.Module:
    layers: list[nn.Module] = [*_convolution(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Step:
    """A training step with a way to go back from the losses."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.trunk = trunk().to(DEVICE)
        self.heads = nn.ModuleDict({task: nn.Linear(2048, 10) for task in TASKS}).to(DEVICE)
        self.optimizer = torch.optim.SGD([*self.trunk.parameters(), *self.heads.parameters()], lr=1e-4)
        self.images = torch.randn(BATCH, 3, PIXELS, PIXELS, device=DEVICE)
        self.labels = torch.randint(10, (BATCH,), device=DEVICE)

    def run(self, backward: Callable[[dict[str, Tensor], dict[str, Tensor], Tensor], None]) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16):
            features = self.trunk(self.images)
            outputs = {task: head(features) for task, head in self.heads.items()}
            losses = {task: F.cross_entropy(output, self.labels) for task, output in outputs.items()}
        kpis = {task: (output.argmax(1) == self.labels).float().mean() for task, output in outputs.items()}
        backward(losses, kpis, features)
        self.optimizer.step()


def plain(losses: dict[str, Tensor], kpis: dict[str, Tensor], features: Tensor) -> None:
    torch.stack(list(losses.values())).sum().backward()


def balanced(balancer: Balancer, shared: Iterable[nn.Parameter]) -> Callable[..., None]:
    parameters = list(shared)
    return lambda losses, kpis, features: balancer.backward(losses, kpis, shared=parameters)


def seconds(step: Step, backward: Callable[..., None]) -> float:
    start = time.perf_counter()
    step.run(backward)
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def waits(step: Step, backward: Callable[..., None]) -> str:
    if not GPU:
        return "–"
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step.run(backward)
    torch.cuda.set_sync_debug_mode("default")
    return str(sum("synchroniz" in str(warning.message) for warning in caught))


def launches(name: str, count: int) -> int:
    """The kernels, or without a GPU the operations, of a balancer's forward in a step that is not its first."""
    problem = Bare(count)
    losses = {task: loss.detach().to(DEVICE).requires_grad_() for task, loss in problem.losses().items()}
    kpis = {task: kpi.to(DEVICE) for task, kpi in problem.kpis.items()}
    balancer = Spec.parse(name).build(problem.tasks).to(DEVICE)
    assert isinstance(balancer, LossBalancer)
    balancer(losses, kpis)
    if not GPU:
        with Operations() as counted:
            balancer(losses, kpis)
        return counted.count
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        balancer(losses, kpis)
        torch.cuda.synchronize()
    return sum(event.count for event in profiled.key_averages() if event.device_type.name == "CUDA")


def study() -> str:
    """A comparison on the local engine: its wall time, and the devices that its records name."""
    plan = Plan(problems="digits", balancers="equal,dtp", seeds=2, epochs=5, baselines=False, controls=False)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        runner = Runner(plan, Path(folder))
        runner.run()
        wall = time.perf_counter() - start
        trials = [record for _, record in runner.store.records()]
    at_once, where = places(plan)
    ended = sum(trial.outcome == "finished" for trial in trials)
    memory = f"; at most {max(trial.memory for trial in trials) / 2**20:.0f} MiB a run" if GPU else ""
    devices = ", ".join(sorted({trial.made_with["device"] for trial in trials}))
    return (
        f"A study of {len(trials)} runs of digits with --accelerator auto, {at_once} at a time on {where}: {ended} finished "
        f"in {wall:.1f} s, {statistics.mean(trial.seconds for trial in trials):.1f} s a run; its records name "
        f"{devices}{memory}"
    )


def main() -> None:
    if GPU:
        print(f"On {torch.cuda.get_device_name()}, torch {torch.__version__}, {BATCH} pictures of {PIXELS}² a step")
    else:
        print(
            f"On the CPU, since there is no GPU, with {BATCH} pictures of {PIXELS}² a step: no figure here is one of a GPU"
        )
    step = Step()
    ways = {name: balanced(Spec.parse(name).build(TASKS).to(DEVICE), step.trunk.parameters()) for name in METHODS}
    for backward in (plain, *ways.values()):
        seconds(step, backward)
    print(f"{'method':14}{'step':>8}{'waits':>8}" + "".join(f"{f'launches T={count}':>17}" for count in COUNTS))
    for name, backward in ways.items():
        ratio = statistics.median(seconds(step, backward) / seconds(step, plain) for _ in range(ROUNDS))
        counts = [f"{launches(name, count)}" if name != "upgrad" else "–" for count in COUNTS]
        print(f"{name:14}{ratio:8.2f}{waits(step, backward):>8}" + "".join(f"{text:>17}" for text in counts), flush=True)
    print(study())


if __name__ == "__main__":
    main()
