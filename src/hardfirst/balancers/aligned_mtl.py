from collections.abc import Sequence

from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._torchjd import solve, weighting


class AlignedMTL(GramianBalancer):
    r"""Aligned-MTL: the sum of the tasks' gradients after their principal components are made equally long.

    With :math:`J = U \Sigma V^\top`, the update is :math:`\sigma_{\min} \, (U V^\top)^\top \mathbf 1`, with the smallest
    singular value that is not 0.

    When to use: gradients both conflict and differ in size. The update is as short as the smallest component, so training
    can be slow where two tasks nearly agree or nearly cancel; tune the learning rate.

    Cost: one backward for each task and step; T·n numbers of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        process_group: see `Balancer`.

    Raises:
        InputError: TorchJD is not installed. In a training step: `shared` is missing, sharded, or has no part in the
            losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = AlignedMTL(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 4 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([1., 1.]), {'a': tensor(1.), 'b': tensor(0.2500)})

    Note:
        Solved by TorchJD with equal preferences, which sum to the number of tasks present, so that a learning rate tuned for
        equal weights still fits where gradients are orthogonal and equally long.

    References:
        Senushkin, Patakin, Kuznetsov and Konushin, Independent Component Alignment for Multi-Task Learning, CVPR 2023,
        Algorithm 1.
    """

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        weighting("AlignedMTLWeighting")

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        return len(present) * solve(weighting("AlignedMTLWeighting"), gramian)
