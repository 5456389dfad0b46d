"""Networks of one shape as one: each parameter and buffer has a row for each network."""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from hardfirst.training.vectorized._refusal import NotVectorizable

Tensors = dict[str, Tensor]
"""Parameters and buffers by name, each with a row for each network."""


class Stack:
    """Networks of one shape, whose trained parameters are the rows of one matrix.

    An optimizer then steps one tensor, and the gradient of a network is a row of its gradient.

    Args:
        modules: the networks. The first one runs for all, with their parameters and buffers; it is a copy.
        trained: the names of the parameters that are trained.
        device: where the rows are.

    Raises:
        NotVectorizable: the networks have no common shape, or state that is no tensor.
    """

    def __init__(self, modules: Sequence[nn.Module], trained: Sequence[str], device: torch.device) -> None:
        _check_same_shape(modules)
        self.template = copy.deepcopy(modules[0]).to(device)
        by_name = [dict(module.named_parameters()) for module in modules]
        if len({by_name[0][name].dtype for name in trained}) > 1 or by_name[0][trained[0]].is_complex():
            raise NotVectorizable("The network has complex parameters, or parameters of different types.")
        rows = [torch.cat([parameters[name].detach().flatten() for name in trained]) for parameters in by_name]
        self.weights = nn.Parameter(torch.stack(rows).to(device))  # [networks, parameters]
        self._shapes = {name: by_name[0][name].shape for name in trained}
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        constant = [name for name in by_name[0] if name not in self._shapes]
        self._constants = {name: torch.stack([p[name].detach() for p in by_name]).to(device) for name in constant}
        buffers = [dict(module.named_buffers()) for module in modules]
        self.buffers = {name: torch.stack([b[name] for b in buffers]).to(device) for name in buffers[0]}
        self._own: Tensors = dict(self.template.named_parameters()) | dict(self.template.named_buffers())
        self._places = _places(self.template, self._own)
        self._kept = [name for name in self.buffers if name in self.template.state_dict()]

    def __len__(self) -> int:
        return len(self.weights)

    def tensors(self) -> Tensors:
        """All parameters and buffers."""
        parts = self.weights.split_with_sizes(self._sizes, 1)  # its gradient is one concatenation
        pairs = zip(self._shapes.items(), parts, strict=True)
        return {name: part.view(len(self), *shape) for (name, shape), part in pairs} | self._constants | self.buffers

    def among(self, names: Sequence[Collection[str]]) -> Tensor:
        """Whether parameters are among the names given for their network: [networks, parameters]."""
        by_name = torch.tensor([[name in row for name in self._shapes] for row in names])
        return by_name.repeat_interleave(torch.tensor(self._sizes), 1).to(self.weights.device)

    def gradient_norms(self, losses: Tensor, columns: Tensor) -> Tensor:
        """Compute the norm of each loss's gradient for some parameters of its own network.

        Args:
            losses: [networks, tasks], with their graph, which is retained.
            columns: whether a number of `weights` belongs to these parameters, [parameters]; see `among`.

        Returns:
            [networks, tasks] float32; NaN where a loss is 0 or not finite.
        """
        norms = []
        for column in losses.unbind(1):
            (gradient,) = torch.autograd.grad(column.sum(), self.weights, retain_graph=True)
            norms.append(gradient[:, columns].float().norm(dim=1))
        known = losses.detach().isfinite() & (losses.detach() != 0)
        return torch.where(known, torch.stack(norms, 1), torch.nan)

    def run(self, function: Callable[..., Any], *arguments: Any, same: bool = False) -> Any:
        """Call a function of the network and the arguments, for all networks at once.

        Args:
            function: takes a network, and the arguments of one network.
            arguments: tensors, also in containers, with a row for each network.
            same: the arguments have no such rows: they are those of each network.
        """

        def one(tensors: Tensors, *given: Any) -> Any:
            self._fill(tensors)
            return function(self.template, *given)

        dims = (0, *[None if same else 0] * len(arguments))
        try:
            return vmap(one, in_dims=dims, randomness="different")(self.tensors(), *arguments)
        finally:
            self._fill(self._own)

    def run_each(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of a network and the same arguments for one network after the other, and stack what it returns."""
        tensors, results = self.tensors(), []
        try:
            for row in range(len(self)):
                self._fill({name: tensor[row] for name, tensor in tensors.items()})
                results.append(function(self.template, *arguments))
            return tree_map(lambda *each: torch.stack(each), *results)
        finally:
            self._fill(self._own)

    def _fill(self, tensors: Tensors) -> None:
        """Give the first network other parameters and buffers: `torch.func.functional_call` takes longer than a layer."""
        for place, key, name in self._places:
            place[key] = tensors[name]

    def copy(self) -> "Weights":
        """A copy of what a checkpoint of each network would hold."""
        return Weights(self.weights.detach().clone(), {name: self.buffers[name].clone() for name in self._kept})

    def state_of(self, row: int) -> Tensors:
        """A copy of the `state_dict` of one network."""
        try:
            self._fill({name: tensor[row] for name, tensor in self.tensors().items()})
            return {name: tensor.detach().clone() for name, tensor in self.template.state_dict().items()}
        finally:
            self._fill(self._own)

    @torch.no_grad()
    def keep(self, weights: "Weights", rows: Tensor) -> None:
        """Replace rows of a copy by these networks.

        Args:
            weights: the copy.
            rows: indices.
        """
        weights.parameters[rows] = self.weights[rows]
        for name, kept in weights.buffers.items():
            kept[rows] = self.buffers[name][rows]

    @torch.no_grad()
    def restore(self, weights: "Weights", rows: slice = slice(None)) -> None:
        """Give these networks the weights of a copy."""
        self.weights[rows] = weights.parameters[rows]
        for name, kept in weights.buffers.items():
            self.buffers[name][rows] = kept[rows]


class Weights(NamedTuple):
    """A copy of the weights and persistent buffers of a stack."""

    parameters: Tensor
    buffers: Mapping[str, Tensor]


def _places(module: nn.Module, tensors: Tensors) -> list[tuple[dict[str, Any], str, str]]:
    """Where the parts of a network find its tensors, under which key, and the tensor's name; one may have several places."""
    names = {id(tensor): name for name, tensor in tensors.items()}
    found: list[tuple[dict[str, Any], str, str]] = []
    for part in module.modules():
        for place in (part._parameters, part._buffers):
            found += [(place, key, names[id(tensor)]) for key, tensor in place.items() if tensor is not None]
    return found


def _check_same_shape(modules: Sequence[nn.Module]) -> None:
    states = [module.state_dict() for module in modules]
    if not all(isinstance(value, Tensor) for value in states[0].values()):
        raise NotVectorizable("The network has extra state (`get_extra_state`), which cannot be stacked.")
    shapes = [_shapes(module) for module in modules]
    if any(other != shapes[0] for other in shapes):
        raise NotVectorizable("The network has another shape with another seed.")


def _shapes(module: nn.Module) -> dict[str, Any]:
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    return {name: (tensor.shape, tensor.dtype, tensor.requires_grad) for name, tensor in tensors.items()}
