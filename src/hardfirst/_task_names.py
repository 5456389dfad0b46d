"""Task names: checking them, storing them in a state so that entries are found by name, and comparing them across ranks."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor

from hardfirst.errors import InputError

Names = tuple[str, ...]


def require_order(name: str, values: object) -> None:
    """Raise `InputError` for a set, whose order changes from process to process."""
    if isinstance(values, set | frozenset):
        raise InputError(
            f"Expected `{name}` in a fixed order; got a set, whose order changes from process to process. Use a list: "
            f"{sorted(values, key=str)!r:.200}."
        )


def check_tasks(tasks: Sequence[str]) -> Names:
    """Return the tasks as a tuple; raise an `InputError` unless they are distinct non-empty strings."""
    if isinstance(tasks, str):
        raise InputError(f"Expected `tasks` to be a list of names; got the string {tasks!r}. Write [{tasks!r}].")
    if not isinstance(tasks, Iterable):
        raise InputError(f"Expected `tasks` to be a list of names; got {tasks!r}.")
    require_order("tasks", tasks)
    names = tuple(tasks)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InputError(f"Expected every task to be a non-empty string; got {name!r}.")
    if not names or len(set(names)) != len(names):
        raise InputError(f"Expected `tasks` to be one or more distinct names; got {list(names)}.")
    return names


def encode_names(tasks: Sequence[str]) -> Tensor:
    """Encode the names as a tensor, which safetensors and `torch.load(weights_only=True)` accept: a list in JSON.

    >>> bytes(encode_names(["a", "b"]).tolist())
    b'["a", "b"]'
    """
    return torch.tensor(list(json.dumps(list(tasks)).encode()), dtype=torch.uint8, device="cpu")


def decode_names(encoded: object) -> Names:
    """Decode the names of `encode_names`.

    Raises:
        InputError: the tensor contains something else.
    """
    try:
        names = json.loads(bytes(cast(Tensor, encoded).tolist()))
    except (AttributeError, TypeError, ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("The state has no readable task names in `_extra_state`: it is damaged, or of another module.")
    return tuple(names)


def reorder(values: Tensor, order: Sequence[int], axes: int) -> Tensor:
    """Reorder values by task.

    Args:
        values: [T, ..., T, n] with `axes` axes of tasks, in any shape.
        order: the old position for each new one.
        axes: the number of axes of tasks.

    Returns:
        The shape of `values`; unchanged if `values` cannot have these axes.

    >>> reorder(torch.tensor([0.0, 0.1, 1.0, 1.1]), [1, 0], axes=2)
    tensor([1.1000, 1.0000, 0.1000, 0.0000])
    """
    size, rest = divmod(values.numel(), len(order) ** axes)
    if rest:
        return values
    index = torch.tensor(order, device=values.device)
    view = values.reshape(*[len(order)] * axes, size)
    for axis in range(axes):
        view = view.index_select(axis, index)
    return view.reshape(values.shape)


def require_same_names(tasks: Sequence[str], group: dist.ProcessGroup | None, device: torch.device) -> None:
    """Raise the same error on every rank unless all ranks have these tasks in this order. Every rank must call it.

    Args:
        tasks: this rank's.
        group: the ranks; None for the default group.
        device: the device on which the group communicates.

    Raises:
        InputError: the names, their number or their order differ.
    """

    def gather(tensor: Tensor) -> list[Tensor]:
        parts = [tensor.clone() for _ in range(dist.get_world_size(group))]
        dist.all_gather(parts, tensor, group=group)
        return parts

    names = encode_names(tasks)
    digest = hashlib.sha256(bytes(names.tolist())).digest()
    digests = torch.stack(gather(torch.tensor(list(digest), dtype=torch.uint8, device=device)))
    differs = (digests != digests[0]).any(1).tolist()
    if not any(differs):
        return
    sizes = [int(size) for size in gather(torch.tensor([len(names)], device=device))]
    padded = torch.zeros(max(sizes), dtype=torch.uint8)
    padded[: len(names)] = names
    by_rank = [decode_names(part[:size]) for part, size in zip(gather(padded.to(device)), sizes, strict=True)]
    ranks = dist.get_process_group_ranks(group or dist.group.WORLD)
    other = differs.index(True)
    raise InputError(
        f"Expected the same tasks in the same order on every rank; rank {ranks[0]} has {', '.join(by_rank[0])}, and rank "
        f"{ranks[other]} has {', '.join(by_rank[other])}."
    )
