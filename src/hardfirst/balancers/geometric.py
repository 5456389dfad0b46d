from torch import Tensor

from hardfirst import functional
from hardfirst.balancers._nonlinear import NonlinearLossBalancer


class Geometric(NonlinearLossBalancer):
    r"""The geometric mean of the losses: :math:`\prod_t L_t^{1/T}` over the T tasks that are present.

    When to use: Use when losses have different units and sizes and you do not want to tune anything. Scaling one loss
    scales the whole step but does not change the balance. Each task has the weight :math:`1/L_t`, so a task with a loss
    near 0 takes over, and the others' share of the step shrinks.

    Cost: one backward pass per step; T values of state, for logging only.

    Args:
        tasks: distinct non-empty strings. Their losses must be at least 0; a negative loss gives a total of NaN.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Example:
        >>> import torch
        >>> balancer = Geometric(["a", "b"])
        >>> balancer({"a": torch.tensor(2.0), "b": torch.tensor(8.0)})
        tensor(4.)
        >>> balancer.weights
        {'a': tensor(1.), 'b': tensor(0.2500)}

    Note:
        A task that is absent is left out of the product and of T. A loss of exactly 0 counts as absent; the paper's product
        would be 0 and its gradient undefined. The total is not linear in the losses: micro-batches do not add up to one
        batch. The paper's focused variant, which counts some tasks twice, is not implemented.

    References:
        Chennupati, Sistu, Yogamani and Rawashdeh, MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss
        Strategy for Multi-Task Learning, CVPR Workshops 2019.
    """

    joint = True
    equal_alone = True

    def slope(self, losses: Tensor) -> Tensor:
        count = losses.count_nonzero()
        mean = (functional.present_logs(losses).sum() / count).exp()
        return mean / (count * losses)
