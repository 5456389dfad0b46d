"""A trained network with what it was trained for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from hardfirst.errors import InputError
from hardfirst.problems import ConcatSplit, Problem, collate
from hardfirst.training import in_precision, load_splits

_EXAMPLES = 8
_BATCH = 1024  # examples, as in the evaluation of a run


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network with what it was trained for.

    Args:
        network: in evaluation mode, with the weights of the best epoch by validation.
        problem: the problem, with the run's network and tasks.
        settings: the run's, as in its record.
        epoch: the epoch whose weights these are.
        precision: the recipe's, in which `outputs` runs the network.
    """

    network: nn.Module
    problem: Problem
    settings: Mapping[str, Any]
    epoch: int
    precision: str = "32-true"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks."""
        return self.problem.task_names

    @torch.no_grad()
    def outputs(self, inputs: Any) -> dict[str, Tensor]:
        """The network's output for each task, computed in batches of 1,024 examples.

        Args:
            inputs: as the network takes them: a tensor [examples, ...], or several in a dict, tuple or list.

        Returns:
            By task, [examples, ...] on the CPU.

        Raises:
            InputError: there is no example, or the network fails on these inputs.
        """
        first = next(iter(self.network.parameters()))
        network = in_precision(self.network.eval(), self.precision, first.device)
        try:
            parts = [network(tree_map(lambda tensor: tensor.to(first.device), batch)) for batch in _batches(inputs)]
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            reason = f"{' '.join(str(error).split()):.200}"
            raise InputError(
                f"The network of problem {self.problem.name!r} fails on these inputs: {type(error).__name__}, {reason}"
            ) from error
        return {task: torch.cat([part[task].cpu() for part in parts]) for task in self.tasks}

    def predict(self, data: Any) -> Any:
        """What the network predicts for new examples.

        Args:
            data: inputs as in `outputs`, or the path of a file of them if the problem has `inputs_from`.

        Returns:
            The outputs by task.

        Raises:
            InputError: the problem does not say how inputs are read from a file, or these are not inputs of the network.
        """
        return self.outputs(self._read(data) if isinstance(data, str | Path) else data)

    def _read(self, path: str | Path) -> Any:
        if self.problem.inputs_from is None:
            raise InputError(
                f"Problem {self.problem.name!r} does not say how inputs are read from a file. Give it `inputs_from`, a "
                "function of a path; or use Python: hardfirst.load(RUN).predict(inputs)."
            )
        return self.problem.inputs_from(Path(path))

    def example_inputs(self) -> Any:
        """A batch of inputs of the validation split."""
        split = ConcatSplit(load_splits(self.problem, test=False).validation)
        return collate(split.__getitems__(list(range(min(_EXAMPLES, split.sizes[0])))))[0]


def _batches(inputs: Any) -> Iterator[Any]:
    tensors = tree_leaves(inputs)
    if not tensors or not all(isinstance(tensor, Tensor) and tensor.dim() for tensor in tensors):
        raise InputError("Expected inputs to be a tensor [examples, ...], or several in a dict, tuple or list.")
    counts = {len(tensor) for tensor in tensors}
    if len(counts) > 1 or not min(counts):
        raise InputError(f"Expected inputs with at least one example, the same number in each tensor; got {sorted(counts)}.")
    (count,) = counts
    for start in range(0, count, _BATCH):
        yield tree_map(itemgetter(slice(start, start + _BATCH)), inputs)
