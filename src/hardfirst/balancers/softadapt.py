from collections.abc import Sequence
from math import nan

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._ops import assign_where
from hardfirst.balancers._search_space import Range
from hardfirst.errors import flag, number, whole


class SoftAdapt(LossBalancer):
    r"""SoftAdapt: weights :math:`w = T\,\mathrm{softmax}(\beta s)` by the slope :math:`s_t` of each task's recent losses.

    The slope is per step, and divided by the sum of the slopes' absolute values unless `normalize` is False. A task whose
    loss rises, or falls more slowly than the others', weighs more. T is the number of tasks.

    When to use: Use when losses have little noise between batches, as in physics-informed networks. With noise the slopes
    are mostly chance; a longer window averages it out. At the default β no weight is more than 11% above another; tune it.

    Cost: one backward pass per step; `window`·T values of state.

    Args:
        tasks: distinct non-empty strings.
        beta: β. A negative value favours the tasks whose loss falls fastest. The paper uses 0.1.
        window: the number of losses from which a slope is computed, at least 2.
        normalize: whether slopes are relative to the sum of all slopes' absolute values. Otherwise they have the losses'
            unit.
        weigh: whether to multiply each weight by the task's mean loss in the window, the paper's loss-weighted form.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: an option has the wrong type or is out of range, or the window is shorter than 2.

    Example:
        >>> import torch
        >>> balancer = SoftAdapt(["a", "b"], beta=1, window=2)
        >>> for a in (4.0, 2.0):
        ...     total = balancer({"a": torch.tensor(a), "b": torch.tensor(1.0)})
        >>> balancer.weights  # the slopes are -2 and 0, and -1 and 0 after normalization
        {'a': tensor(0.5379), 'b': tensor(1.4621)}

    Note:
        The slope is the least-squares slope, which for a window of 2 is the paper's difference. The authors' package uses
        finite differences of higher order, which amplify noise, and divides by the signed sum of the slopes, which is near 0
        where some losses rise and others fall. The paper's weights sum to 1; here they sum to T, and come from the losses
        before the step, so micro-batches add up to one batch. A task has weight 1 until its window is full; the weights of
        the tasks with a slope then sum to the number of these tasks. An absent task's window does not move.

    References:
        Heydari, Thompson and Mehmood, SoftAdapt: Techniques for Adaptive Loss Weighting of Neural Networks with Multi-Part
        Loss Functions, arXiv:1912.12355, 2019.
    """

    ranges = {"beta": Range(0.03, 10, log=True)}
    history: Tensor
    line: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        beta: float = 0.1,
        window: int = 5,
        normalize: bool = True,
        weigh: bool = False,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.beta, self.window = number("beta", beta), whole("window", window, least=2)
        self.normalize, self.weigh = flag("normalize", normalize), flag("weigh", weigh)
        # for each task the latest losses, oldest first; NaN until the window is full
        self.add_state("history", [nan] * (len(self.tasks) * self.window), task_axes=1)
        times = [place - (self.window - 1) / 2 for place in range(self.window)]
        squares = sum(time * time for time in times)
        self.add_state("line", [time / squares for time in times], persistent=False, task_axes=0)

    def current_weights(self) -> Tensor:
        history = self._windows()
        slopes = (history * self.line).sum(1)
        measured = ~slopes.isnan()
        slopes = slopes.nan_to_num(0)
        if self.normalize:
            slopes = slopes / slopes.abs().sum().clamp_min(torch.finfo(slopes.dtype).tiny)
        logits = (self.beta * slopes).clamp(-1e30, 1e30)
        if self.weigh:
            logits = logits + history.mean(1).clamp_min(torch.finfo(slopes.dtype).tiny).log()
        shares = logits.masked_fill(~measured, -torch.inf).softmax(0)
        return torch.where(measured, shares * measured.sum(), 1)

    def learn(self, losses: Tensor) -> None:
        history, new = self._windows(), losses.unsqueeze(1)
        assign_where(new.isnan(), history, torch.cat([history[:, 1:], new], 1), history)

    def _windows(self) -> Tensor:
        return self.history.view(len(self.tasks), self.window)
