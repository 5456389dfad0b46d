"""The restart of a network and its optimizers within a third-party training loop."""

import copy
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hardfirst.balancers import Balancer
from hardfirst.errors import InputError


class Restart:
    """Puts a network and its optimizers back to step 0 after the step that a method asks for.

    It acts right after a step of the last optimizer, so a checkpoint between two steps is from before or from after the
    restart. The learning-rate schedule belongs to the host and continues.

    Args:
        balancer: the method; its `steps` are known.
        module: the network. The buffers of the balancer, which may be a part of it, are not put back.
        optimizers: those of the network.
        start: the `state_dict` of the object that an earlier process had, for a run that is resumed during the search.

    Raises:
        InputError: the run is resumed during the search, and `start` is missing.
    """

    def __init__(
        self,
        balancer: Balancer,
        module: nn.Module,
        optimizers: Sequence[Optimizer],
        start: Mapping[str, Any] | None = None,
    ) -> None:
        self.step, self.optimizers = balancer.restart_step, optimizers
        self._done = 0 if self.step is None else int(balancer.get_buffer("steps_done"))
        self._start: dict[str, Any] | None = None
        self._happened = False
        if self.step is None or self._done >= self.step:
            return
        if self._done and start is None:
            raise InputError(
                f"The checkpoint was saved during the search of {type(balancer).__name__} and lacks the initial weights, to "
                "which the network goes back. In a LightningModule, call `super()` in `on_save_checkpoint` and "
                "`on_load_checkpoint`; or start again without the checkpoint."
            )
        own = {id(buffer) for buffer in balancer.buffers()}
        parts = chain(module.named_parameters(), module.named_buffers())
        self._tensors = {name: tensor for name, tensor in parts if id(tensor) not in own}
        self._start = {
            "weights": {name: tensor.detach().clone() for name, tensor in self._tensors.items()},
            "optimizers": [copy.deepcopy(optimizer.state_dict()["state"]) for optimizer in optimizers],
        }
        if start is not None:
            self._load(start)
        self._handle = optimizers[-1].register_step_post_hook(self._after_step)

    def _load(self, start: Mapping[str, Any]) -> None:
        weights = start["weights"]
        if weights.keys() != self._tensors.keys():
            raise InputError("The initial weights in the checkpoint are those of another network. Start again without it.")
        for name, tensor in self._tensors.items():
            weights[name] = weights[name].to(tensor.device)
        self._start = dict(start)

    def __deepcopy__(self, memo: object) -> None:
        """Return None: a copy of the module, such as an average of its weights, has no restart."""

    def state_dict(self) -> dict[str, Any] | None:
        """Return the initial state, for a checkpoint; None if it is no longer needed."""
        return self._start

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        self._done += 1
        if self._done != self.step or self._start is None:
            return
        for name, tensor in self._tensors.items():
            tensor.copy_(self._start["weights"][name])
        for optimizer, state in zip(self.optimizers, self._start["optimizers"], strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self._start, self._happened = None, True
        self._handle.remove()

    def pop(self) -> int | None:
        """Return the step of the restart if it has happened since the last call, else None."""
        happened, self._happened = self._happened, False
        return self.step if happened else None
