from collections.abc import Sequence

from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group
from hardfirst.balancers._loss import Anneal
from hardfirst.balancers._nonlinear import NonlinearLossBalancer
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number


class UWSO(NonlinearLossBalancer):
    r"""Soft optimal uncertainty weighting (UW-SO): weights :math:`w = T\,\mathrm{softmax}(1/(\tau\,\mathrm{sg}\,L))`.

    T is the number of tasks that are present; sg stops the gradient. 1/L is the fixed point of uncertainty weighting for
    constant losses; the temperature :math:`\tau` softens it.

    When to use: Use it like uncertainty weighting, but without its inertia, if you can tune :math:`\tau`. It depends on the
    size of the losses: if 1/L of one task exceeds the others' by more than :math:`\tau`, that task gets nearly all the
    weight, so losses near 0 need a large :math:`\tau`.

    Cost: one backward pass per step; T values of state, for logging only.

    Args:
        tasks: distinct non-empty strings. Their losses must be above 0.
        temperature: :math:`\tau`, above 0; a larger value gives more even weights. The paper tunes it on each dataset.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: the temperature is not above 0.

    Example:
        >>> import torch
        >>> balancer = UWSO(["a", "b"])
        >>> balancer({"a": torch.tensor(0.5), "b": torch.tensor(1.0)})
        tensor(1.2689)
        >>> balancer.weights
        {'a': tensor(1.4621), 'b': tensor(0.5379)}

    Note:
        The paper's weights sum to 1; here they sum to T, so a learning rate tuned for equal weights still fits. The default
        temperature of 1 is not the paper's. The weights are those of the current step, so micro-batches do not add up to one
        batch.

    References:
        Kirchdorfer et al., Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning, GCPR 2024.
    """

    joint = True
    equal_alone = True
    ranges = {"temperature": Range(0.1, 10, log=True)}

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        temperature: float = 1.0,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.temperature = number("temperature", temperature, above=0)

    def slope(self, losses: Tensor) -> Tensor:
        return functional.uw_so(losses, self.temperature)
