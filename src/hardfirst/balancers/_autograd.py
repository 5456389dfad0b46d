"""Gradients of single losses: what GradNorm and the gradient balancers look at."""

import sys
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError


def trained(shared: Iterable[nn.Parameter] | None, method: str) -> list[nn.Parameter]:
    """The shared parameters, or an `InputError` if they are not what gradients can be taken of."""
    parameters = [shared] if isinstance(shared, nn.Parameter) else list(shared or ())
    if not parameters or not all(isinstance(one, Tensor) and one.requires_grad for one in parameters):
        raise InputError(
            f"{method} needs the parameters that the tasks share, all of them trained, in every training step: for instance "
            "`shared=network.shared_parameters()`, or those of the last layer that all tasks use, "
            "`shared=layer.parameters()`."
        )
    if any(map(_sharded, parameters)):
        raise InputError(
            f"{method} cannot work with gradients that are sharded over ranks, and `shared` has a parameter that FSDP has "
            "sharded, a DTensor. Keep the shared layers out of FSDP, or choose a method that needs no gradients."
        )
    return parameters


def _sharded(parameter: Tensor) -> bool:
    tensor = sys.modules.get("torch.distributed.tensor")  # it takes seconds to import, and a DTensor has imported it
    return (tensor is not None and isinstance(parameter, tensor.DTensor)) or type(parameter).__name__ == "FlatParameter"


def independent() -> InputError:
    """The error for losses none of which depends on the shared parameters."""
    return InputError(
        "Expected the losses to depend on `shared`, with a graph; none of them does. Give parameters that the "
        "network used for these losses, and put the balancer in eval mode where gradients are off."
    )


def gradients(loss: Tensor, leaves: Sequence[Tensor], factor: float = 1.0) -> tuple[Tensor | None, ...]:
    """The gradient of factor · loss at each leaf, None where it does not depend on it; the graph is kept.

    Raises:
        InputError: the network is compiled in a way that lets its graph be used only once.
    """
    try:
        return torch.autograd.grad(loss, leaves, torch.full_like(loss, factor), retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "donated buffer" not in str(error):
            raise
        raise InputError(
            "The compiled network lets its graph be used only once, and this method goes back through it for each task. Set "
            "torch._functorch.config.donated_buffer = False before the first step."
        ) from error


def flat(parts: Sequence[Tensor | None], parameters: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Gradients as one float32 vector, 0 where there is none."""
    filled = (torch.zeros_like(one) if part is None else part for one, part in zip(parameters, parts, strict=True))
    return torch.cat([part.detach().flatten().float() for part in filled], out=out)


def other_leaves(losses: Iterable[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    """The leaves of the losses' graphs that are not among the parameters: those of the heads."""
    seen = {torch.autograd.graph.get_gradient_edge(one).node for one in parameters}
    ahead = [torch.autograd.graph.get_gradient_edge(loss).node for loss in losses if loss.requires_grad]
    found = []
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead += [before for before, _ in node.next_functions if before is not None]
            if (leaf := getattr(node, "variable", None)) is not None:
                found.append(leaf)
    return found
