"""How much a training step of a single trial computes and keeps."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from hardfirst.training.vectorized._refusal import NotVectorizable

# With more, a step's time is that of its arithmetic, which trials do not share: `python benchmarks/together.py` for a CPU.
_MOST_OPERATIONS = 2 * 10**8
# No measurement: fifty times as many take a GPU less time than it takes to start the operations of a step.
_MOST_ON_A_GPU = 10**10
# The convolutions of a stack are one with groups, which takes a CPU longer than as many without.
_CONVOLUTION = 4


@dataclass
class Work:
    """What a step computes and keeps; it depends on shapes alone, on no machine.

    Args:
        operations: floating-point operations of matrix products, those of convolutions four times, and one for each number
            that another operation writes.
        convolutions: how many there are.
        bytes: of the tensors that the backward pass needs, each memory once.
    """

    operations: int = 0
    convolutions: int = 0
    bytes: int = 0
    _seen: set[int] = field(default_factory=set)
    _kept: list[Tensor] = field(default_factory=list)  # so that no address is used twice

    @contextmanager
    def counted(self, parameters: Iterable[Tensor] = ()) -> Iterator[None]:
        """The context of a step of a network with these parameters, which are not counted among the bytes."""
        self._seen |= {parameter.untyped_storage().data_ptr() for parameter in parameters}
        with _Counter(self), torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor):
            yield
        self._seen.clear()
        self._kept.clear()

    def check(self, device: str) -> None:
        """Raise `NotVectorizable` if on such a device the steps of many trials as one take as long as one by one."""
        if self.operations > (_MOST_OPERATIONS if device == "cpu" else _MOST_ON_A_GPU):
            raise NotVectorizable(
                f"A training step has {self.operations / 1e6:.0f} million operations, for which training together is not "
                "faster."
            )

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._kept.append(tensor.detach())
            self.bytes += storage.nbytes()
        return tensor


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    def __init__(self, work: Work) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = work

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            convolves = "convolution" in func._overloadpacket.__name__
            self.work.convolutions += convolves
            self.work.operations += count(*args, **(kwargs or {}), out_val=out) * (_CONVOLUTION if convolves else 1)
        elif not func.is_view:
            self.work.operations += sum(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        return out
