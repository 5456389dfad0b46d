from collections.abc import Callable, Sequence

from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._search_space import Range
from hardfirst.errors import MissingPackage, number


class CAGrad(GramianBalancer):
    r"""CAGrad: T times the direction near the mean gradient that most improves the task it improves least.

    :math:`\max_d \min_t g_t \cdot d` subject to :math:`\lVert d - g_0 \rVert \le c \, \lVert g_0 \rVert`, where :math:`g_0`
    is the mean gradient.

    When to use: Use it as a compromise between equal weights (c = 0) and MGDA (c large). For c below 1 the mean loss still
    converges to its minimum, and the least improved task improves on the way.

    Cost: one backward pass per task and step, and a cone problem of T variables, which takes milliseconds; T·n values of
    memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        c: the largest distance of the direction from the mean gradient, relative to its length, at least 0. The paper uses
            0.4 on NYUv2 and Cityscapes.
        process_group: see `Balancer`.

    Raises:
        InputError: TorchJD or its solver is not installed, or c is out of range. In a training step: `shared` is missing,
            sharded, or does not affect the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = CAGrad(["a", "b"], c=0.5)
        >>> balancer.backward({"a": shared[0], "b": 3 * shared[1]}, shared=[shared])
        >>> shared.grad
        tensor([2.5811, 3.0000])

    Note:
        TorchJD with Clarabel solves the problem; the authors' code uses scipy. Gradients are scaled first, since TorchJD
        treats those shorter than about 0.01 as 0. The paper's direction is near the mean gradient; here it is near the sum,
        T times as long, so a learning rate tuned for equal weights still fits. The authors' code divides the direction by
        1 + c² by default; Algorithm 1 and this class do not. For c = 0.4 their direction is shorter by a factor of 1.16.

    References:
        Liu, Liu, Jin, Stone and Liu, Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021, Algorithm 1.
    """

    ranges = {"c": Range(0.1, 0.9)}

    def __init__(self, tasks: Sequence[str], *, c: float = 0.4, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.c = number("c", c, least=0)
        _weighting(self.c)

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        scale = gramian.diagonal().mean()  # TorchJD's constants assume one near 1
        weights = _weighting(self.c)(gramian / scale) if scale > 0 else gramian.new_ones(len(present))
        return len(present) * weights


def _weighting(c: float) -> Callable[[Tensor], Tensor]:
    """Create TorchJD's solver, which computes weights [k] from inner products [k, k].

    Raises:
        MissingPackage: TorchJD or one of its solvers is not installed.
    """
    try:
        import torchjd.aggregation

        weighting: Callable[[Tensor], Tensor] = torchjd.aggregation.CAGradWeighting(c=c)
        return weighting
    except ImportError as error:
        raise MissingPackage(
            f"CAGrad needs TorchJD and its solvers ({error}). Install them with: pip install 'hardfirst[gradient]'"
        ) from error
