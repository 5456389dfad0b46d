"""One process or several: how ranks share a batch, and how they compute the whole batch's losses and KPIs.

Several devices should compute what one device computes on the whole batch, up to rounding. Averaging gradients, as DDP does,
is not enough. A balancer reacts to the values of losses and KPIs: if each rank balanced the losses of its own share, the
ranks would use different weights. And a mean over labels is not the mean of the ranks' means if the ranks have different
numbers of labels; a task may have labels on one rank only, or on none.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from hardfirst.balancers._autograd import other_leaves
from hardfirst.problems import Problem, Split
from hardfirst.training._batch import Batch, Labelled, Measurements, label_count, measure, select_labelled
from hardfirst.training._evaluate import Share
from hardfirst.training._interrupt import Interrupt, RemoteInterrupt
from hardfirst.training._loading import Loading, Pair, load
from hardfirst.training._randomness import randomness, restore_randomness, seed_randomness
from hardfirst.training._sampling import Order

if TYPE_CHECKING:
    from lightning.fabric import Fabric

T = TypeVar("T")
Batches = Iterator[Pair]

_MIN_EXAMPLES = 2  # of a rank's share, if the batch has as many: in training, BatchNorm raises an error on one example


class SingleProcess:
    """Training in one process, whose share is the whole batch."""

    world_size, is_main = 1, True

    def __init__(self, fabric: "Fabric", network: nn.Module, interrupt: Interrupt | RemoteInterrupt) -> None:
        self.fabric, self.module, self.interrupt = fabric, network, interrupt

    @property
    def stopped(self) -> bool:
        """Return whether training should stop after this step."""
        return self.interrupt.requested

    def prepare(self, network: nn.Module, batches: Iterable[Batch], seed: int) -> None:
        """Do nothing: training continues from torch's random state after the network was built."""

    def random_states(self) -> Any:
        """Return the random states, for the checkpoint."""
        return randomness()

    def restore_random_state(self, states: Any) -> None:
        """Restore the random states of a checkpoint."""
        restore_randomness(states)

    def load(self, split: Split, order: Order, loading: Loading, draw: tuple[int, int]) -> Batches:
        """Load the training batches of an order."""
        return load(split, order, loading, draw=draw)

    def measure(self, problem: Problem, outputs: Any, batch: Batch) -> Measurements:
        """Compute the batch's losses and KPIs."""
        return measure(problem, select_labelled(problem, outputs, batch.targets, batch.rows))

    def backward(self, total: Tensor, losses: Mapping[str, Tensor]) -> None:
        """Back-propagate."""
        self.fabric.backward(total)

    def shard(self, order: Order) -> Order:
        """Return this process's batches of an evaluation."""
        return order

    def in_order(self, shares: Iterator[dict[str, Share]], order: Order) -> Iterator[dict[str, Share]]:
        """Yield the batches of an evaluation, in order."""
        return shares

    def broadcast(self, value: T) -> T:
        """Return the first process's value."""
        return value

    def all_sum(self, value: int | None) -> int | None:
        """Sum over the processes."""
        return value


class MultiProcess:
    """Training in several processes, each with a share of every batch, under Fabric's DDP.

    On every rank a loss has the value of the whole batch, its mean over all labels, and a graph whose gradient, averaged
    over ranks by DDP, is the gradient of the whole batch. KPIs are averaged in the same way, which is exact for means over
    examples, such as accuracy, and an approximation for others, such as the IoU of a batch.
    """

    def __init__(self, fabric: "Fabric", network: Any, interrupt: Interrupt | RemoteInterrupt) -> None:
        self.fabric, self.interrupt = fabric, interrupt
        # The network without DDP's wrapper, for evaluation: the wrapper's forward is a collective, but the ranks may
        # evaluate different numbers of batches.
        self.module: nn.Module = network.module
        self.world_size, self.rank, self.is_main = fabric.world_size, fabric.global_rank, fabric.is_global_zero
        self.stopped = False
        self._parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self._unused: dict[frozenset[str], list[nn.Parameter]] = {}

    def prepare(self, network: nn.Module, batches: Iterable[Batch], seed: int) -> None:
        """Rehearse a step, and give each rank its own random state, so that no two ranks drop the same units.

        After its first step, DDP rearranges the gradients in its buckets in the order in which they became ready. A resumed
        run would do so at a later step than the uninterrupted run, and sums over three or more ranks round differently in
        another arrangement. After the rehearsal the arrangement is final before the first real step, so a resumed run gives
        identical weights.
        """
        network.eval()  # leaves the statistics of BatchNorm and the random state alone
        for batch in islice(batches, 1):
            outputs = network(batch.inputs).values()
            self._backward(torch.stack([output.float().sum() for output in outputs]).sum())
        for parameter in self._parameters:
            parameter.grad = None
        seed_randomness(seed + 1_000_003 * (self.rank + 1))

    def random_states(self) -> Any:
        """Return the random states of all ranks, for the checkpoint; None on ranks other than the first."""
        return self._gather_on_main(randomness())

    def restore_random_state(self, states: Any) -> None:
        """Restore this rank's random states from a checkpoint."""
        restore_randomness(states[self.rank])

    def load(self, split: Split, order: Order, loading: Loading, draw: tuple[int, int]) -> Batches:
        """Load this rank's share of each training batch of an order; a batch's targets may be fewer than its inputs.

        A share that is too small for the network is padded, see `_pad_share`; padding has no targets.
        """
        shares = [batch[self.rank :: self.world_size] for batch in order]
        padded = [_pad_share(share, batch) for share, batch in zip(shares, order, strict=True)]
        for share, (inputs, targets) in zip(shares, load(split, padded, loading, draw=draw), strict=True):
            yield inputs, {task: target[: len(share)] for task, target in targets.items()}

    def measure(self, problem: Problem, outputs: Any, batch: Batch) -> Measurements:
        """Compute the whole batch's losses and KPIs, in one collective, which also exchanges requests to stop.

        Let n_r be the number of labels of a task on rank r, n their sum over the R ranks, and l_r the mean loss on rank r.
        The whole batch's loss is L = Σ_r n_r·l_r / n. Rank r returns the value L with the gradient of R·n_r/n · l_r: DDP
        averages gradients over ranks, (1/R)·Σ_r R·n_r/n · ∇l_r = ∇L.

        A task without labels on any rank is left out on all of them. A task with labels only on other ranks gets L here too,
        with a gradient of 0 through an empty slice of the output, so that all ranks balance the same tasks.
        """
        outputs = _drop_padding(outputs, batch.targets)
        labelled = select_labelled(problem, outputs, batch.targets, batch.rows)
        local = measure(problem, labelled)
        rows = [_partial_sums(task, labelled, local) for task in problem.task_names]
        sums = self._sum_over_ranks(torch.stack([row.to(self.fabric.device) for row in rows]))
        examples, losses, kpis = {}, {}, {}
        for task, (count, labels, _, measured, _), total in zip(problem.task_names, sums.tolist(), sums, strict=True):
            if not count:
                continue
            examples[task] = int(count)
            loss = local.losses[task] if task in labelled else outputs[task][:0].sum()
            share = self.world_size * _label_count(labelled, task) / labels
            losses[task] = (total[2] / labels).to(loss.dtype) + share * (loss - loss.detach())
            if measured:
                kpis[task] = (total[4] / measured).float()
        return Measurements(examples, losses, kpis)

    def backward(self, total: Tensor, losses: Mapping[str, Tensor]) -> None:
        """Back-propagate through DDP, and leave parameters that no loss depends on without a gradient.

        DDP waits until every parameter has been reached, and gives those without a gradient a gradient of 0. With a gradient
        of 0, Adam would still move a parameter by its momentum; without one it skips it, as in a single process.
        """
        # if gradients accumulate, an earlier batch of the step may have reached them
        unused = [parameter for parameter in self._unused_parameters(losses) if parameter.grad is None]
        self._backward(total)
        for parameter in unused:
            parameter.grad = None

    def shard(self, order: Order) -> Order:
        """Return this rank's batches of an evaluation, after copying the first rank's buffers to this rank.

        The statistics of BatchNorm differ between ranks, since each updates them from its own shares.
        """
        for buffer in self.module.buffers():
            dist.broadcast(buffer, 0)
        return order[self.rank :: self.world_size]

    def in_order(self, shares: Iterator[dict[str, Share]], order: Order) -> Iterator[dict[str, Share]]:
        """Gather the kept data of each rank's batches, and yield it on the first rank, in the order of the batches.

        The ranks proceed together, one batch each. So the first rank adds what a single process would add, in the same
        order, with identical results, and no rank stores more than a batch, unless a measure needs all outputs at once.

        Args:
            shares: the kept data of this rank's batches.
            order: all ranks' batches.
        """
        for _ in range(0, len(order), self.world_size):
            by_rank = self._gather_on_main(tree_map_only(Tensor, Tensor.cpu, next(shares, {})))
            yield from by_rank or ()

    def broadcast(self, value: T) -> T:
        """Return the first rank's value."""
        return self.fabric.broadcast(value)  # type: ignore[no-any-return]

    def all_sum(self, value: int | None) -> int | None:
        """Sum over ranks, on the first; None on the others, or if the value of a rank is None."""
        values = self._gather_on_main(value) or [None]
        return None if None in values else sum(values)

    def _backward(self, total: Tensor) -> None:
        self.fabric.backward(_ReachAllParameters.apply(total, *self._parameters))  # type: ignore[no-untyped-call]

    def _gather_on_main(self, value: Any) -> list[Any] | None:
        values = [None] * self.world_size if self.is_main else None
        dist.gather_object(value, values)
        return values

    def _sum_over_ranks(self, rows: Tensor) -> Tensor:
        """Sum the rows over ranks, with identical results on each; set `stopped` if any rank was asked to stop.

        Each rank gathers all rows and adds them in the order of the ranks. all_reduce guarantees no order of summation; if
        its results differed in the last bit, the balancers of the ranks would drift apart. The request to stop is part of
        the same tensor, so that all ranks see it in the same step.
        """
        local = torch.cat([rows.flatten(), rows.new_tensor([self.interrupt.requested])])
        by_rank = [torch.empty_like(local) for _ in range(self.world_size)]
        dist.all_gather(by_rank, local)
        sums = torch.stack(by_rank).sum(0)
        self.stopped = bool(sums[-1])
        return sums[:-1].view_as(rows)

    def _unused_parameters(self, losses: Mapping[str, Tensor]) -> list[nn.Parameter]:
        """Return the parameters that no loss of these tasks depends on, on any rank; computed once per set of tasks."""
        tasks = frozenset(losses)
        if tasks not in self._unused:
            leaves = set(other_leaves(losses.values(), []))
            used = torch.tensor([parameter in leaves for parameter in self._parameters])
            used = used.to(self.fabric.device, torch.int32)
            dist.all_reduce(used, dist.ReduceOp.MAX)
            pairs = zip(self._parameters, used.tolist(), strict=True)
            self._unused[tasks] = [parameter for parameter, is_used in pairs if not is_used]
        return self._unused[tasks]


def _pad_share(share: list[int], batch: list[int]) -> list[int]:
    """Pad a share that is too small to run with examples from the rest of the batch; they count as unlabelled."""
    missing = min(_MIN_EXAMPLES, len(batch)) - len(share)
    return share if missing <= 0 else share + [index for index in batch if index not in share][:missing]


def _drop_padding(outputs: Any, targets: Mapping[str, Tensor]) -> Any:
    if not isinstance(outputs, Mapping):  # `select_labelled` raises the error
        return outputs
    return {task: output[: len(targets[task])] if task in targets else output for task, output in outputs.items()}


def _partial_sums(task: str, labelled: Labelled, local: Measurements) -> Tensor:
    """Return a rank's contribution to a task's means over the whole batch, as float64; 0 where it has no labels.

    Returns:
        [5]: labelled examples; labels; labels × loss; labels with a KPI; labels with a KPI × KPI. A KPI that is NaN on this
        rank, since it is undefined on its share, does not count.
    """
    if task not in labelled:
        return torch.zeros(5, dtype=torch.float64)
    loss = local.losses[task].detach().double()
    labels = loss.new_tensor(_label_count(labelled, task))
    kpi = local.kpis.get(task, loss.new_tensor(math.nan)).detach().to(loss)
    measured = torch.where(kpi.isnan(), 0, labels)
    return torch.stack([loss.new_tensor(local.examples[task]), labels, labels * loss, measured, measured * kpi.nan_to_num()])


def _label_count(labelled: Labelled, task: str) -> int:
    return label_count(labelled[task][1]) if task in labelled else 0


class _ReachAllParameters(torch.autograd.Function):
    """Identity whose graph reaches all parameters without giving them a gradient, so that DDP's hooks run for each.

    Without it DDP would wait for parameters that no loss of this step depends on. DDP's find_unused_parameters follows the
    outputs of forward: it cannot know which tasks have labels, nor which graph a gradient balancer builds.
    """

    @staticmethod
    def forward(ctx: Any, total: Tensor, *parameters: Tensor) -> Tensor:
        ctx.count = len(parameters)
        return total.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (gradient, *[None] * ctx.count)
