import torch
from torch import Tensor

from hardfirst.balancers._preference import PreferenceBalancer
from hardfirst.balancers._rows import tolerance
from hardfirst.functional._gradient_balancing import cosines


class ConFIG(PreferenceBalancer):
    r"""ConFIG: the direction with the same positive cosine to every task's gradient, scaled by the gradients' projections.

    The rows of U are :math:`u_t = g_t / \lVert g_t \rVert`. The direction is that of :math:`d = U^{+} \mathbf 1`, and its
    length is :math:`\sum_t g_t \cdot d / \lVert d \rVert`.

    When to use: Use when gradients conflict and differ in size, as in physics-informed networks. The direction favours no
    task, and the step gets shorter the more the tasks disagree.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        preference: the ratios of the cosines, one number per task, at least 0; default: 1 per task.
        process_group: see `Balancer`.

    Raises:
        InputError: a preference is below 0, all are 0, or one names an unknown task. In a training step: `shared` is
            missing, sharded, or does not affect the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = ConFIG(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 3 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([2., 2.]), {'a': tensor(2.), 'b': tensor(0.6667)})

    Note:
        The weights are computed from the inner products of the gradients, on which alone they depend. Singular values of U
        within float32 rounding count as 0, so that linearly dependent gradients have an update. The update is 0 if no
        direction has the same cosine to all, as for two opposite gradients. The momentum variant (M-ConFIG) is not
        implemented.

    References:
        Liu, Chu and Thuerey, ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks, ICLR 2025, Eq. (2).
    """

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        between, lengths = cosines(gramian)
        # Eq. (2) with d = Uᵀv: U⁺ = Uᵀ(UUᵀ)⁺, and the preferences in place of 1
        inverse = torch.linalg.pinv(between, rtol=tolerance(gramian), hermitian=True)
        v = (inverse * self._preferred(present)).sum(1)
        projections = between @ v
        if projections.square().mean() < tolerance(gramian):  # no direction has equal cosines: d is rounding error
            return torch.zeros_like(v)
        weights: Tensor = (lengths @ projections) / (v @ projections) * v / lengths
        return weights
