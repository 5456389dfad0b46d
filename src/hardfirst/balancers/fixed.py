from collections.abc import Mapping, Sequence
from math import isnan
from os import PathLike
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from torch import Tensor

from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.errors import InputError, check_names, flag, mapping, number, short
from hardfirst.records import read


class Fixed(LossBalancer):
    r"""Fixed weights set by the user: :math:`\sum_t w_t L_t`.

    When to use: Use when you know good weights or can tune them on validation data. Dynamic methods should beat this.

    Cost: one backward pass per step; no state.

    Args:
        tasks: distinct non-empty strings.
        weights: one for each task, at least 0, not all 0.
        normalize: whether to scale the weights to sum to the number of tasks, which keeps learning rates comparable.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.

    Raises:
        InputError: a task has no weight, or a weight is negative.

    Example:
        >>> import torch
        >>> balancer = Fixed(["a", "b"], {"a": 1.0, "b": 3.0}, normalize=True)
        >>> balancer({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
        tensor(3.5000)
    """

    weight: Tensor

    @classmethod
    def example_options(cls, tasks: Sequence[str]) -> Mapping[str, Any]:
        return {"weights": dict.fromkeys(tasks, 1.0)}

    def __init__(
        self,
        tasks: Sequence[str],
        weights: Mapping[str, float],
        *,
        normalize: bool = False,
        anneal: Anneal = None,
        steps: int | None = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=False)
        if isinstance(weights, str):
            raise InputError(
                f"Expected `weights` to be a mapping by task, in a spec fixed:{self.tasks[0]}=2 and so on; got "
                f"{short(weights)}. Only a candidate of `hardfirst search` can take the average weights of dtp."
            )
        mapping("weights", weights, "{'depth': 1.0, 'segment': 2.0}")
        check_names("task", weights, self.tasks)
        for task in self.tasks:
            if task not in weights:
                raise InputError(f"Expected a weight for every task; {task!r} has none.")
        values = [number(f"weights.{task}", weights[task], least=0) for task in self.tasks]
        if not sum(values):
            raise InputError("Expected at least one weight above 0; got none.")
        scale = len(values) / sum(values) if flag("normalize", normalize) else 1.0
        self.add_state("weight", [scale * value for value in values], persistent=False)

    @classmethod
    def frozen(cls, tasks: Sequence[str], *, record: str | PathLike[str]) -> Self:
        """Construct constant weights from an earlier run: its effective weights, averaged over its epochs.

        When to use: Use as a control: is a gain due to changing weights, or to better static ones?

        Args:
            tasks: the tasks of that run, in any order.
            record: the run's record, a .jsonl file.

        Raises:
            InputError: the record does not exist, or has no weights for these tasks.

        Example:
            A study keeps its records in its folder: `frozen:record=runs/digits/trials/0123456789abcdef.jsonl`.
        """
        if not isinstance(record, str | PathLike):
            raise InputError(f"Expected `record` to be the path of a run's record, a .jsonl file; got {record!r}.")
        path = Path(record)
        if not path.is_file():
            raise InputError(f"The record {path} to take weights from does not exist.")
        run = read(path)
        check_names("task", tasks, run.tasks)
        curves = {task: [weight for weight in run.curve(task, "weight") if not isnan(weight)] for task in tasks}
        for task, curve in curves.items():
            if not curve:
                raise InputError(f"The record {path} has no weights for task {task!r}.")
        return cls(tasks, {task: fmean(curve) for task, curve in curves.items()}, normalize=True)

    def current_weights(self) -> Tensor:
        return self.weight.clone()
