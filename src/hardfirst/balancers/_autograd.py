"""Gradients of individual losses, for GradNorm and the gradient balancers."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst._task_state import plain
from hardfirst.errors import InputError


def require_trainable(shared: Iterable[nn.Parameter] | None, method: str) -> list[nn.Parameter]:
    """Return the shared parameters as a list.

    Raises:
        InputError: the list is empty, an entry is not a parameter or not trainable, or a parameter is sharded over ranks.
    """
    parameters = [shared] if isinstance(shared, nn.Parameter) else list(dict.fromkeys(shared or ()))
    if not parameters or not all(isinstance(item, Tensor) and item.requires_grad for item in parameters):
        raise InputError(
            f"{method} needs the parameters that all tasks share, all of them trainable, in every training step: for "
            "example `shared=network.shared_parameters()`, or those of the last layer that all tasks use, "
            "`shared=layer.parameters()`."
        )
    if not all(parameter.is_leaf for parameter in parameters):
        raise InputError(
            f"{method} expects parameters in `shared`; got a tensor that the network computed. Pass the heads' inputs as "
            "`features`, to a method that accepts them."
        )
    if any(map(_sharded, parameters)):
        raise InputError(
            f"{method} cannot use gradients that are sharded over ranks, and FSDP has sharded a parameter in `shared` (a "
            "DTensor). Keep the shared layers out of FSDP, or choose a method that needs no gradients."
        )
    return parameters


def require_features(features: Tensor | Iterable[Tensor], losses: Iterable[Tensor], method: str) -> list[Tensor]:
    """Return the features as a list.

    Raises:
        InputError: the list is empty, a tensor has no graph or is computed from another, or a loss also depends on the
            layers before the features by another path.
    """
    tensors = [features] if isinstance(features, Tensor) else list(dict.fromkeys(features))
    if not tensors or not all(isinstance(item, Tensor) and item.requires_grad and not item.is_leaf for item in tensors):
        raise InputError(
            f"{method} expects `features` to be tensors that the network computed for all tasks, with their graph: for "
            "example `features = trunk(inputs)`, the input of the heads. Pass parameters as `shared`."
        )
    edges = set(map(_edge, tensors))
    before, sources = _walk([parent for node, _ in edges for parent in node.next_functions], set())
    if any(node in before for node, _ in edges):
        raise InputError("Expected `features` that do not depend on each other; give only those that the heads read.")
    if set(_walk(map(_edge, losses), edges)[1]) & set(sources):  # tensors are hashed by identity
        raise InputError(
            "Expected the losses to depend on the layers before `features` only through them; one loss bypasses them. Add "
            "what it reads to `features`, or give `shared=network.shared_parameters()` instead."
        )
    return tensors


def _sharded(parameter: Tensor) -> bool:
    # the import takes seconds; if a DTensor exists, the module is already loaded
    tensor = sys.modules.get("torch.distributed.tensor")
    return (tensor is not None and isinstance(parameter, tensor.DTensor)) or type(parameter).__name__ == "FlatParameter"


def no_dependence_error(given: str = "shared") -> InputError:
    """Return the error for losses that do not depend on `shared` or `features`."""
    return InputError(
        f"Expected the losses to depend on `{given}`, with a graph; none of them does. Give "
        f"{'parameters' if given == 'shared' else 'features'} that the network used for these losses, and put the balancer "
        "in eval mode where gradients are disabled."
    )


def gradients_of(loss: Tensor, leaves: Sequence[Tensor], factor: Tensor | None = None) -> tuple[Tensor | None, ...]:
    """Compute the gradient of factor · loss for each leaf; None where the loss does not depend on it. Retains the graph.

    Args:
        loss: 0-d, with its graph.
        leaves: tensors.
        factor: 0-d, of the loss's dtype and device; None for 1.

    Raises:
        InputError: the network is compiled in a way that frees its graph after one use.
    """
    loss = plain(loss)  # the gradient of a tensor subclass would be a subclass too
    try:
        return torch.autograd.grad(loss, leaves, factor, retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "donated buffer" not in str(error):
            raise
        raise InputError(
            "The compiled network's graph can be used only once, and this method traverses it once per task. Set "
            "torch._functorch.config.donated_buffer = False before the first step."
        ) from error


def flat(parts: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Tensor:
    """Concatenate gradients to one float32 vector [n], with 0 for a parameter whose gradient is None."""
    filled = (torch.zeros_like(p) if part is None else part for p, part in zip(parameters, parts, strict=True))
    return torch.cat([part.detach().flatten().float() for part in filled])


def other_leaves(losses: Iterable[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the leaves of the losses' graphs that do not lead to these tensors: the parameters of the heads."""
    return _walk(map(_edge, losses), set(map(_edge, tensors)))[1]


Edge = tuple[Any, int]  # a node of a graph, and the index of its output


def _edge(tensor: Tensor) -> Edge:
    edge = torch.autograd.graph.get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def _walk(edges: Iterable[Edge], ends: set[Edge]) -> tuple[set[Any], list[Tensor]]:
    """Traverse a graph backwards, up to the edges in `ends`, and return its nodes and its leaves."""
    # depth first; each leaf has an AccumulateGrad node, which holds it as `variable`
    stack, seen, leaves = list(edges), set(), []
    while stack:
        edge = stack.pop()
        node = edge[0]
        if node is None or node in seen or edge in ends:
            continue
        seen.add(node)
        stack += node.next_functions
        if (leaf := getattr(node, "variable", None)) is not None:
            leaves.append(leaf)
    return seen, leaves
