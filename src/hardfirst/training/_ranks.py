"""The processes that train together: how they share a batch, and make what each of them measured into what all measured."""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hardfirst.balancers._autograd import other_leaves
from hardfirst.problems import Problem, Split
from hardfirst.training._batch import Labelled, Measurements, label_mask, measure, select_labelled
from hardfirst.training._interrupt import Interrupt, RemoteInterrupt
from hardfirst.training._sampling import Order, load

if TYPE_CHECKING:
    from lightning.fabric import Fabric

T = TypeVar("T")
Batches = Iterator[tuple[Any, Mapping[str, Tensor]]]

_MIN_EXAMPLES = 2  # examples that a rank runs through the network, if the batch has as many: BatchNorm cannot do with one


class SingleProcess:
    """A single process: what it measures is all there is."""

    world_size, is_main = 1, True

    def __init__(self, fabric: "Fabric", network: nn.Module, interrupt: Interrupt | RemoteInterrupt) -> None:
        self.fabric, self.module, self.interrupt = fabric, network, interrupt

    @property
    def stopped(self) -> bool:
        """Whether training should stop after this step."""
        return self.interrupt.requested

    def prepare(self, network: nn.Module, batches: Batches, seed: int) -> None:
        """Go on from where the making of the network left the random state."""

    def random_states(self) -> Any:
        """For the checkpoint."""
        return torch.get_rng_state()

    def restore_random_state(self, states: Any) -> None:
        """From the checkpoint."""
        torch.set_rng_state(states)

    def load(self, split: Split, order: Order) -> Batches:
        """The batches of an order."""
        return load(split, order)

    def measure(self, problem: Problem, outputs: Any, targets: Mapping[str, Tensor]) -> Measurements:
        """The batch's losses and KPIs."""
        return measure(problem, select_labelled(problem, outputs, targets))

    def backward(self, total: Tensor, losses: Mapping[str, Tensor]) -> None:
        """Back-propagate."""
        self.fabric.backward(total)

    def shard(self, order: Order) -> Order:
        """The batches of an evaluation that are this process's to do."""
        return order

    def gather_then(self, batches: list[Labelled], conclusion: Callable[[list[Labelled]], T]) -> T:
        """What follows from the batches of an evaluation."""
        return conclusion(batches)

    def broadcast(self, value: T) -> T:
        """The first process's value."""
        return value

    def all_sum(self, value: int | None) -> int | None:
        """The sum over the processes."""
        return value


class MultiProcess:
    """Several processes, each with a share of every batch, under Fabric's DDP.

    Losses have on every rank the value that they have on the whole batch, as their mean over its labels, and a graph whose
    gradient, averaged over ranks, is that of the whole batch. KPIs are averaged likewise, which is exact for means over
    examples, such as accuracy, and an approximation for others, such as the IoU of a batch.
    """

    def __init__(self, fabric: "Fabric", network: Any, interrupt: Interrupt | RemoteInterrupt) -> None:
        self.fabric, self.interrupt = fabric, interrupt
        self.module: nn.Module = network.module  # for evaluation: forwards of the wrapper are collective
        self.world_size, self.rank, self.is_main = fabric.world_size, fabric.global_rank, fabric.is_global_zero
        self.stopped = False
        self._parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self._unused: dict[frozenset[str], list[nn.Parameter]] = {}

    def prepare(self, network: nn.Module, batches: Batches, seed: int) -> None:
        """Rehearse a step, and give each rank a random state of its own, so that no two drop the same units.

        DDP arranges the gradients anew after its first step, which in a resumed run would be another one than before; and
        sums over three ranks or more round by how gradients are arranged.
        """
        network.eval()
        for inputs, _ in islice(batches, 1):
            outputs = network(inputs).values()
            self._backward(torch.stack([output.float().sum() for output in outputs]).sum())
        for parameter in self._parameters:
            parameter.grad = None
        torch.manual_seed(seed + 1_000_003 * (self.rank + 1))

    def random_states(self) -> Any:
        """Those of all ranks on the first, None on the others."""
        return self._gather_on_main(torch.get_rng_state())

    def restore_random_state(self, states: Any) -> None:
        """Take up this rank's."""
        torch.set_rng_state(states[self.rank])

    def load(self, split: Split, order: Order) -> Batches:
        """This rank's share of the batches of an order; targets may be fewer than inputs, see `_pad_share`."""
        shares = [batch[self.rank :: self.world_size] for batch in order]
        filled = [_pad_share(share, batch) for share, batch in zip(shares, order, strict=True)]
        for share, (inputs, targets) in zip(shares, load(split, filled), strict=True):
            yield inputs, {task: target[: len(share)] for task, target in targets.items()}

    def measure(self, problem: Problem, outputs: Any, targets: Mapping[str, Tensor]) -> Measurements:
        """The whole batch's losses and KPIs, in one collective; also whether any rank was asked to stop."""
        outputs = _drop_padding(outputs, targets)
        found = select_labelled(problem, outputs, targets)
        local = measure(problem, found)
        rows = [_partial_sums(task, found, local) for task in problem.task_names]
        sums = self._sum_over_ranks(torch.stack([row.to(self.fabric.device) for row in rows]))
        examples, losses, kpis = {}, {}, {}
        for task, (count, entries, _, measured, _), total in zip(problem.task_names, sums.tolist(), sums, strict=True):
            if not count:
                continue
            examples[task] = int(count)
            loss = local.losses[task] if task in found else outputs[task][:0].sum()
            share = self.world_size * _label_count(found, task) / entries
            losses[task] = (total[2] / entries).to(loss.dtype) + share * (loss - loss.detach())
            if measured:
                kpis[task] = (total[4] / measured).float()
        return Measurements(examples, losses, kpis)

    def backward(self, total: Tensor, losses: Mapping[str, Tensor]) -> None:
        """Back-propagate such that DDP hears of every parameter, and those that no loss depends on keep no gradient.

        To be skipped by the optimizer is not the same as a gradient of 0, by which Adam would go on.
        """
        unused = self._unused_parameters(losses)
        self._backward(total)
        for parameter in unused:
            parameter.grad = None

    def shard(self, order: Order) -> Order:
        """This rank's turn of the batches of an evaluation; buffers become those of the first rank."""
        for buffer in self.module.buffers():
            dist.broadcast(buffer, 0)
        return order[self.rank :: self.world_size]

    def gather_then(self, batches: list[Labelled], conclusion: Callable[[list[Labelled]], T]) -> T:
        """What follows from the batches of all ranks, in order; worked out by the first for all."""
        everyones = self._gather_on_main([_to_device(batch, torch.device("cpu")) for batch in batches])
        if everyones is None:
            return self.broadcast(None)  # type: ignore[return-value]  # it is the first rank's that is returned
        in_order = [batch for batch in chain.from_iterable(zip_longest(*everyones)) if batch is not None]
        return self.broadcast(conclusion([_to_device(batch, self.fabric.device) for batch in in_order]))

    def broadcast(self, value: T) -> T:
        """The first rank's value."""
        return self.fabric.broadcast(value)  # type: ignore[no-any-return]

    def all_sum(self, value: int | None) -> int | None:
        """The sum over ranks, on the first; None on the others, and where a rank has none."""
        values = self._gather_on_main(value) or [None]
        return None if None in values else sum(values)

    def _backward(self, total: Tensor) -> None:
        self.fabric.backward(_ReachAllParameters.apply(total, *self._parameters))  # type: ignore[no-untyped-call]

    def _gather_on_main(self, value: Any) -> list[Any] | None:
        values = [None] * self.world_size if self.is_main else None
        dist.gather_object(value, values)
        return values

    def _sum_over_ranks(self, rows: Tensor) -> Tensor:
        """The rows added over ranks, in the order of the ranks: to the last bit the same on each."""
        mine = torch.cat([rows.flatten(), rows.new_tensor([self.interrupt.requested])])
        everyones = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(everyones, mine)
        sums = torch.stack(everyones).sum(0)
        self.stopped = bool(sums[-1])
        return sums[:-1].view_as(rows)

    def _unused_parameters(self, losses: Mapping[str, Tensor]) -> list[nn.Parameter]:
        """The parameters that none of these tasks' losses depends on, on any rank; found once for each set of tasks."""
        tasks = frozenset(losses)
        if tasks not in self._unused:
            leaves = set(other_leaves(losses.values(), []))
            used = torch.tensor([parameter in leaves for parameter in self._parameters])
            used = used.to(self.fabric.device, torch.int32)
            dist.all_reduce(used, dist.ReduceOp.MAX)
            self._unused[tasks] = [one for one, is_used in zip(self._parameters, used.tolist(), strict=True) if not is_used]
        return self._unused[tasks]


def _pad_share(share: list[int], batch: list[int]) -> list[int]:
    """The share, filled up from the rest of the batch where it is too small to run; what is added counts as unlabelled."""
    missing = min(_MIN_EXAMPLES, len(batch)) - len(share)
    return share if missing <= 0 else share + [index for index in batch if index not in share][:missing]


def _drop_padding(outputs: Any, targets: Mapping[str, Tensor]) -> Any:
    if not isinstance(outputs, Mapping):  # which `labelled` has a sentence for
        return outputs
    return {task: output[: len(targets[task])] if task in targets else output for task, output in outputs.items()}


def _partial_sums(task: str, found: Labelled, local: Measurements) -> Tensor:
    """What adds up over ranks: labelled examples, labels, labels × loss, and labels that have a KPI, those × KPI."""
    if task not in found:
        return torch.zeros(5, dtype=torch.float64)
    loss = local.losses[task].detach().double()
    labels = loss.new_tensor(_label_count(found, task))
    kpi = local.kpis.get(task, loss.new_tensor(math.nan)).detach().to(loss)
    measured = torch.where(kpi.isnan(), 0, labels)
    return torch.stack([loss.new_tensor(local.examples[task]), labels, labels * loss, measured, measured * kpi.nan_to_num()])


def _label_count(found: Labelled, task: str) -> int:
    """How many labels the rank has: pixels, say, where an example has many, since that is what losses are means over."""
    return int(label_mask(found[task][1]).sum()) if task in found else 0


def _to_device(batch: Labelled, device: torch.device) -> Labelled:
    return {task: (output.to(device), target.to(device)) for task, (output, target) in batch.items()}


class _ReachAllParameters(torch.autograd.Function):
    """A scalar that all parameters are asked for a gradient of, without giving them one."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, *parameters: Tensor) -> Tensor:
        ctx.others = len(parameters)
        return total.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (gradient, *[None] * ctx.others)
