"""Loss balancers of many trials with the same method, which take their steps together."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.balancers._base import Balancer
from hardfirst.balancers._loss import LossBalancer
from hardfirst.balancers.gradnorm import GradNorm
from hardfirst.errors import InputError, check_kpi
from hardfirst.functional._scalar import on_host

# Torch's own entries in each module, and attributes that belong to one trial but are not options of its method.
_OF_A_TRIAL = ("_initial", "_looks", "_observations", "_tasks_compared", "_unseen", "process_group", "watch")
_NO_OPTIONS = {*vars(nn.Module()), *_OF_A_TRIAL}


class StackedBalancers:
    """Loss balancers that take their training steps together, on tensors with one row per balancer.

    Each balancer keeps its state: its buffers are rows of the stacked tensors, so its `state_dict`, `weights`, `update`,
    `end_epoch` and `load_state_dict` work as before. The balancers must stay on their device.

    A step is the step of `LossBalancer` under `torch.vmap`: numbers that differ between the balancers become tensors. The
    state is float32, as in a single balancer, but a single balancer on the CPU computes in Python floats and so rounds
    differently.

    Args:
        balancers: at least one, all of the same class, tasks and structure. Options that differ are numbers, or one number
            per task. `refusal` says whether this holds and whether the method can be stacked.

    Raises:
        InputError: the balancers differ in more than numbers.

    Example:
        >>> import torch, hardfirst
        >>> stacked = StackedBalancers([hardfirst.DTP(["a", "b"], gamma=gamma) for gamma in (0.0, 2.0)])
        >>> losses = torch.ones(2, 2, requires_grad=True)
        >>> totals, weights = stacked.step(losses, kpis=torch.tensor([[0.2, 0.6], [0.2, 0.6]]))
        >>> weights.mul(100).round().tolist()
        [[152.0, 48.0], [185.0, 15.0]]
        >>> stacked.balancers[1].kpi.average
        tensor([0.2000, 0.6000])
    """

    def __init__(self, balancers: Sequence[LossBalancer]) -> None:
        if reason := _difference(balancers):
            raise InputError(reason)
        self.balancers, self.tasks = balancers, balancers[0].tasks
        # where the first balancer, which takes the step for all, finds a stacked tensor
        self._places: list[tuple[dict[str, Any], str]] = []
        self._values: list[Tensor] = []
        for parts in zip(*(balancer.modules() for balancer in balancers), strict=True):
            for name in [name for name, buffer in parts[0]._buffers.items() if buffer is not None]:
                stacked = torch.stack([part.get_buffer(name) for part in parts])
                for part, row in zip(parts, stacked.unbind(), strict=True):
                    part._buffers[name] = row
                self._add(parts[0]._buffers, name, stacked)
        device = self._values[0].device if self._values else torch.device("cpu")
        for parts in zip(*(balancer.modules() for balancer in balancers), strict=True):
            for name, values in _differing(parts).items():
                self._add(vars(parts[0]), name, _numbers(values).to(device, torch.float32 if device.type == "mps" else None))

    def _add(self, place: dict[str, Any], name: str, stacked: Tensor) -> None:
        self._places.append((place, name))
        self._values.append(stacked)

    def step(self, losses: Tensor, kpis: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Take a training step.

        Args:
            losses: [balancers, tasks] with their graph; 0 where a task is absent.
            kpis: [balancers, tasks] in [0, 1]; NaN where there is none.

        Returns:
            The totals [balancers] with their graph, and the effective weights [balancers, tasks], as in `task_weights`.

        Raises:
            InputError: a KPI is not in [0, 1]; checked only where reading it is free.
        """
        if kpis is not None and "kpis" in self.balancers[0].needs and on_host(kpis):
            self._check(kpis)
        for balancer in self.balancers:
            balancer.watch.step(balancer, len(self.tasks))
        own = [place[name] for place, name in self._places]
        try:
            totals = torch.vmap(self._step, in_dims=(0, 0, None if kpis is None else 0))(self._values, losses, kpis)
        finally:
            self._fill(own)
        if totals.dtype != losses.dtype == torch.float32:
            totals = totals.float()  # numbers that became tensors are float64
        # no total depends on the losses of another balancer
        (weights,) = torch.autograd.grad(totals.sum(), losses, retain_graph=True)
        return totals, weights

    def _step(self, values: Sequence[Any], losses: Tensor, kpis: Tensor | None) -> Tensor:
        self._fill(values)
        by_task = None if kpis is None else dict(zip(self.tasks, kpis.unbind(), strict=True))
        return self.balancers[0]._training_step(losses, by_task)[0]

    def _fill(self, values: Sequence[Any]) -> None:
        for (place, name), value in zip(self._places, values, strict=True):
            place[name] = value

    def _check(self, kpis: Tensor) -> None:
        if bool(((kpis < 0) | (kpis > 1)).any()):
            for row in kpis.tolist():
                for task, kpi in zip(self.tasks, row, strict=True):
                    check_kpi(task, kpi)

    def update(self, kpis: Tensor) -> None:
        """Record an observation of each KPI: [balancers, tasks] in [0, 1], NaN for no observation."""
        for balancer, row in zip(self.balancers, kpis.unbind(), strict=True):
            balancer.update(dict(zip(self.tasks, row.unbind(), strict=True)))

    def end_epoch(self) -> None:
        """Mark the end of an epoch."""
        for balancer in self.balancers:
            balancer.end_epoch()

    @property
    def weights(self) -> Tensor:
        """Each balancer's `weights`: [balancers, tasks] without a graph."""
        return torch.stack([torch.stack(list(balancer.weights.values())) for balancer in self.balancers])


def trains_together(method: type[Balancer]) -> bool:
    """Whether trials with this method may be trained together: it needs losses and KPIs, or norms of gradients, alone.

    >>> import hardfirst
    >>> trains_together(hardfirst.balancers.GradNorm), trains_together(hardfirst.balancers.PCGrad)
    (True, False)
    """
    return issubclass(method, LossBalancer) and ("shared" not in method.needs or method is GradNorm)


def refusal(balancers: Sequence[Balancer]) -> str | None:
    """Say why balancers cannot take their steps together; None if they can.

    Copies of the balancers take a few steps both singly and stacked. A method that reads values cannot be stacked, and one
    whose results differ should not be.

    Args:
        balancers: at least one.

    Returns:
        One sentence that names the method and, if options differ, the attribute.

    Example:
        >>> import hardfirst
        >>> refusal([hardfirst.balancers.PCGrad(["a", "b"])])
        'PCGrad works on the gradients of each task, so its trials run singly.'
        >>> refusal([hardfirst.DTP(["a", "b"], priority=priority) for priority in ("hard", "easy")])
        'The balancers differ in `easy_first` of DTP, which is not a number, so their trials run singly.'
    """
    name = type(balancers[0]).__name__
    losses_alone = [each for each in balancers if isinstance(each, LossBalancer) and "shared" not in each.needs]
    if len(losses_alone) < len(balancers):
        return f"{name} works on the gradients of each task, so its trials run singly."
    if reason := _difference(losses_alone):
        return reason
    try:
        same = _rehearse(losses_alone)
    except Exception as error:  # a user's method may raise any exception
        cause = str(error).strip().partition("\n")[0]
        return f"{name} does not run under torch.vmap, so its trials run singly: {type(error).__name__}: {cause}"
    return None if same else f"{name} gives different numbers under torch.vmap, so its trials run singly."


def _rehearse(balancers: Sequence[LossBalancer]) -> bool:
    """Check that copies of the balancers have the same totals, weights and state stacked as singly."""
    single, stacked = copy.deepcopy(list(balancers)), StackedBalancers(copy.deepcopy(list(balancers)))
    tasks, shape = stacked.tasks, (len(balancers), len(stacked.tasks))
    device = next((buffer.device for balancer in balancers for buffer in balancer.buffers()), None)
    pairs: list[tuple[Tensor, Tensor]] = []
    for size, absent in ((2.0, 0), (1.5, 1), (1.2, 0)):
        values = torch.linspace(0.3, size, shape[0] * shape[1], device=device).view(shape)
        kpis = (values / 3).requires_grad_()  # for methods that differentiate KPIs
        values[:, :absent] = 0
        values.requires_grad_()
        totals, weights = stacked.step(values, kpis)
        for balancer, *row, loss, kpi in zip(single, totals, weights, values, kpis, strict=True):
            total = balancer(dict(zip(tasks, loss.unbind(), strict=True)), dict(zip(tasks, kpi.unbind(), strict=True)))
            (gradient,) = torch.autograd.grad(total, values)
            pairs += [(row[0], total), (row[1], gradient[len(pairs) // 2 % shape[0]])]
        stacked.end_epoch()
        for balancer in single:
            balancer.end_epoch()
    for one, other in zip(single, stacked.balancers, strict=True):
        pairs += zip(one.buffers(), other.buffers(), strict=True)
    return all(torch.allclose(one, other.to(one.dtype), 1e-4, 1e-5, equal_nan=True) for one, other in pairs)


def _difference(balancers: Sequence[Balancer]) -> str | None:
    """Say in a sentence why the balancers compute different operations; None if they differ in numbers only."""
    first = balancers[0]
    for other in balancers:
        if type(other) is not type(first) or other.tasks != first.tasks:
            return (
                f"Expected balancers of one method and the same tasks; got {type(first).__name__} for "
                f"{', '.join(first.tasks)} and {type(other).__name__} for {', '.join(other.tasks)}."
            )
        if unlike := sorted(_form(first) ^ _form(other)):
            return f"The balancers differ in the form of `{unlike[0][0]}`, so their trials run singly."
    for parts in zip(*(balancer.modules() for balancer in balancers), strict=True):
        for name, values in _differing(parts).items():
            if not _are_numbers(values):
                owner = type(parts[0]).__name__
                return f"The balancers differ in `{name}` of {owner}, which is not a number, so their trials run singly."
    return None


def _form(balancer: Balancer) -> set[tuple[str, str]]:
    """Return the parts and tensors of a balancer, with their class or shape."""
    tensors = {(name, f"{tuple(buffer.shape)} {buffer.dtype}") for name, buffer in balancer.named_buffers()}
    return tensors | {(name, type(part).__name__) for name, part in balancer.named_modules() if name}


def _differing(parts: Sequence[nn.Module]) -> dict[str, list[Any]]:
    """Return, by name, the values of the attributes in which the same part of several balancers differs."""
    names = dict.fromkeys(name for part in parts for name in vars(part) if name not in _NO_OPTIONS)
    found = {name: [vars(part).get(name) for part in parts] for name in names}
    return {name: values for name, values in found.items() if not all(_same(values[0], value) for value in values)}


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # raised by a user's class, or by tensors of several numbers
        return False


def _are_numbers(values: Sequence[Any]) -> bool:
    """Check that these are numbers, or sequences of the same length of numbers."""
    if all(isinstance(value, list | tuple) for value in values):
        return len({len(value) for value in values}) == 1 and all(_are_numbers(value) for value in values)
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _numbers(values: Sequence[Any]) -> Tensor:
    """Convert numbers to a tensor in Python's precision, with one row per balancer."""
    numbers = torch.tensor(values, dtype=torch.float64)
    whole = all(isinstance(value, int) for value in values)
    return numbers.long() if whole else numbers
