"""The optimizers that a recipe can name. Each is a function of the parameters, the learning rate and its options."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

Parameters = Iterable[nn.Parameter]


def adam(
    parameters: Parameters,
    learning_rate: float,
    *,
    weight_decay: float = 0.0,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> Optimizer:
    """Adam (Kingma and Ba, ICLR 2015).

    Args:
        parameters: the parameters to train.
        learning_rate: above 0.
        weight_decay: the L2 coefficient, which is added to the gradient.
        beta1: the decay of the average of gradients, in [0, 1).
        beta2: the decay of the average of squared gradients, in [0, 1).
        eps: added to the denominator.

    Example:
        >>> from torch import nn
        >>> from hardfirst.recipes import Recipe
        >>> optimizer = Recipe("adam:weight_decay=0.01").make_optimizer(nn.Linear(2, 1), learning_rate=0.1)
        >>> optimizer.defaults["weight_decay"]
        0.01
    """
    return _fused(Adam, parameters, lr=learning_rate, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


def adamw(
    parameters: Parameters,
    learning_rate: float,
    *,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> Optimizer:
    """AdamW: Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019).

    Args:
        parameters: the parameters to train.
        learning_rate: above 0.
        weight_decay: times the learning rate, the share by which parameters shrink in each step.
        beta1: the decay of the average of gradients, in [0, 1).
        beta2: the decay of the average of squared gradients, in [0, 1).
        eps: added to the denominator.

    Example:
        >>> from torch import nn
        >>> from hardfirst.recipes import Recipe
        >>> optimizer = Recipe("adamw:weight_decay=0.1").make_optimizer(nn.Linear(2, 1), learning_rate=0.1)
        >>> optimizer.defaults["weight_decay"]
        0.1
    """
    return _fused(AdamW, parameters, lr=learning_rate, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


def sgd(
    parameters: Parameters, learning_rate: float, *, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
) -> Optimizer:
    """Stochastic gradient descent.

    Args:
        parameters: the parameters to train.
        learning_rate: above 0.
        momentum: the decay of the running sum of gradients, in [0, 1).
        nesterov: whether to use Nesterov's momentum.
        weight_decay: the L2 coefficient, which is added to the gradient.

    Example:
        >>> from torch import nn
        >>> from hardfirst.recipes import Recipe
        >>> optimizer = Recipe("sgd:momentum=0.9,nesterov=true").make_optimizer(nn.Linear(2, 1), learning_rate=0.1)
        >>> optimizer.defaults["momentum"]
        0.9
    """
    optimizer = _fused(SGD, parameters, lr=learning_rate, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    if momentum:
        optimizer.register_step_pre_hook(_begin_late_momentum)
    return optimizer


def _begin_late_momentum(optimizer: Optimizer, *_: Any) -> None:
    """Give a parameter whose first gradient comes after the first step, like a rare task's, a running sum of 0.

    torch's fused SGD fails if only some parameters have a running sum.
    """
    gradients = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if optimizer.state and (late := [parameter for parameter in gradients if parameter not in optimizer.state]):
        for parameter in late:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _fused(optimizer: Callable[..., Optimizer], parameters: Parameters, **options: Any) -> Optimizer:
    """Build the optimizer with one kernel for all parameters if these are real, else with torch's default."""
    parameters = list(parameters)
    fused = all(torch.is_floating_point(parameter) for parameter in parameters)
    return optimizer(parameters, fused=True if fused else None, **options)
