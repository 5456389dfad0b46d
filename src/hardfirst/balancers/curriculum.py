from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hardfirst._task_names import require_order
from hardfirst.balancers._loss import LossBalancer
from hardfirst.errors import InputError, check_names, whole


class Curriculum(LossBalancer):
    r"""A curriculum from easy to hard: weights :math:`w_t = \mathrm{clip}(1 + (T - 1) \, e / E - k_t, \, 0, \, 1)`.

    e is the number of finished epochs out of the curriculum's E, and :math:`k_t` the task's position in the order, 0 for
    the easiest. The easiest task starts alone; the weights of the others rise linearly, one after another, until all are 1.

    When to use: Use when harder tasks build on easier ones and you know the order. It is the opposite of hard tasks first,
    and the baseline that Dynamic Task Prioritization argues against.

    Cost: one backward pass per step; 1 value of state.

    Args:
        tasks: distinct non-empty strings.
        order: every task once, from easy to hard; in a spec, `curriculum:order=easy+hard,epochs=10`.
        epochs: the number E of epochs after which all weights are 1, at least 1; choose fewer than the run has.

    Raises:
        InputError: `order` does not contain every task once, or `epochs` is not a whole number of at least 1.

    Example:
        >>> balancer = Curriculum(["hard", "easy", "medium"], order=["easy", "medium", "hard"], epochs=4)
        >>> for _ in range(3):
        ...     balancer.end_epoch()
        >>> balancer.weights
        {'hard': tensor(0.5000), 'easy': tensor(1.), 'medium': tensor(1.)}

    Note:
        Call `end_epoch` after each epoch; otherwise only the easiest task is learned. The paper orders examples, not tasks.
        In its curricula no weight falls, the distribution's entropy rises, and all weights end at 1; this is the schedule
        with these properties and a linear sum. Before the end, the weights sum to less than T.

    References:
        Bengio, Louradour, Collobert and Weston, Curriculum Learning, ICML 2009, Sec. 3.
    """

    needs = frozenset({"epochs"})
    rank: Tensor
    epoch: Tensor

    @classmethod
    def example_options(cls, tasks: Sequence[str]) -> Mapping[str, Any]:
        return {"order": tasks, "epochs": 2}

    def __init__(self, tasks: Sequence[str], *, order: Sequence[str], epochs: int) -> None:
        super().__init__(tasks, process_group=False)
        require_order("order", order)
        # in a spec, a list with one entry is a word
        names: list[str] = [order] if isinstance(order, str) or not isinstance(order, Iterable) else list(order)
        check_names("task", names, self.tasks)
        if len(set(names)) < len(names) or len(names) < len(self.tasks):
            raise InputError(f"Expected `order` to contain every task once, from easy to hard; got {'+'.join(names)}.")
        self.epochs = whole("epochs", epochs, least=1)
        self.add_state("rank", [float(names.index(task)) for task in self.tasks], persistent=False)
        self.add_state("epoch", [0], dtype=torch.int64)

    def end_epoch(self) -> None:
        self.epoch.add_(1)

    def current_weights(self) -> Tensor:
        begun = 1 + (len(self.tasks) - 1) * self.epoch.float() / self.epochs
        return (begun - self.rank).clamp(0, 1)
