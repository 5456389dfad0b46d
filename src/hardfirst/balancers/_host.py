"""Host reads of a gradient balancer: many small tensors in one transfer, since each transfer waits for the device."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor

from hardfirst._task_state import Group, TaskState


def wide(tensor: Tensor) -> Tensor:
    """Return the tensor in float64, on its device, or on the CPU if the device has no float64 (MPS)."""
    return tensor.cpu().double() if tensor.device.type == "mps" else tensor.double()


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Copy tensors to the CPU in one transfer, as float64, which represents float32 and integers below 2⁵³ exactly."""
    sent = torch.cat([wide(tensor).flatten() for tensor in tensors]).cpu()
    parts = torch.split(sent, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


class HostReader(TaskState):
    """A module that reads some of its buffers on the host in each step: a gradient balancer or a part of one.

    Args:
        tasks: distinct non-empty strings.
        process_group: see `Balancer`.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    """The names of these buffers. They are part of the step's single transfer."""

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self._received: dict[str, Tensor] = {}

    def read(self, name: str) -> Tensor:
        """Return the value of a buffer at the start of the step, on the CPU."""
        value = self._received.get(name)
        return self.get_buffer(name).cpu() if value is None else value


class Readings:
    """The buffers of a module and its parts that are read on the host."""

    def __init__(self, module: HostReader) -> None:
        self._names = [(part, name) for part in module.modules() if isinstance(part, HostReader) for name in part.reads]

    def buffers(self) -> list[Tensor]:
        return [part.get_buffer(name) for part, name in self._names]

    @contextmanager
    def received(self, values: Sequence[Tensor]) -> Iterator[None]:
        """Make `HostReader.read` return these values, one for each of `buffers`, within a `with` block."""
        for (part, name), value in zip(self._names, values, strict=True):
            part._received[name] = value
        try:
            yield
        finally:
            for part, name in self._names:
                del part._received[name]
