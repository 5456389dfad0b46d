"""A counter of the times that the host waits for a device, which needs no device."""

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("cpu", 0)
ON_HOST = "hardfirst.functional._scalar.on_host"  # where it is False, the form for a device is taken
_READS = frozenset(
    getattr(Tensor, name)
    for name in (
        "cpu",
        "item",
        "tolist",
        "numpy",
        "nonzero",
        "equal",
        "unique",
        "masked_select",
        "is_nonzero",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "__contains__",
    )
) | {torch.nonzero, torch.is_nonzero, torch.equal, torch.masked_select, torch.unique}
_MOVES = frozenset({Tensor.to, Tensor.copy_, Tensor.type_as})
_INDEXES = frozenset({Tensor.__getitem__, Tensor.__setitem__})
_MAKERS = frozenset({torch.tensor, torch.as_tensor, torch.asarray})


class Transfers(TorchFunctionMode):
    """Counts the waits for a device, as if all tensors were on the device cpu:0 but those that the host made.

    These are results of `cpu`, tensors made without a device or on cpu, and all that is computed from these alone.

    Attributes:
        waits: the functions that waited: reads of values, and copies to the device that are not `non_blocking`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self._host: dict[int, Tensor] = {}  # by id; kept, so that no id is given twice

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        given, options = tree_leaves((args, kwargs)), kwargs or {}
        on_host = all(id(item) in self._host for item in given if isinstance(item, Tensor)) and DEVICE not in given
        if function == Tensor.device.__get__ and not on_host:  # a new object at each access
            return DEVICE
        if not on_host and self._waits(function, args, given, options):
            self.waits.append(function.__name__)
        result = function(*args, **options)
        if function is Tensor.cpu or (function is Tensor.to and id(result) in self._host and not on_host):
            result = result.clone()
        if on_host or function is Tensor.cpu:
            self._host.update({id(item): item for item in tree_leaves(result) if isinstance(item, Tensor)})
        return result

    def _waits(self, function, args, given, options) -> bool:  # type: ignore[no-untyped-def]
        sends = any(id(item) in self._host for item in given if isinstance(item, Tensor))
        if function in _INDEXES:
            indices = tree_leaves(args[1])
            masks = any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)
            # a list, or a tensor of the host, is copied to the device
            lists = isinstance(args[1], list) or any(
                isinstance(index, Tensor) and id(index) in self._host for index in indices
            )
            return masks or lists
        if function in _MOVES:
            return sends and not options.get("non_blocking", False)
        return function in _READS or (function in _MAKERS and DEVICE in given and (sends or not isinstance(args[0], Tensor)))
