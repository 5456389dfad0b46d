"""Adapter between a balancer and a third-party training loop."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hardfirst.balancers import Balancer, LossBalancer, task_weights
from hardfirst.errors import InputError
from hardfirst.integrations._means import RunningMeans

KPI_SOURCES = ("batch", "validation")


class _PendingStep(NamedTuple):
    """A gradient balancer's step between the host's forward and backward."""

    total: Tensor
    losses: Mapping[str, Tensor]
    kpis: Mapping[str, Any] | None


class LoopAdapter:
    """Splits a balancer's step in two, as hosts do: they ask for a loss, and later call backward on it, scaled or divided.

    Args:
        balancer: of any kind.
        shared: returns the parameters that several tasks use; called only for methods that need them.
        kpis_from: "batch" or "validation"; with "validation" the KPIs of training steps are recorded but not used.

    Raises:
        InputError: `kpis_from` is neither.
    """

    def __init__(
        self, balancer: Balancer, shared: Callable[[], Iterable[nn.Parameter]], *, kpis_from: str = "batch"
    ) -> None:
        if kpis_from not in KPI_SOURCES:
            raise InputError(f"Expected `kpis_from` to be 'batch' or 'validation'; got {kpis_from!r}.")
        self.balancer, self.shared, self.kpis_from = balancer, shared, kpis_from
        balancer.watch.kpis_by_step = kpis_from == "batch"
        self.latest: dict[str, Tensor] = {}
        self._pending: _PendingStep | None = None
        self._micro_batches, self._epoch = RunningMeans(), RunningMeans()
        self._validation: Mapping[str, Mapping[str, float]] = {}

    def total(
        self, losses: Mapping[str, Tensor], kpis: Mapping[str, Any] | None, *, training: bool, last: bool, several: bool
    ) -> Tensor:
        """The loss for the host.

        Args:
            losses: by task, with their graphs.
            kpis: by task, of this batch.
            training: whether this is a training step.
            last: whether this is the last micro-batch of its step. Methods that learn from losses learn from this one.
            several: whether a step has several micro-batches. Their KPIs are averaged, and count from the next step on.
        """
        measured = {task: kpi for task, kpi in (kpis or {}).items() if kpi is not None}
        used = measured if measured and self.kpis_from == "batch" else None
        # With several micro-batches the balancer gets the mean of their KPIs after the last one: all micro-batches of a
        # step then have the same weights, and the moving average of KPIs moves once a step.
        immediate = None if several else used
        self.balancer.train(training and last)
        if isinstance(self.balancer, LossBalancer):
            shared = list(self.shared()) if training and "shared" in self.balancer.needs else None
            total: Tensor = self.balancer(losses, immediate, shared=shared)
            weights = task_weights(total, losses) if training else {}
        else:
            # A gradient balancer has no total. The host gets the plain sum, whose graph `backward` replaces.
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
            weights = dict(self.balancer.weights)
            self._pending = _PendingStep(total, losses, immediate) if training else None
        if training:
            self._accumulate(losses, measured, weights)
            if several and used is not None:
                self._micro_batches.add(used)
                if last:
                    self.balancer.update(self._micro_batches.read())
        return total

    def backward(self, loss: Tensor, host: Callable[[Tensor], Any]) -> None:
        """Call backward on what the host made of the total; gradient balancers go back once for each task."""
        if self._pending is None:
            host(loss)
            return
        (total, losses, kpis), self._pending = self._pending, None
        # d(loss)/d(total) is the factor by which the host divided the loss for accumulation and scaled it for float16.
        (factor,) = torch.autograd.grad(loss, total, retain_graph=True)
        self.balancer.backward(losses, kpis, shared=self.shared(), using=lambda surrogate: host(surrogate * factor))

    def record_validation(self, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Record a validation during training, by task: "kpi", and "loss" where it was measured.

        With `kpis_from="validation"` its KPIs also update the balancer.
        """
        self._validation = figures
        if self.kpis_from == "validation":
            self.balancer.update({task: values["kpi"] for task, values in figures.items() if "kpi" in values})

    def pop_epoch(self) -> dict[str, dict[str, float]]:
        """Return the epoch's figures by task, as a record holds them, and start the next epoch."""
        figures: dict[str, dict[str, float]] = {task: {} for task in self.balancer.tasks}
        for name, value in self._epoch.read().items():
            quantity, _, task = name.partition("/")
            figures[task][quantity] = value
        for task, values in self._validation.items():
            figures[task] |= {f"validation_{quantity}": value for quantity, value in values.items()}
        self._validation = {}
        return figures

    def _accumulate(self, losses: Mapping[str, Tensor], kpis: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        for quantity, values in (("loss", losses), ("kpi", kpis), ("weight", weights)):
            self._epoch.add({f"{quantity}/{task}": value for task, value in values.items()})
        logged = {f"weight/{task}": weight for task, weight in weights.items()}
        logged |= {f"kpi/{task}": torch.as_tensor(kpi) for task, kpi in kpis.items()}
        self.latest = {name: value.detach().float() for name, value in logged.items()}


def summarize_tasks(kpis: Mapping[str, float], single_task: Mapping[str, float] | None = None) -> dict[str, float]:
    """The worst KPI and the mean KPI; with the KPIs of single-task networks also Δm, in percent.

    Missing values follow the rules of `hardfirst.statistics`, which needs NumPy and SciPy: a KPI that is NaN makes all three
    NaN; a single-task KPI that is missing or not above 0 makes Δm NaN.

    >>> summarize_tasks({"a": 0.5, "b": 0.8}, {"a": 0.5, "b": 0.4})
    {'worst_task': 0.5, 'mean_over_tasks': 0.65, 'delta_m': 50.0}
    """
    reached = torch.tensor(list(kpis.values()), dtype=torch.float64)
    summary = {"worst_task": float(reached.min()), "mean_over_tasks": float(reached.mean())}
    if single_task is not None:
        baselines = torch.tensor([single_task.get(task, math.nan) for task in kpis], dtype=torch.float64)
        baselines[~(baselines > 0)] = math.nan
        summary["delta_m"] = float(100 * ((reached - baselines) / baselines).mean())
    return summary
