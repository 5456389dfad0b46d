from collections.abc import Sequence
from math import nan

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._epoch_mean import EpochMean
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number


class DWA(LossBalancer):
    r"""Dynamic Weight Average: weights :math:`w = T\,\mathrm{softmax}(r/\tau)` by how slowly each task's loss falls.

    :math:`r_t = \bar L_t(e-1) / \bar L_t(e-2)` is the ratio of the task's mean losses in the previous two epochs; T is the
    number of tasks. A task whose loss fell more than the others' weighs less.

    When to use: Use when tasks converge at different rates, in runs of many epochs with steady epoch means. The weights do
    not depend on the size of the losses, and stay near 1: at :math:`\tau = 2`, if one of two tasks halved its loss and the
    other made no progress, they are 0.88 and 1.12. Late in a run, the ratios are noise around 1.

    Cost: one backward pass per step; 4·T values of state.

    Args:
        tasks: distinct non-empty strings.
        temperature: :math:`\tau`, above 0; a larger value gives more even weights. The paper uses 2.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: the temperature is not above 0.

    Example:
        >>> import torch
        >>> balancer = DWA(["a", "b"])
        >>> for a in (4.0, 2.0):
        ...     total = balancer({"a": torch.tensor(a), "b": torch.tensor(1.0)})
        ...     balancer.end_epoch()
        >>> balancer.weights
        {'a': tensor(0.8756), 'b': tensor(1.1244)}

    Note:
        Call `end_epoch` after each epoch; otherwise the weights stay 1. As in the paper, the weights are 1 in the first two
        epochs, and the means are over the unweighted losses.
        The paper does not treat missing labels: here a mean is over the steps in which the task was present, and a task
        absent from one of the two epochs has :math:`r = 1`.

    References:
        Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019, Eq. (7).
    """

    needs = frozenset({"epochs"})
    ranges = {"temperature": Range(0.2, 5, log=True)}
    weight: Tensor
    previous: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        temperature: float = 2.0,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.temperature = number("temperature", temperature, above=0)
        self.add_state("weight", 1.0)
        self.add_state("previous", nan)
        self.epoch = EpochMean(self.tasks)

    @torch.no_grad()
    def end_epoch(self) -> None:
        mean = self.epoch.close()
        # NaN is a task that was absent; a mean that rose from nearly 0 must not make the softmax ∞ − ∞
        logits = (mean / self.previous / self.temperature).nan_to_num(1 / self.temperature)
        self.weight.copy_(logits.softmax(0) * len(self.tasks))
        self.previous.copy_(mean)

    def current_weights(self) -> Tensor:
        return self.weight.clone()

    def learn(self, losses: Tensor) -> None:
        self.epoch.add(losses)
