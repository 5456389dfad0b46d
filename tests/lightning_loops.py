"""A module with the mixin for Lightning on a small problem, and the same training in a plain loop."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hardfirst.balancers import Spec
from hardfirst.integrations.lightning import Balanced
from hardfirst.networks import HardSharing

TASKS = ("plain", "product")

Step = Callable[[Any, dict[str, Tensor], dict[str, Tensor]], Tensor]


def table(seed: int = 0, count: int = 64) -> TensorDataset:
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs[:, 0] > 0).float(), (inputs[:, 1] * inputs[:, 2] > 0).float())


def loader(seed: int = 0, batch: int = 16, count: int = 64) -> Any:
    return DataLoader(table(seed, count), batch_size=batch)


def network() -> HardSharing:
    torch.manual_seed(0)
    heads = {task: nn.Sequential(nn.Linear(8, 1), nn.Flatten(0)) for task in TASKS}
    return HardSharing(nn.Sequential(nn.Linear(6, 8), nn.Tanh()), heads)


def measured(net: nn.Module, batch: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    inputs, *targets = batch
    outputs = net(inputs)
    pairs = {task: (outputs[task], target) for task, target in zip(TASKS, targets, strict=True)}
    losses = {task: F.binary_cross_entropy_with_logits(*pair) for task, pair in pairs.items()}
    return losses, {task: ((output > 0) == (target > 0.5)).float().mean() for task, (output, target) in pairs.items()}


def penalty(net: Any) -> Tensor:
    """A term of a loss that is no task's."""
    return net.trunk[0].weight.square().sum()  # type: ignore[no-any-return]


def balanced(mine: Any, losses: dict[str, Tensor], kpis: dict[str, Tensor]) -> Tensor:
    return mine.balance(losses, kpis)  # type: ignore[no-any-return]


def module(
    host: ModuleType,
    spec: str = "dtp",
    *,
    rate: float = 0.1,
    step: Step = balanced,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    **settings: Any,
) -> Any:
    class Mine(Balanced, host.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()
            self.balancer = Spec.parse(spec).build(TASKS)
            self.seen: list[dict[str, float]] = []
            for name, value in settings.items():
                setattr(self, name, value)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return step(self, *measured(self.network, batch))

        def validation_step(self, batch: Any, index: int) -> None:
            self.seen.append({task: float(kpi) for task, kpi in measured(self.network, batch)[1].items()})

        test_step = validation_step

        def _mean(self) -> dict[str, float]:
            seen, self.seen = self.seen, []
            return {task: sum(kpis[task] for kpis in seen) / len(seen) for task in TASKS}

        def on_validation_epoch_end(self) -> None:
            self.evaluated(self._mean(), dict.fromkeys(TASKS, 0.5))

        on_test_epoch_end = on_validation_epoch_end

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer(self.parameters(), lr=rate)

    return Mine()


def trainer(host: ModuleType, tmp_path: Path, **settings: Any) -> Any:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return host.Trainer(
        **{"max_epochs": 2, "accelerator": "cpu", "default_root_dir": tmp_path, "enable_checkpointing": False, **quiet}
        | settings
    )


def by_hand(
    spec: str,
    *,
    epochs: int = 2,
    rate: float = 0.1,
    batch: int = 16,
    clip: float | None = None,
    micro: int = 1,
    factor: float = 1.0,
    penalised: bool = False,
) -> nn.Module:
    """The same training in a plain loop, each of a step's micro-batches balanced by itself."""
    net, balancer = network(), Spec.parse(spec).build(TASKS)
    start, optimizer = copy.deepcopy(net.state_dict()), torch.optim.SGD(net.parameters(), lr=rate)
    balancer.plan_steps(epochs * len(loader(batch=batch)) // micro)
    for _ in range(epochs):
        for number, each in enumerate(loader(batch=batch)):
            losses, kpis = measured(net, each)
            shared, last = net.shared_parameters(), number % micro == micro - 1
            balancer.train(last)
            balancer.backward(losses, kpis, shared=shared, using=lambda total: (total * factor / micro).backward())
            if penalised:
                (penalty(net) / micro).backward()
            if last:
                if clip is not None:
                    nn.utils.clip_grad_norm_(net.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
                if balancer.restarted:
                    net.load_state_dict(start)
        balancer.end_epoch()
    return net
