from collections.abc import Mapping, Sequence

from torch import Tensor

from hardfirst.balancers._base import KPIs, LossBalancer, weighted_sum
from hardfirst.errors import InputError, check_names, number


class Fixed(LossBalancer):
    r"""Weights set by hand: :math:`\sum_t w_t L_t`.

    When to use: you know the weights, or can tune them on validation; dynamic methods have to beat that.

    Cost: one backward per step; no state.

    Args:
        tasks: distinct non-empty strings.
        weights: one for each task, at least 0, not all 0.
        normalize: scale the weights so that they sum to the number of tasks, which keeps learning rates comparable.

    Raises:
        InputError: a task has no weight, or a weight is negative.

    Example:
        >>> import torch
        >>> balancer = Fixed(["a", "b"], {"a": 1.0, "b": 3.0}, normalize=True)
        >>> balancer({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
        tensor(3.5000)
    """

    weight: Tensor

    def __init__(self, tasks: Sequence[str], weights: Mapping[str, float], *, normalize: bool = False) -> None:
        super().__init__(tasks, process_group=False)
        check_names("task", weights, self.tasks)
        for task in self.tasks:
            if task not in weights:
                raise InputError(f"Expected a weight for every task; {task!r} has none.")
        values = [number(f"weights.{task}", weights[task], least=0) for task in self.tasks]
        if not sum(values):
            raise InputError("Expected at least one weight above 0; got none.")
        scale = len(values) / sum(values) if normalize else 1.0
        self._hold("weight", [scale * value for value in values], persistent=False)

    def _weights(self) -> Tensor:
        return self.weight.clone()

    def _total(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        return weighted_sum(losses, self.weight)
