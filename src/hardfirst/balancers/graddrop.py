from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group, send
from hardfirst.balancers._gradient import GradientBalancer
from hardfirst.balancers._rng import StepRNG
from hardfirst.balancers._rows import products, update_memory

_COLUMNS_ON_CPU, _COLUMNS = 2**16, 2**20  # per part: small enough for the cache of a CPU; elsewhere each part is a launch


class GradDrop(GradientBalancer):
    r"""GradDrop: randomly drops, for each shared parameter, the gradients of one sign, depending on how the signs balance.

    The positive ones are kept with the probability :math:`\tfrac12 (1 + \sum_t g_t / \sum_t |g_t|)`, else the negative ones.

    When to use: Use as a cheap regularizer when gradients conflict. The less the tasks agree, the more noise it adds.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, T + 2 of state.

    Args:
        tasks: distinct non-empty strings.
        seed: the seed of the random draws; see `RLW`.
        process_group: see `Balancer`.

    Raises:
        InputError: the seed is not a whole number. In a training step: `shared` is missing, sharded, or does not affect the
            losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = GradDrop(["a", "b"])
        >>> balancer.backward({"a": shared.sum(), "b": 3 * shared[0] + 2 * shared[1]}, shared=[shared])
        >>> shared.grad  # all are positive: none is dropped
        tensor([4., 3.])

    Note:
        The paper drops gradients of a layer's activations, each multiplied by its sign, with one probability for a batch.
        Here, as in TorchJD, gradients of the shared parameters are dropped, or with `features` those of each example's
        activations. There is no leak parameter. The draws are the same on every rank with the same kind of device, and after
        a resume. `weights` are those of the weighted sum of gradients that is nearest to the update.

    References:
        Chen et al., Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout, NeurIPS 2020.
    """

    def __init__(self, tasks: Sequence[str], *, seed: int = 0, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.draws = StepRNG(self.tasks, seed)

    def aggregate(self, jacobian: Tensor, gramian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        update = update_memory(jacobian)
        # in parts, since the equation makes several tensors of the size of its rows
        columns = _COLUMNS_ON_CPU if jacobian.is_cpu else _COLUMNS
        parts = zip(torch.split(jacobian, columns, dim=1), torch.split(update, columns), strict=True)
        inner = torch.zeros(len(gramian), dtype=gramian.dtype)
        for (rows, part), draws in zip(parts, self._drawn(jacobian, columns), strict=True):
            kept = functional.graddrop(rows, draws)
            inner = send(inner, kept.device) + products(rows, kept)
            part.copy_(kept)
        return update, send(torch.linalg.pinv(gramian, hermitian=True), inner.device, inner.dtype) @ inner

    def _drawn(self, jacobian: Tensor, columns: int) -> Iterator[Tensor]:
        """Yield uniform random numbers in [0, 1), some columns at a time."""
        generator, size = self.draws.generator(jacobian.device), jacobian.shape[1]
        if not jacobian.is_cpu:
            yield from torch.split(torch.rand(size, generator=generator, device=jacobian.device), columns)
            return
        # the CPU's generator gives the same numbers in parts as at once, and the parts stay in the cache
        for start in range(0, size, columns):
            yield torch.rand(min(columns, size - start), generator=generator)
