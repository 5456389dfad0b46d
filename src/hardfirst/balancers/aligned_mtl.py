import torch
from torch import Tensor

from hardfirst.balancers._preference import PreferenceBalancer
from hardfirst.balancers._rows import tolerance
from hardfirst.functional._gradient_balancing import cosines

_ROUNDING = torch.finfo(torch.float64).eps


class AlignedMTL(PreferenceBalancer):
    r"""Aligned-MTL: the sum of the tasks' gradients after their principal components are scaled to equal length.

    With :math:`J = U \Sigma V^\top`, the update is :math:`\sigma_{\min} \, (U V^\top)^\top \mathbf 1`, where
    :math:`\sigma_{\min}` is the smallest nonzero singular value.

    When to use: Use when gradients both conflict and differ in size. The update is as short as the smallest component, so
    training can be slow where two tasks nearly agree or nearly cancel; tune the learning rate.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        preference: factors of the aligned gradients, one number per task, at least 0; default: 1 per task.
        process_group: see `Balancer`.

    Raises:
        InputError: a preference is below 0, all are 0, or one names an unknown task. In a training step: `shared` is
            missing, sharded, or does not affect the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = AlignedMTL(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 4 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([1., 1.]), {'a': tensor(1.), 'b': tensor(0.2500)})

    Note:
        Equal preferences sum to the number of tasks present, so that a learning rate tuned for equal weights still fits
        if gradients are orthogonal and equally long. The number of singular values that count as 0 is the number within
        float32 rounding of the largest after all gradients are scaled to the same length.

    References:
        Senushkin, Patakin, Kuznetsov and Konushin, Independent Component Alignment for Multi-Task Learning, CVPR 2023,
        Algorithm 1.
    """

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(gramian)
        # the rank of the gradients scaled to one length: a short gradient is not a dependent one
        ranked = torch.linalg.eigvalsh(cosines(gramian)[0])
        kept = (ranked > tolerance(gramian) * ranked[-1]) & (values > len(values) * _ROUNDING * values[-1])
        if not kept.any():
            return gramian.new_ones(len(present))
        values, vectors = values[kept], vectors[:, kept]
        preference = self._preferred(present).unsqueeze(1)
        # U Vᵀ = (U Σ⁻¹ Uᵀ) J
        weights: Tensor = values[0].sqrt() * (vectors / values.sqrt()) @ (preference * vectors).sum(0)
        return weights
