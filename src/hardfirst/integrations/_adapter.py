"""A balancer's part in the training steps of somebody else's loop."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hardfirst.balancers import Balancer, LossBalancer, task_weights
from hardfirst.errors import InputError
from hardfirst.integrations._means import RunningMeans

SOURCES = ("batch", "validation")


class _PendingStep(NamedTuple):
    """A gradient balancer's step on its way from the loss to backward."""

    total: Tensor
    losses: Mapping[str, Tensor]
    kpis: Mapping[str, Any] | None


class LoopAdapter:
    """What hosts have in common: they ask for a total, and later go backward from it, scaled or divided.

    Args:
        balancer: of any kind.
        shared: gives the parameters that several tasks use; called for methods that need them.
        kpis_from: "batch" or "validation"; with the latter the KPIs of steps are only recorded.

    Raises:
        InputError: KPIs come from somewhere else.
    """

    def __init__(
        self, balancer: Balancer, shared: Callable[[], Iterable[nn.Parameter]], *, kpis_from: str = "batch"
    ) -> None:
        if kpis_from not in SOURCES:
            raise InputError(f"Expected `kpis_from` to be 'batch' or 'validation'; got {kpis_from!r}.")
        self.balancer, self.shared, self.kpis_from = balancer, shared, kpis_from
        self.latest: dict[str, Tensor] = {}
        self._pending: _PendingStep | None = None
        self._micro, self._epoch = RunningMeans(), RunningMeans()
        self._validated: Mapping[str, Mapping[str, float]] = {}

    def total(
        self, losses: Mapping[str, Tensor], kpis: Mapping[str, Any] | None, *, training: bool, last: bool, several: bool
    ) -> Tensor:
        """What the host takes for its loss.

        Args:
            losses: by task, with their graphs.
            kpis: by task, of this batch.
            training: whether this is a training step at all.
            last: whether it is the last micro-batch of its step: the one that methods which learn from losses learn on.
            several: whether steps have several; their KPIs are averaged, and count from the next step on.
        """
        known = {task: kpi for task, kpi in (kpis or {}).items() if kpi is not None}
        observed = known if known and self.kpis_from == "batch" else None
        before = None if several else observed
        self.balancer.train(training and last)
        if isinstance(self.balancer, LossBalancer):
            shared = list(self.shared()) if training and "shared" in self.balancer.needs else None
            total: Tensor = self.balancer(losses, before, shared=shared)
            weights = task_weights(total, losses) if training else {}
        else:
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
            weights = dict(self.balancer.weights)
            self._pending = _PendingStep(total, losses, before) if training else None
        if training:
            self._accumulate(losses, known, weights)
            if several and observed is not None:
                self._micro.add(observed)
                if last:
                    self.balancer.update(self._micro.read())
        return total

    def backward(self, loss: Tensor, host: Callable[[Tensor], Any]) -> None:
        """Go backward from what the host has made of the total; gradient balancers do so once for each task."""
        if self._pending is None:
            host(loss)
            return
        (total, losses, kpis), self._pending = self._pending, None
        # what the host has done to the loss on its way here: divided for accumulation, scaled for float16
        (factor,) = torch.autograd.grad(loss, total, retain_graph=True)
        self.balancer.backward(losses, kpis, shared=self.shared(), using=lambda one: host(one * factor))

    def record_validation(self, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Take in what a validation during training gave, by task: "kpi", and "loss" where it is known."""
        self._validated = figures
        if self.kpis_from == "validation":
            self.balancer.update({task: found["kpi"] for task, found in figures.items() if "kpi" in found})

    def pop_epoch(self) -> dict[str, dict[str, float]]:
        """What a record says of the epoch, by task; begins the next one."""
        found: dict[str, dict[str, float]] = {task: {} for task in self.balancer.tasks}
        for name, value in self._epoch.read().items():
            what, _, task = name.partition("/")
            found[task][what] = value
        for task, figures in self._validated.items():
            found[task] |= {f"validation_{what}": value for what, value in figures.items()}
        self._validated = {}
        return found

    def _accumulate(self, losses: Mapping[str, Tensor], kpis: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        for what, values in (("loss", losses), ("kpi", kpis), ("weight", weights)):
            self._epoch.add({f"{what}/{task}": value for task, value in values.items()})
        logged = {f"weight/{task}": weight for task, weight in weights.items()}
        logged |= {f"kpi/{task}": torch.as_tensor(kpi) for task, kpi in kpis.items()}
        self.latest = {name: value.detach().float() for name, value in logged.items()}


def summarize_tasks(kpis: Mapping[str, float], single_task: Mapping[str, float] | None = None) -> dict[str, float]:
    """The worst KPI and the mean, and with single-task networks' KPIs the mean relative gain in per cent.

    >>> summarize_tasks({"a": 0.5, "b": 0.8}, {"a": 0.5, "b": 0.4})
    {'worst_task': 0.5, 'mean_over_tasks': 0.65, 'delta_m': 50.0}
    """
    found = {"worst_task": min(kpis.values()), "mean_over_tasks": sum(kpis.values()) / len(kpis)}
    if single_task is not None:
        gains = [(kpi - single_task[task]) / single_task[task] for task, kpi in kpis.items()]
        found["delta_m"] = 100 * sum(gains) / len(gains)
    return found
