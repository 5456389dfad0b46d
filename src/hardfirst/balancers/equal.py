from torch import Tensor

from hardfirst.balancers._base import KPIs
from hardfirst.balancers._loss import LossBalancer


class Equal(LossBalancer):
    r"""Equal weights: the plain sum :math:`\sum_t L_t`.

    When to use: Start here: the baseline for every comparison. When all methods are tuned equally, it is hard to beat.

    Cost: one backward pass per step; no state.

    Args:
        tasks: distinct non-empty strings.

    Example:
        >>> import torch
        >>> Equal(["a", "b"])({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
        tensor(3.)

    References:
        Kurin et al., In Defense of the Unitary Scalarization for Deep Multi-Task Learning, NeurIPS 2022.
    """

    def __init__(self, tasks: list[str] | tuple[str, ...]) -> None:
        super().__init__(tasks, process_group=False)
        self.add_state("ones", 1.0, persistent=False)

    def current_weights(self) -> Tensor:
        return self.get_buffer("ones").clone()

    def combine(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        return losses.sum()
