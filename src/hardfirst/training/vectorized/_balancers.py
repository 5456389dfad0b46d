"""The balancers of trials."""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from hardfirst.balancers import Equal, Fixed, GradNorm, LossBalancer
from hardfirst.balancers._stacked import StackedBalancers, refusal
from hardfirst.integrations._means import RunningMeans

# With fewer trials of most methods, one step for all takes a CPU as long as a step for each:
# `python benchmarks/stacked_balancers.py`.
_FEWEST = 6
_CONSTANT = (Equal, Fixed)


def balancers_of(
    balancers: Sequence[LossBalancer], *, accumulate: int = 1, norms: Callable[[Tensor], Tensor] | None = None
) -> "Together":
    """The balancers of trials on their device. Where trials of a method follow one another, its steps are taken as one if
    there are enough and the method allows it.

    Args:
        balancers: at least one.
        accumulate: batches in an optimizer step.
        norms: for GradNorm's balancers, as `NormBalancers` has it.
    """
    if norms is not None:
        return NormBalancers([balancer for balancer in balancers if isinstance(balancer, GradNorm)], norms)
    if accumulate > 1:
        return Accumulating(balancers)
    parts = [
        _of_a_method(list(part))
        for _, part in groupby(balancers, lambda each: _is_constant(each) or (type(each), each.anneal is None))
    ]
    return parts[0] if len(parts) == 1 else MixedBalancers(parts)


def _is_constant(balancer: LossBalancer) -> bool:
    return type(balancer) in _CONSTANT and balancer.anneal is None


def _of_a_method(balancers: Sequence[LossBalancer]) -> "Part":
    if _is_constant(balancers[0]):
        return ConstantBalancers(balancers)
    if len(balancers) < _FEWEST or refusal(balancers):
        return EachBalancer(balancers)
    return StackedBalancers(balancers)


class ConstantBalancers:
    """Balancers whose weights never change: the total of each is a weighted sum.

    Args:
        balancers: of the trials, for the same tasks.
    """

    def __init__(self, balancers: Sequence[LossBalancer]) -> None:
        self.balancers = balancers
        self.weights = torch.stack([balancer.current_weights() for balancer in balancers])

    def step(self, losses: Tensor, kpis: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take a training step, as `EachBalancer.step`."""
        return (losses * self.weights).sum(1), self.weights

    def update(self, kpis: Tensor) -> None:
        """Do nothing: KPIs do not change the weights."""

    def end_epoch(self) -> None:
        """Do nothing."""


class EachBalancer:
    """Balancers of one method, called one after the other.

    Args:
        balancers: of the trials, for the same tasks.
    """

    def __init__(self, balancers: Sequence[LossBalancer]) -> None:
        self.balancers = balancers
        self.tasks = balancers[0].tasks

    def step(self, losses: Tensor, kpis: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take a training step.

        Args:
            losses: [balancers, tasks] with their graph.
            kpis: [balancers, tasks]; None for a step without them.

        Returns:
            The totals [balancers] with their graph, and the effective weights [balancers, tasks].
        """
        observed = [None] * len(losses) if kpis is None else [dict(zip(self.tasks, row, strict=True)) for row in kpis]
        totals = torch.stack(
            [
                balancer(dict(zip(self.tasks, row, strict=True)), seen)
                for balancer, row, seen in zip(self.balancers, losses, observed, strict=True)
            ]
        )
        # ∂total/∂loss, as `task_weights`: no total depends on the losses of another balancer
        (weights,) = torch.autograd.grad(totals.sum(), losses, retain_graph=True)
        return totals, weights

    def update(self, kpis: Tensor) -> None:
        """Record an observation of each KPI: [balancers, tasks], NaN where there is none."""
        for balancer, kpi in zip(self.balancers, kpis.unbind(), strict=True):
            balancer.update(dict(zip(self.tasks, kpi.unbind(), strict=True)))

    def end_epoch(self) -> None:
        """Mark the end of an epoch."""
        for balancer in self.balancers:
            balancer.end_epoch()


class NormBalancers(EachBalancer):
    """GradNorm's balancers, which learn from the norms of the tasks' gradients.

    Args:
        balancers: of the trials, for the same tasks.
        norms: returns the norm of each loss's gradient for the shared parameters, [balancers, tasks], for losses of this
            shape with their graph.
    """

    def __init__(self, balancers: Sequence[GradNorm], norms: Callable[[Tensor], Tensor]) -> None:
        super().__init__(balancers)
        self.gradnorms, self.norms = balancers, norms

    def step(self, losses: Tensor, kpis: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take a training step, as `EachBalancer.step`."""
        steps = [balancer._training_step(row, None) for balancer, row in zip(self.balancers, losses, strict=True)]
        totals = torch.stack([total for total, _ in steps])
        (weights,) = torch.autograd.grad(totals.sum(), losses, retain_graph=True)
        for balancer, (_, values), norms in zip(self.gradnorms, steps, self.norms(losses), strict=True):
            balancer.watch.step(balancer, len(self.tasks))
            balancer.learn_from_norms(values, norms)
        return totals, weights


class Accumulating(EachBalancer):
    """Balancers for optimizer steps of several batches.

    Of the batches of a step they learn from the last one, and get the mean of their KPIs after it, as in a single run.
    """

    def __init__(self, balancers: Sequence[LossBalancer]) -> None:
        super().__init__(balancers)
        self.last = True  # whether the next batch is the last one of its step
        self._kpis = RunningMeans("step")

    def step(self, losses: Tensor, kpis: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take a batch into account, as `EachBalancer.step`."""
        for balancer in self.balancers:
            balancer.train(self.last)
        results = super().step(losses, None)
        if kpis is not None:
            self._kpis.add(kpis)
        if self.last and (means := self._kpis.pop("step")) is not None:
            self.update(means)
        return results


class MixedBalancers:
    """Balancers of several methods.

    Args:
        parts: the balancers, in the order of the trials.
    """

    def __init__(self, parts: "Sequence[Part]") -> None:
        self.parts = parts
        self._counts = [len(part.balancers) for part in parts]

    def step(self, losses: Tensor, kpis: Tensor) -> tuple[Tensor, Tensor]:
        """Take a training step, as `EachBalancer.step`."""
        rows = zip(self.parts, losses.split_with_sizes(self._counts), kpis.split_with_sizes(self._counts), strict=True)
        totals, weights = zip(*(part.step(*row) for part, *row in rows), strict=True)
        return torch.cat(totals), torch.cat(weights)

    def update(self, kpis: Tensor) -> None:
        """Record an observation of each KPI, as `EachBalancer.update`."""
        for part, row in zip(self.parts, kpis.split_with_sizes(self._counts), strict=True):
            part.update(row)

    def end_epoch(self) -> None:
        """Mark the end of an epoch."""
        for part in self.parts:
            part.end_epoch()


Part = ConstantBalancers | EachBalancer | StackedBalancers
"""The balancers of trials that follow one another."""

Together = Part | MixedBalancers
