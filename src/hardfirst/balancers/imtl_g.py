import torch
from torch import Tensor

from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._rows import tolerance
from hardfirst.functional._gradient_balancing import cosines


class IMTLG(GramianBalancer):
    r"""IMTL-G: the weighted sum of gradients whose projections on every task's gradient have equal length.

    :math:`g \cdot g_t / \lVert g_t \rVert` is the same for all tasks, with weights that sum to T; a weight may be negative.

    When to use: Use when no task should count more because its gradient is larger. Weights grow large where gradients are
    nearly parallel or opposite.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        process_group: see `Balancer`.

    Raises:
        InputError: in a training step: `shared` is missing, sharded, or does not affect the losses; or the balancer is
            compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = IMTLG(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 3 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([1.5000, 1.5000]), {'a': tensor(1.5000), 'b': tensor(0.5000)})

    Note:
        The paper inverts a matrix that linearly dependent gradients make singular. Here, as in TorchJD, they get the weights
        of a pseudo-inverse, in which singular values within float32 rounding count as 0. The paper's weights sum to 1; here
        they sum to the number of tasks present, so a learning rate tuned for equal weights still fits. This is the gradient
        half of IMTL; the loss half is `imtl_l`.

    References:
        Liu et al., Towards Impartial Multi-task Learning, ICLR 2021, Eq. (5).
    """

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        between, lengths = cosines(gramian)
        values = torch.linalg.eigvalsh(between)
        if values[0] > tolerance(gramian) * values[-1]:
            weights = torch.linalg.solve(between, torch.ones_like(lengths)) / lengths
        else:
            weights = torch.linalg.pinv(gramian, rtol=tolerance(gramian), hermitian=True) @ gramian.diagonal().sqrt()
        total = weights.sum()
        if total.abs() <= 1e-12 * weights.abs().sum():  # no multiple of these sums to T
            return torch.zeros_like(weights)
        normalised: Tensor = len(present) * weights / total
        return normalised
