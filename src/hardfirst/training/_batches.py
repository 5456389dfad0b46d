"""The training batches of a run: their order, and what is computed before they go to the device."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from hardfirst.problems import Problem, Split
from hardfirst.training._batch import Batch, complete_tasks, labelled_rows
from hardfirst.training._loading import Loading, Pair, load
from hardfirst.training._network import must_join
from hardfirst.training._ranks import MultiProcess, SingleProcess
from hardfirst.training._sampling import Order, epoch_order

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class TrainingBatches:
    """The batches of each epoch, determined by the seed.

    Args:
        problem: the problem.
        split: the training split.
        seed: the seed of the run.
        fabric: the Fabric of the run.
        loading: how batches are loaded.

    Raises:
        InputError: the network cannot be trained on one example, and some batches would have only one.
    """

    def __init__(self, problem: Problem, split: Split, seed: int, fabric: "Fabric", loading: Loading) -> None:
        self.problem, self.split, self.seed, self.fabric, self.loading = problem, split, seed, fabric, loading
        self._complete = complete_tasks(split)
        self._join_single = must_join(problem, split)
        self.count = len(self._order(0))

    def epoch(self, epoch: int, start: int, processes: SingleProcess | MultiProcess) -> Iterator[Batch]:
        """Yield the batches of an epoch on the device; in each of several processes, its share of them.

        Args:
            epoch: counts from 0.
            start: the number of batches to skip, since the run has already trained on them.
            processes: the processes that load them.
        """
        order = self._order(epoch)[start:]
        return map(self._on_device, processes.load(self.split, order, self.loading, (self.seed, epoch)))

    def loaded(self, epoch: int, number: int) -> Pair:
        """Return a whole batch, not on the device; both numbers count from 0."""
        return next(load(self.split, self._order(epoch)[number : number + 1], draw=(self.seed, epoch)))

    def _order(self, epoch: int) -> Order:
        return epoch_order(self.problem, self.split, self.seed, epoch, join_single=self._join_single)

    def _on_device(self, pair: Pair) -> Batch:
        inputs, targets = pair
        batch = Batch(inputs, targets, labelled_rows(self.problem, targets, self._complete))
        return batch if self._is_there(batch) else Batch(*self.fabric.to_device(tuple(batch)))

    def _is_there(self, batch: Batch) -> bool:
        """Return whether the batch is already on the device: Fabric would traverse each container to move nothing."""
        on_cpu = self.fabric.device.type == "cpu" and isinstance(batch.inputs, Tensor) and batch.inputs.is_cpu
        return on_cpu and all(isinstance(target, Tensor) and target.is_cpu for target in batch.targets.values())
