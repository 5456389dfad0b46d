from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor

from hardfirst._task_state import Group, send
from hardfirst.balancers._gradient import GradientBalancer
from hardfirst.balancers._rows import combine, lengths, update_memory
from hardfirst.balancers._search_space import Range
from hardfirst.errors import InputError, number


class DBMTL(GradientBalancer):
    r"""DB-MTL: the sum of the averaged gradients of the tasks' log losses, each scaled to the length of the longest.

    :math:`\hat g_t \leftarrow \beta \hat g_t + (1 - \beta) \nabla \log L_t`, and the update is
    :math:`\sum_t (\max_s \lVert \hat g_s \rVert / \lVert \hat g_t \rVert) \, \hat g_t`.

    When to use: losses of different units and speeds, with memory to spare: the logarithm makes losses comparable, the
    scaling makes gradients comparable. Losses have to stay above 0; one that nears 0 is pushed harder and harder.

    Cost: one backward for each task and step; T·n numbers of memory for n shared parameters, and T·n + T of state.

    Args:
        tasks: distinct non-empty strings. Their losses are above 0; one below gives gradients that are NaN.
        beta: β, the share of the old average, in [0, 1). The paper uses 0.9.
        process_group: see `Balancer`.

    Raises:
        InputError: β is out of range. In a training step: `shared` is missing, sharded, of another size than before, or has
            no part in the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = DBMTL(["a", "b"], beta=0)
        >>> balancer.backward({"a": shared[0], "b": 3 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([1., 1.]), {'a': tensor(1.), 'b': tensor(0.3333)})

    Note:
        As in the paper, the averages start at 0, and heads get the gradient of log losses as well. Updates have the size of
        a log loss's gradient: tune the learning rate. The averages are in `state_dict`, but are no buffer, since they have
        no columns until the first step, when the number of shared parameters is known. An absent task's average does not
        change, and is not part of the sum. `weights` are the factors of the tasks' own gradients.

    References:
        Lin, Jiang, Ye, Zhang, Chen, Chen, Liu and Kwok, Dual-Balancing for Multi-Task Learning, arXiv:2308.12029, 2023.
    """

    equal_alone = False
    takes_features = False
    ranges = MappingProxyType({"beta": Range(0.5, 0.99)})
    average: Tensor

    def __init__(self, tasks: Sequence[str], *, beta: float = 0.9, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.beta = number("beta", beta, least=0, below=1)
        self.average = torch.zeros(len(self.tasks), 0, dtype=torch.float32)
        self._task_axes["average"] = 1

    def reset(self) -> None:
        super().reset()
        self.average = self.average.new_zeros(len(self.tasks), 0)

    def gradient_factors(self, losses: Tensor) -> Tensor:
        # no state, so a loss of any finite size will do
        mean = self.mean_over_ranks(losses.masked_fill(losses == 0, torch.nan))
        logs: Tensor = torch.where(losses < 0, torch.nan, 1 / mean)
        return torch.where(losses == 0, 0, logs)

    def aggregate(self, jacobian: Tensor, gramian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        if self.average.shape[1] not in (0, jacobian.shape[1]):
            raise InputError(
                f"Expected `shared` to have {self.average.shape[1]} numbers, as in the steps that DBMTL averages over; got "
                f"{jacobian.shape[1]}. Give the same parameters in each step, or call reset()."
            )
        averages = self.average if self.average.shape[1] else jacobian.new_zeros(len(self.tasks), jacobian.shape[1])
        all_present = len(present) == len(averages)
        present = send(present, averages.device)
        before = averages if all_present else averages[present]
        # in place, to save memory
        average = torch.lerp(jacobian, before, self.beta, out=before if self.training else jacobian)
        if self.training:
            self.average = averages if all_present else averages.index_copy_(0, present, average)
        norms = lengths(average)
        weights = torch.where(norms > 0, norms.max() / norms, 1)
        return combine(weights, average, update_memory(jacobian)), weights

    # The averages are no buffer, since their size is known in the first step only: torch's AveragedModel, which averages the
    # buffers of a module and its copy, needs these to be of one size from the start.

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        moved = fn(self.average)
        self.average = moved if moved.dtype == torch.float32 else self.average.to(moved.device)
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}average"] = self.average

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        name = f"{prefix}average"
        if (saved := state_dict.get(name)) is None:
            missing_keys.append(name)
            return
        if strict:
            unexpected_keys.remove(name)
        if saved.dim() != 2 or len(saved) != len(self.tasks):
            error_msgs.append(f"size mismatch for {name}: {list(saved.shape)} for {len(self.tasks)} tasks.")
        else:
            self.average = saved.to(self.average, copy=True)
