"""A step of the balancer: its backward pass, and the weights that it gives the tasks."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from hardfirst.balancers import Balancer, LossBalancer, task_weights
from hardfirst.integrations._means import RunningMeans
from hardfirst.training._batch import Measurements
from hardfirst.training._updates import Part, Updates


class Balancing:
    """Balances the batches of a run.

    Args:
        balancer: the method.
        shared: the parameters that all tasks use, if the method needs them.
        updates: the updates of the run.
    """

    def __init__(self, balancer: Balancer, shared: list[nn.Parameter] | None, updates: Updates) -> None:
        self.balancer, self.shared, self.updates = balancer, shared, updates
        self._kpis = RunningMeans("step")  # over the batches of an optimizer step, if it has several

    def backward(
        self, measured: Measurements, part: Part, run: Callable[[Tensor], object]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Balance a batch, and run backward.

        Args:
            measured: the measurements on the batch.
            part: the batch's part in its optimizer step.
            run: runs backward on a scalar.

        Returns:
            The total without its graph, and each task's effective weight.
        """
        done: list[tuple[Tensor, Mapping[str, Tensor]]] = []

        # the balancer calls this once with its total, or with a scalar whose gradient is its combined gradient
        def using(total: Tensor) -> None:
            scaled = self.updates.scaled(total, part)
            if isinstance(self.balancer, LossBalancer):
                weights = _back_propagate(total, scaled, measured.losses, run)
            else:
                run(scaled)
                weights = self.balancer.weights
            done.append((total.detach(), weights))

        self._balance(measured, part, using)
        return done[-1]

    def _balance(self, measured: Measurements, part: Part, using: Callable[[Tensor], Any]) -> None:
        """Let the balancer call backward. Of the batches of a step it learns from the last one, and then gets the mean of
        their KPIs, so that all batches of a step have the same weights.
        """
        if self.updates.recipe.accumulate == 1:
            self.balancer.backward(measured.losses, measured.kpis, shared=self.shared, using=using)
            return
        self.balancer.train(part.last)
        self.balancer.backward(measured.losses, shared=self.shared, using=using)
        if measured.kpis:
            self._kpis.add(self.balancer.stack_by_task(measured.kpis, "KPI").detach().float())
        if part.last and (means := self._kpis.pop("step")) is not None:
            self.balancer.update(dict(zip(self.balancer.tasks, means.unbind(), strict=True)))


def _back_propagate(
    total: Tensor, scaled: Tensor, losses: Mapping[str, Tensor], backward: Callable[[Tensor], object]
) -> Mapping[str, Tensor]:
    """Run backward on a loss balancer's total, and return ∂total/∂loss by task.

    This is a task's effective weight, also if the total is not linear in the losses; 0 where it does not depend on one.

    Args:
        total: the balancer's total.
        scaled: a multiple of the total to run backward on. If it is the total itself, backward also yields the weights.
        losses: by task, the losses given to the balancer.
        backward: runs backward on `scaled`.
    """
    if scaled is not total or not total.requires_grad:
        weights = task_weights(total, losses)
        backward(scaled)
        return weights
    for loss in losses.values():
        if loss.requires_grad:
            loss.retain_grad()
    backward(total)
    return {task: loss.new_zeros(()) if loss.grad is None else loss.grad for task, loss in losses.items()}
