"""Mixed precision: the network in 16 bits; losses, balancers and weights in 32.

Fabric's own precision allows no backward pass except `fabric.backward`, but gradient-based methods need others.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def fabric_precision(precision: str) -> str:
    """Return the precision that Fabric gets for a recipe's precision."""
    return "32-true" if precision in _DTYPES else precision


def in_precision(network: nn.Module, precision: str, device: torch.device) -> nn.Module:
    """Return the network, with its forward pass under autocast if the precision is mixed."""
    return _Autocast(network, device, _DTYPES[precision]) if precision in _DTYPES else network


def make_scaler(precision: str, device: torch.device) -> "torch.amp.GradScaler | None":
    """Return the scaler that keeps float16 gradients from underflowing; None in other precisions."""
    return torch.amp.GradScaler(device.type) if precision == "16-mixed" else None


class _Autocast(nn.Module):
    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.device_type, self.dtype = network, device.type, dtype

    def forward(self, inputs: Any) -> Any:
        with torch.autocast(self.device_type, self.dtype):
            outputs = self.network(inputs)
        if not isinstance(outputs, Mapping):  # `select_labelled` raises an error that says so
            return outputs
        return {task: self._converted(output) for task, output in outputs.items()}

    def _converted(self, output: Any) -> Any:
        return output.float() if isinstance(output, Tensor) and output.dtype == self.dtype else output
