"""What the networks have in common: the promise that they make, tasks of any name, and errors that say where."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError

# Not the input's fault, and others wait for them: a search for the batch size that fits, say.
_DEVICE_ERRORS = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))


class Network(nn.Module, ABC):
    """A network that serves several tasks: its output is `{task: output}`, in the order of `tasks`.

    Features are [batch, channels, ...]: vectors [batch, channels], sequences [batch, channels, length], images [batch,
    channels, height, width]. Checkpoints name what belongs to a task by the task, so that the order in which tasks are given
    may change between runs.

    What does not fit raises an `InputError` that names the block or the task, and the shapes. Under `torch.compile` the
    error is torch's own: run one batch before compiling.

    A subclass implements `forward` and `task_modules`.

    Example:
        >>> class Pair(Network):
        ...     tasks = ("a", "b")
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.trunk, self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 3)
        ...     def forward(self, inputs):
        ...         features = self.trunk(inputs).relu()
        ...         return {"a": self.a(features), "b": self.b(features)}
        ...     def task_modules(self):
        ...         return {"a": [self.trunk, self.a], "b": [self.trunk, self.b]}
        >>> [tuple(parameter.shape) for parameter in Pair().shared_parameters()]
        [(8, 4), (8,)]
    """

    tasks: tuple[str, ...]

    @final
    def shared_parameters(self) -> list[nn.Parameter]:
        """The trained parameters that the outputs of at least two tasks depend on, each once.

        They are what balancers that look at shared gradients need. With a single task, all but its head's.
        """
        paths = list(self.task_modules().values())
        if len(paths) == 1:
            paths = [paths[0][:-1]] * 2
        found: dict[int, nn.Parameter] = {}
        users: dict[int, int] = {}
        for path in paths:
            own = {id(one): one for module in path for one in module.parameters() if one.requires_grad}
            found |= own
            for key in own:
                users[key] = users.get(key, 0) + 1
        return [parameter for key, parameter in found.items() if users[key] > 1]

    @abstractmethod
    def task_modules(self) -> dict[str, list[nn.Module]]:
        """For each task the modules that its output depends on, its head last."""


def by_task(modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """A ModuleDict of modules by task, in order, for names of any sort.

    A checkpoint holds heads by name ("heads.digit.weight"), so that the order of tasks may change between runs.

    Raises:
        InputError: a name is empty or not a string.
    """
    for task in modules:
        if not isinstance(task, str) or not task:
            raise InputError(f"Expected a task's name to be a non-empty string; got {task!r}.")
    return nn.ModuleDict({_key(task): module for task, module in modules.items()})


def _key(task: str) -> str:
    """The task's name, percent-encoded where ModuleDict forbids it: a dot, or an attribute that ModuleDict has."""
    key = task.replace("%", "%25").replace(".", "%2E")
    return f"%{ord(key[0]):02X}{key[1:]}" if key in dir(nn.ModuleDict()) else key


def named(heads: Mapping[str, object], what: str = "heads", each: str = "a head") -> tuple[str, ...]:
    """The tasks, in order.

    Raises:
        InputError: there is none.
    """
    if not heads:
        raise InputError(f"Expected `{what}` to have {each} for each task; got none.")
    return tuple(heads)


def check_tasks(what: str, found: Iterable[str], tasks: Iterable[str]) -> None:
    """Raise `InputError` unless both are the same tasks, in whatever order."""
    found, tasks = list(found), list(tasks)
    if sorted(map(str, found)) != sorted(map(str, tasks)):
        raise InputError(f"Expected `{what}` to have each of the tasks {_list(tasks)} once; got {_list(found)}.")


def check_count(what: str, found: Sequence[object], wanted: int, why: str) -> None:
    """Raise `InputError` unless there are as many as wanted."""
    if len(found) != wanted:
        raise InputError(f"Expected {wanted} {what}, {why}; got {len(found)}.")


def call(module: nn.Module, inputs: Any, what: str) -> Any:
    """The module's output, or an error that says which module it is and what it got.

    Args:
        module: of any kind.
        inputs: its only argument.
        what: how the error calls it; a capitalised beginning of a sentence.

    Raises:
        InputError: torch refuses the inputs.
    """
    if torch.compiler.is_compiling():  # no handlers in graphs, which not every torch can trace
        return module(inputs)
    try:
        return module(inputs)
    except _DEVICE_ERRORS:
        raise
    except (RuntimeError, IndexError) as error:  # an IndexError: a dimension that is not there
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(
            f"{what} does not fit what comes before it, {describe(inputs)}: {reason}. Change the one or the other."
        ) from error


def features(output: Any, what: str) -> Tensor:
    """What a module gave, if it is [batch, channels, ...].

    Raises:
        InputError: it is not.
    """
    if not isinstance(output, Tensor) or output.dim() < 2:
        raise InputError(f"{what} has to give features [batch, channels, ...]; got {describe(output)}.")
    return output


def describe(inputs: Any) -> str:
    """Shapes in words.

    >>> describe({"words": torch.zeros(2, 7), "known": True})
    'words [2, 7], known bool'
    """
    if isinstance(inputs, Tensor):
        return str(list(inputs.shape))
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name} {describe(value)}" for name, value in inputs.items())
    if isinstance(inputs, (list, tuple)):
        return " and ".join(map(describe, inputs))
    return type(inputs).__name__


def concatenated(taps: Mapping[str, Tensor]) -> Tensor:
    """Features side by side, [batch, their channels, ...]; all brought to the size of the last by adaptive average pooling.

    Args:
        taps: [batch, channels, ...], by what the error calls them.

    Raises:
        InputError: they are not all vectors, all sequences, or all images.
    """
    name = list(taps)[-1]
    last = taps[name]
    for other, tap in taps.items():
        if tap.dim() != last.dim():
            raise InputError(
                f"Expected features with as many dimensions from all blocks; got {describe(tap)} from {other} and "
                f"{describe(last)} from {name}."
            )
    return torch.cat([resized(tap, last) for tap in taps.values()], dim=1)


def resized(tensor: Tensor, like: Tensor, kind: str = "avg") -> Tensor:
    """The tensor at the length, or the height and width, of another, by adaptive pooling ("avg" or "max").

    Between sizes of which one is a multiple of the other that is ordinary pooling, or repetition.
    """
    if tensor.dim() != like.dim():
        raise InputError(f"Expected features with as many dimensions as {describe(like)}; got {describe(tensor)}.")
    if tensor.shape[2:] == like.shape[2:]:
        return tensor
    pool = getattr(F, f"adaptive_{kind}_pool{tensor.dim() - 2}d")
    return pool(tensor, like.shape[2:])  # type: ignore[no-any-return]  # looked up by name


def same_shapes(found: Mapping[str, Tensor], what: str) -> list[Tensor]:
    """The tensors, if all have one shape.

    Raises:
        InputError: they have not.
    """
    first = next(iter(found.values()))
    for name, tensor in found.items():
        if tensor.shape != first.shape:
            raise InputError(
                f"Expected features of one shape from {what}; got {describe(first)} from {next(iter(found))} and "
                f"{describe(tensor)} from {name}."
            )
    return list(found.values())


def _list(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
