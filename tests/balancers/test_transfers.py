"""How often a step of a gradient balancer waits for the device."""

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from gradient_steps import Bowls, make, train
from hardfirst.balancers import Spec
from table import GRADIENT, TASKS

DEVICE = torch.device("cpu", 0)


class Transfers(TorchFunctionMode):
    """Counts the reads of a device by the host, as if all tensors were on the device cpu:0 but those that the host made.

    These are results of `cpu`, tensors made without a device or on cpu, and all that is computed from these alone.
    """

    READS = frozenset(
        getattr(Tensor, name)
        for name in (
            "cpu",
            "item",
            "tolist",
            "numpy",
            "nonzero",
            "__bool__",
            "__int__",
            "__float__",
            "__index__",
            "__contains__",
        )
    ) | {torch.nonzero, torch.is_nonzero, torch.equal, torch.masked_select, torch.unique}

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self._host: dict[int, Tensor] = {}  # by id; kept, so that no id is given twice

    def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        given, options = tree_leaves((args, kwargs)), kwargs or {}
        on_host = all(id(item) in self._host for item in given if isinstance(item, Tensor)) and DEVICE not in given
        if function is Tensor.device.__get__ and not on_host:
            return DEVICE
        masks = function in (Tensor.__getitem__, Tensor.__setitem__) and any(
            isinstance(item, Tensor) and item.dtype == torch.bool for item in tree_leaves(args[1:2])
        )
        if not on_host and (function in self.READS or masks):
            self.reads.append(function.__name__)
        result = function(*args, **options)
        if function is Tensor.cpu:
            result = result.clone()
        if on_host or function is Tensor.cpu:
            self._host.update({id(item): item for item in tree_leaves(result) if isinstance(item, Tensor)})
        return result


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("spec", GRADIENT, ids=str)
def test_the_host_reads_the_device_once_a_step(spec: Spec, absent: bool) -> None:
    balancer = make(spec)
    train(balancer, 2)
    bowls = Bowls()
    losses = bowls.losses(1)
    if absent:
        losses[TASKS[1]] = losses[TASKS[1]] * 0
    with Transfers() as transfers:
        balancer.backward(losses, shared=bowls.shared)
    assert transfers.reads == ["cpu"]
