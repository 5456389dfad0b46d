"""Record your own runs: any loop, several methods and seeds, and one report of them.

    + recorder = RunRecorder(folder, {"problem": "synthetic", "balancer": method, "seed": seed})
    + recorder.begin(TASKS, network)
      for epoch in range(epochs):
          train_one_epoch(network, balancer)
          kpis = validate(network)
    +     recorder.epoch(seconds=seconds, learning_rate=0.01, tasks={"easy": {"validation_kpi": kpis["easy"]}, ...})
    + recorder.test({"easy": {"kpi": test_kpis["easy"]}, ...}, best=False)
    + recorder.end()

`hardfirst report FOLDER` then makes the same page as for a study, with the same intervals and tests. Use the same seeds for
every method, so that differences are paired, and record equal weights as the baseline.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst import HardSharing, Spec, kpi
from hardfirst.integrations import RunRecorder
from hardfirst.report import Comparison

TASKS = ("easy", "hard")


def split(examples: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Random inputs: is the first one positive, and is the product of the first two?"""
    inputs = torch.randn(examples, 8, generator=torch.Generator().manual_seed(seed))
    return inputs, {"easy": (inputs[:, 0] > 0).long(), "hard": (inputs[:, 0] * inputs[:, 1] > 0).long()}


def measure(network: nn.Module, inputs: Tensor, targets: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses and KPIs of a batch or a split."""
    outputs = network(inputs)
    losses = {task: F.cross_entropy(outputs[task], targets[task]) for task in TASKS}
    return losses, {task: kpi.accuracy(outputs[task], targets[task]) for task in TASKS}


def run(method: str, seed: int, folder: Path, epochs: int = 5) -> None:
    """Train one network, and record it."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
    network = HardSharing(trunk, {task: nn.Linear(32, 2) for task in TASKS})
    balancer = Spec.parse(method).build(TASKS)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    train, validation, test = split(128, seed=1), split(256, seed=2), split(256, seed=3)
    recorder = RunRecorder(folder, {"problem": "synthetic", "balancer": method, "seed": seed})
    recorder.begin(TASKS, network)
    for _ in range(epochs):
        began = time.monotonic()
        for _ in range(10):
            losses, kpis = measure(network, *train)
            optimizer.zero_grad()
            balancer.backward(losses, kpis, shared=network.shared_parameters())
            optimizer.step()
        balancer.end_epoch()
        with torch.no_grad():
            validated = measure(network, *validation)[1]
        figures = {
            task: {"weight": float(balancer.weights[task]), "validation_kpi": float(validated[task])} for task in TASKS
        }
        recorder.epoch(seconds=time.monotonic() - began, learning_rate=0.01, tasks=figures)
    with torch.no_grad():
        tested = measure(network, *test)[1]
    recorder.test({task: {"kpi": float(tested[task])} for task in TASKS}, best=False)
    recorder.end()


def main(folder: Path | None = None) -> Comparison:
    """Record two methods with three seeds each, and compare them.

    Args:
        folder: for the records and the page; default: a temporary one.
    """
    with TemporaryDirectory() as temporary:
        folder = folder or Path(temporary)
        for seed in range(3):
            for method in ("equal", "dtp"):
                run(method, seed, folder)
        comparison = Comparison.read(folder)
        comparison.save(folder / "report.html")
    print("\n".join(comparison.verdict))
    return comparison


if __name__ == "__main__":
    main()
