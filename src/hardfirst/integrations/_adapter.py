"""Adapter between a balancer and a third-party training loop."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.balancers import Balancer, LossBalancer, task_weights
from hardfirst.errors import InputError, mapping, warn_caller
from hardfirst.integrations._evaluations import Evaluations
from hardfirst.integrations._means import RunningMeans
from hardfirst.integrations._restart import Restart
from hardfirst.kpi import MovingKPI

KPI_SOURCES = ("batch", "validation")
QUANTITIES = ("loss", "kpi", "weight")


class LoopAdapter:
    """Turns a balancer's step into a scalar that the host may add to, divide or scale before it calls backward.

    Args:
        balancer: any balancer.
        shared: returns the parameters that several tasks use; called only for methods that need them.
        kpis_from: "batch" or "validation"; with "validation" the KPIs of training steps are recorded but not used.

    Raises:
        InputError: `kpis_from` is neither of these.
    """

    def __init__(
        self, balancer: Balancer, shared: Callable[[], Iterable[nn.Parameter]], *, kpis_from: str = "batch"
    ) -> None:
        if kpis_from not in KPI_SOURCES:
            raise InputError(f"Expected `kpis_from` to be 'batch' or 'validation'; got {kpis_from!r}.")
        self.balancer, self.shared, self.kpis_from = balancer, shared, kpis_from
        self.evaluations, self.restart = Evaluations(), Restart(balancer)
        self._micro_batches, self._steps = RunningMeans("step"), RunningMeans("epoch", "log")
        self._validation: dict[str, dict[str, float]] = {}
        self._warned = False
        balancer.watch.kpis_by_step = kpis_from == "batch"

    def total(
        self,
        losses: Mapping[str, Tensor],
        kpis: Mapping[str, Any] | None,
        *,
        last: bool,
        several: bool,
        batch: Hashable = None,
        closure: bool = False,
    ) -> Tensor:
        """Compute the loss of a training step. Its backward gives the balanced gradients, times its own gradient.

        Args:
            losses: by task, with their graphs.
            kpis: by task, of this batch.
            last: whether this is the last micro-batch of its step. Methods that learn from losses learn from this one.
            several: whether a step has several micro-batches. Their KPIs are averaged, and used from the next step on.
            batch: identifies the batch in hosts that may evaluate its loss several times; they call `evaluations.end`.
            closure: whether the host's optimizer evaluates the loss several times.
        """
        measured = self._measured(kpis)
        used = measured if measured and self.kpis_from == "batch" else None
        # With several micro-batches the balancer gets the mean of their KPIs after the last one: all micro-batches of a
        # step then have the same weights, and the moving average of KPIs changes once per step.
        immediate = None if several else used
        self.balancer.train(last)
        if self.evaluations.begin(batch):
            return self._step(*self.evaluations.earlier(self.balancer, immediate), losses)
        if closure:
            self.evaluations.keep(self.balancer, immediate)
        total = self._step(self.balancer, immediate, losses)
        figures = self._figures(total, losses, measured)
        self._steps.add(figures)
        if several:
            self._add_micro_batch(figures[QUANTITIES.index("kpi")] if used else None, last=last)
        return total

    def check_losses(self, losses: Mapping[str, Tensor]) -> None:
        """Raise `InputError` unless these are 0-d tensors of the balancer's tasks."""
        self.balancer._stack_losses(losses)

    def plain_sum(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the tasks' losses, for evaluation: a balanced total would change with the weights."""
        return self.balancer._stack_losses(losses).float().sum()

    def check_kpis(self, kpis: Mapping[str, Any]) -> None:
        """Raise `InputError` unless these are KPIs of the balancer's tasks, each in [0, 1] or NaN."""
        mapping("kpis", kpis, f"{{{self.balancer.tasks[0]!r}: KPI}}")
        on_cpu = {task: kpi.cpu() if isinstance(kpi, Tensor) else kpi for task, kpi in kpis.items()}
        MovingKPI(self.balancer.tasks, process_group=False).update(on_cpu)

    def record_validation(self, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Record a validation during training, by task: "kpi", and "loss" if it was measured.

        With `kpis_from="validation"` its KPIs also update the balancer.
        """
        kpis = {task: values["kpi"] for task, values in figures.items() if "kpi" in values}
        self.check_kpis(kpis)
        for task, values in figures.items():
            self._validation[task] = {**self._validation.get(task, {}), **values}
        if self.kpis_from == "validation":
            self.balancer.update(kpis)

    def warn_of_missing(self, kpis: Mapping[str, float], remedy: Callable[[list[str]], str]) -> None:
        """Warn once if a validation during training gave no KPI for a task that needs one.

        Args:
            kpis: the KPIs that it gave.
            remedy: returns what to do, given the tasks.
        """
        missing = [task for task in self.balancer.tasks if math.isnan(kpis.get(task, math.nan))]
        drives = self.kpis_from == "validation" and "kpis" in self.balancer.needs
        due = drives or len(missing) < len(self.balancer.tasks)
        if self._warned or not missing or not due:
            return
        self._warned = True
        method = type(self.balancer).__name__
        effect = f"{method}, which uses KPIs, does not learn from them" if drives else "worst_task is NaN"
        tasks = ", ".join(map(repr, missing))
        warn_caller(f"A validation gave no KPI for {tasks}: {effect}. {remedy(missing)}")
        if drives:
            self.balancer.watch.warned.add("kpis")  # avoid a second warning about the same problem

    def pop_epoch(self) -> dict[str, dict[str, float]]:
        """Return the epoch's figures by task, in the form of a record, and start the next epoch."""
        figures = self._pop("epoch")
        for task, values in self._validation.items():
            figures[task] |= {f"validation_{quantity}": value for quantity, value in values.items()}
        self._validation = {}
        return figures

    def pop_log(self, separator: str) -> dict[str, float]:
        """Return the mean weights and KPIs since the last call for the host's log, without those that have no value."""
        return {
            f"{quantity}{separator}{task}": value
            for task, values in self._pop("log").items()
            for quantity, value in values.items()
            if quantity != "loss" and not math.isnan(value)
        }

    def _step(self, balancer: Balancer, kpis: Mapping[str, Any] | None, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the scalar for the balancer's backward; that of a gradient balancer delivers its gradients."""
        totals: list[Tensor] = []
        shared = list(self.shared()) if "shared" in balancer.needs else None
        # hosts call this under autocast, which must not cover a backward pass
        with torch.autocast(self.balancer._stack_losses(losses).device.type, enabled=False):
            balancer.backward(losses, kpis, shared=shared, using=totals.append)
        return totals[0]

    def _measured(self, kpis: Mapping[str, Any] | None) -> dict[str, Any]:
        if kpis is None:
            return {}
        mapping("kpis", kpis, f"{{{self.balancer.tasks[0]!r}: KPI}}")
        return {task: kpi for task, kpi in kpis.items() if kpi is not None}

    def _figures(self, total: Tensor, losses: Mapping[str, Tensor], kpis: Mapping[str, Any]) -> Tensor:
        """Return the measurements of a step: a row [T] for each quantity, NaN where a task has none."""
        weights = task_weights(total, losses) if isinstance(self.balancer, LossBalancer) else self.balancer.weights
        # as numbers without a graph; a KPI that is left out becomes NaN
        rows = [self.balancer.stack_by_task(values, "KPI").detach().float() for values in (losses, kpis, weights)]
        return torch.stack([row.to(total.device) for row in rows])

    def _add_micro_batch(self, kpis: Tensor | None, *, last: bool) -> None:
        """Add the KPIs [T] of a micro-batch; after the last one, update the balancer with their means."""
        if kpis is not None:
            self._micro_batches.add(kpis)
        if last and (means := self._micro_batches.pop("step")) is not None:
            self.balancer.update(dict(zip(self.balancer.tasks, means.unbind(), strict=True)))

    def _pop(self, reader: str) -> dict[str, dict[str, float]]:
        """Return the means by task and quantity."""
        tasks, values = self.balancer.tasks, self._steps.pop(reader)
        if values is None:
            return {task: {} for task in tasks}
        return {
            task: dict(zip(QUANTITIES, column, strict=True)) for task, column in zip(tasks, values.T.tolist(), strict=True)
        }


def summarize_tasks(
    tasks: Sequence[str], kpis: Mapping[str, float], single_task: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Compute the worst KPI and the mean KPI; given the KPIs of single-task networks, also Δm in percent.

    Missing values follow the rules of `hardfirst.statistics`, which needs NumPy and SciPy: a KPI that is missing or NaN
    makes all three NaN; a single-task KPI that is missing or not above 0 makes Δm NaN.

    >>> summarize_tasks(["a", "b"], {"a": 0.5, "b": 0.8}, {"a": 0.5, "b": 0.4})
    {'worst_task': 0.5, 'mean_over_tasks': 0.65, 'delta_m': 50.0}
    """
    reached = torch.tensor([kpis.get(task, math.nan) for task in tasks], dtype=torch.float64)
    summary = {"worst_task": float(reached.min()), "mean_over_tasks": float(reached.mean())}
    if single_task is not None:
        baselines = torch.tensor([single_task.get(task, math.nan) for task in tasks], dtype=torch.float64)
        baselines[~(baselines > 0)] = math.nan
        summary["delta_m"] = float(100 * ((reached - baselines) / baselines).mean())
    return summary
