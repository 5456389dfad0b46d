"""A trained network with what it was trained for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from hardfirst.errors import InputError
from hardfirst.problems import ConcatSplit, Problem, TableTransform, collate
from hardfirst.training import in_precision, load_splits

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLES = 8
_BATCH = 1024  # examples, as in the evaluation of a run


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network with what it was trained for.

    Args:
        network: in evaluation mode, with the weights of the best epoch by validation.
        tasks: the names of the tasks.
        settings: the run's, as in its record.
        epoch: the epoch whose weights these are.
        precision: the recipe's, in which `outputs` runs the network.
        problem: the problem, with the run's network and tasks; None for a table, whose file is not needed.
        transform: of a table, what turns rows into inputs and outputs into predictions; else None.

    Example:
        >>> import pandas as pd
        >>> from hardfirst.problems.tables import NumberColumn, Scale, TableTransform, TargetColumn
        >>> area = NumberColumn("area", Scale(low=0.0, high=200.0, mean=100.0, deviation=20.0))
        >>> transform = TableTransform((area,), (TargetColumn("price", "regression", mean=300.0, deviation=50.0),))
        >>> trained = TrainedNetwork(transform.network(), ("price",), {"problem": "homes"}, epoch=1, transform=transform)
        >>> trained.predict(pd.DataFrame({"area": [120, 90, 70]})).shape
        (3, 1)
    """

    network: nn.Module
    tasks: tuple[str, ...]
    settings: Mapping[str, Any]
    epoch: int
    precision: str = "32-true"
    problem: Problem | None = None
    transform: TableTransform | None = None

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
        device = next(iter(self.network.parameters())).device
        network = in_precision(self.network.eval(), self.precision, device)
        try:
            parts = [network(tree_map(lambda tensor: tensor.to(device), batch)) for batch in _batches(inputs)]
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            reason = f"{' '.join(str(error).split()):.200}"
            raise InputError(
                f"The network of problem {self.name!r} fails on these inputs: {type(error).__name__}, {reason}"
            ) from error
        return {task: torch.cat([part[task].cpu() for part in parts]) for task in self.tasks}

    def predict(self, data: Any) -> "dict[str, Tensor] | pd.DataFrame":
        """What the network predicts for new examples.

        Args:
            data: of a table, new rows: a data frame with its input columns, or the path of a file of them. Of another
                problem, inputs as in `outputs`, or the path of a file of them if the problem has `inputs_from`.

        Returns:
            Of a table, a data frame with a row for each of the new rows: numbers in the unit of their column, and classes by
            name with the probability of each under "NAME: CLASS". Of another problem, the outputs by task.

        Raises:
            InputError: a column is missing, a cell is not what it was in training, or these are not inputs of the network.
        """
        if self.transform is None:
            return self.outputs(self._read(data) if isinstance(data, str | Path) else data)
        rows = self.transform.read(Path(data)) if isinstance(data, str | Path) else data
        if not hasattr(rows, "columns"):
            raise InputError(f"Expected new rows as a data frame or the path of a file; got {type(rows).__name__}.")
        if not len(rows):
            raise InputError("Expected at least one new row; got none.")
        return self.transform.predictions(self.outputs(self.transform.transform(rows))).set_axis(rows.index)

    @property
    def name(self) -> str:
        """The name of the problem."""
        return str(self.settings["problem"])

    def example_inputs(self) -> Any:
        """A batch of inputs: of the validation split, or of a table random numbers with mean 0 and variance 1."""
        if self.problem is None:
            assert self.transform is not None
            return torch.randn(_EXAMPLES, self.transform.width, generator=torch.Generator().manual_seed(0))
        split = ConcatSplit(load_splits(self.problem, test=False).validation)
        return collate(split.__getitems__(list(range(min(_EXAMPLES, split.sizes[0])))))[0]

    def _read(self, path: str | Path) -> Any:
        if self.problem is None or self.problem.inputs_from is None:
            raise InputError(
                f"Problem {self.name!r} does not say how inputs are read from a file. Give it `inputs_from`, a function of "
                "a path; or use Python: hardfirst.load(RUN).predict(inputs)."
            )
        return self.problem.inputs_from(Path(path))


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
