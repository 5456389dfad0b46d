"""The restart of a network and its optimizers within a third-party training loop."""

import copy
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from hardfirst.balancers import Balancer
from hardfirst.errors import InputError


class Restart:
    """Puts a network and its optimizers back to step 0 after the step that a method asks for.

    It acts right after a step of the last optimizer, so a checkpoint between two steps is from before or from after the
    restart. The learning-rate schedule belongs to the host and continues.
    """

    def __init__(self, balancer: Balancer) -> None:
        self.step: int | None = None
        self.optimizers: Sequence[Optimizer] = ()
        self._balancer, self._happened = balancer, False
        self._start: dict[str, Any] | None = None  # the initial state, and the steps of the optimizers since
        self._handle: RemovableHandle | None = None

    def watch(self, module: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        """Wait for the step in which a network and its optimizers go back.

        Args:
            module: the network. The buffers of the balancer, which may be a part of it, are not put back.
            optimizers: those of the network.

        Raises:
            InputError: the run is resumed during the search, and the initial state was not loaded.
        """
        if self._handle is not None:
            self._handle.remove()
        self.step, self.optimizers, self._module = self._balancer.restart_step, optimizers, module
        start, self._start = self._start, None
        if self.step is None:
            return
        balanced = int(self._balancer.get_buffer("steps_done"))
        start = start if balanced else None  # the network is at step 0
        # without the steps of the balancer that a gradient scaler skipped
        done: int = balanced if start is None else start["steps"]
        if done >= self.step:
            return
        tensors = self._tensors()
        if start is None:
            if done:
                raise InputError(
                    f"The checkpoint was saved during the search of {type(self._balancer).__name__} and lacks the initial "
                    "weights, to which the network goes back. In a LightningModule, call `super()` in "
                    "`on_save_checkpoint` and `on_load_checkpoint`; or start again without the checkpoint."
                )
            weights = {name: tensor.detach().clone() for name, tensor in tensors.items()}
            states = [copy.deepcopy(optimizer.state_dict()["state"]) for optimizer in optimizers]
        else:
            weights, states = start["weights"], start["optimizers"]
            if weights.keys() != tensors.keys():
                raise InputError(
                    "The initial weights in the checkpoint are those of another network. Start again without it."
                )
            weights = {name: weights[name].to(tensor.device) for name, tensor in tensors.items()}
        self._start = {"weights": weights, "optimizers": states, "steps": done}
        self._handle = optimizers[-1].register_step_post_hook(self._after_step)

    def _tensors(self) -> dict[str, Tensor]:
        """Return the network's parameters and buffers, of which a module may replace the latter at any time."""
        own = {id(buffer) for buffer in self._balancer.buffers()}
        parts = chain(self._module.named_parameters(), self._module.named_buffers())
        return {name: tensor for name, tensor in parts if id(tensor) not in own}

    def __deepcopy__(self, memo: dict[int, Any]) -> "Restart":
        """Return an object that watches nothing, for a copy of the module, such as an average of its weights."""
        return Restart(copy.deepcopy(self._balancer, memo))

    def state_dict(self) -> dict[str, Any] | None:
        """Return the initial state, for a checkpoint; None if it is no longer needed."""
        return None if self._start is None else {**self._start}

    def load_state_dict(self, start: dict[str, Any] | None) -> None:
        """Load the initial state from a checkpoint, for the next `watch`; None if the checkpoint has none."""
        self._start, self.optimizers = start, ()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        if self._start is None or self._handle is None:
            return
        self._start["steps"] += 1
        if self._start["steps"] != self.step:
            return
        for name, tensor in self._tensors().items():
            tensor.copy_(self._start["weights"][name])
        for optimizer, state in zip(self.optimizers, self._start["optimizers"], strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self._start, self._happened = None, True
        self._handle.remove()

    def pop(self) -> int | None:
        """Return the step of the restart if it has happened since the last call, else None."""
        happened, self._happened = self._happened, False
        return self.step if happened else None
