"""The base class of networks, and shared helpers: modules by task, and errors that name the module."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError

# Not caused by the input, and other code catches them, for example a search for a batch size that fits.
_DEVICE_ERRORS = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))


class Network(nn.Module, ABC):
    """Base class of networks for several tasks. The output is `{task: output}`, in the order of `tasks`.

    Features are [batch, channels, ...]: vectors [batch, channels], sequences [batch, channels, length], images [batch,
    channels, height, width]. Checkpoints name the modules of a task by the task, so the order of tasks may change between
    runs.

    A module that does not fit its input raises an `InputError` that names the block or the task, and the shapes. Under
    `torch.compile` the error is torch's own: run one batch before compiling.

    A subclass sets `tasks`, and implements `forward` and `task_modules`. For `NETWORKS` it also has a class method
    `from_parts`, which builds the network from a problem's `Parts` and options.

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
        """Return the trainable parameters that the outputs of at least two tasks depend on, each once.

        Balancers that use gradients of shared parameters need them. With a single task, these are all but its head's.
        """
        modules_of_tasks = list(self.task_modules().values())
        if len(modules_of_tasks) == 1:
            modules_of_tasks = [modules_of_tasks[0][:-1]] * 2
        parameters: dict[int, nn.Parameter] = {}
        readers: Counter[int] = Counter()
        for modules in modules_of_tasks:
            of_task = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
            parameters |= of_task
            readers.update(of_task.keys())
        return [parameter for key, parameter in parameters.items() if readers[key] > 1]

    @abstractmethod
    def task_modules(self) -> dict[str, list[nn.Module]]:
        """Return, for each task, the modules that its output depends on, its head last. Used by `shared_parameters`."""

    def _with_shared(self, shared: Sequence[nn.Module], *own: nn.ModuleDict) -> dict[str, list[nn.Module]]:
        """Return, for each task, the modules that all tasks share, and its own."""
        modules = zip(*(each.values() for each in own), strict=True)
        return {task: [*shared, *of_task] for task, of_task in zip(self.tasks, modules, strict=True)}

    def _called(self, modules: nn.ModuleDict, inputs: Mapping[str, Any], what: str = "head") -> dict[str, Tensor]:
        """Call each task's module on its inputs; the outputs have the order of `tasks`."""
        of_task = zip(self.tasks, modules.values(), strict=True)
        return {task: call(module, inputs[task], f"The {what} of task {task!r}") for task, module in of_task}


def by_task(modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Build an ordered ModuleDict of modules by task, for names with any characters.

    A checkpoint stores heads by name ("heads.digit.weight"), so the order of tasks may change between runs.

    Raises:
        InputError: a name is empty or not a string.
    """
    for task in modules:
        if not isinstance(task, str) or not task:
            raise InputError(f"Expected a task's name to be a non-empty string; got {task!r}.")
    return nn.ModuleDict({_key(task): module for task, module in modules.items()})


def _key(task: str) -> str:
    """Return the task's name, percent-encoded where ModuleDict forbids it: a dot, or an attribute of ModuleDict."""
    key = task.replace("%", "%25").replace(".", "%2E")
    return f"%{ord(key[0]):02X}{key[1:]}" if key in dir(nn.ModuleDict()) else key


def task_names(heads: Mapping[str, object], what: str = "heads", each: str = "a head") -> tuple[str, ...]:
    """Return the tasks of a mapping, in order.

    Raises:
        InputError: the mapping is empty.
    """
    if not heads:
        raise InputError(f"Expected `{what}` to contain {each} for each task; got none.")
    return tuple(heads)


def check_tasks(what: str, names: Iterable[str], tasks: Iterable[str]) -> None:
    """Raise `InputError` unless the names are the tasks, in any order."""
    names, tasks = list(names), list(tasks)
    if sorted(map(str, names)) != sorted(map(str, tasks)):
        raise InputError(f"Expected `{what}` to contain each of the tasks {_list(tasks)} once; got {_list(names)}.")


def check_count(what: str, items: Sequence[object], expected: int, why: str) -> None:
    """Raise `InputError` unless the number of items is as expected."""
    if len(items) != expected:
        raise InputError(f"Expected {expected} {what}, {why}; got {len(items)}.")


def call(module: Callable[[Any], Any], inputs: Any, what: str) -> Any:
    """Call a module; if torch rejects the inputs, raise an error that names the module and the shapes.

    Args:
        module: any callable.
        inputs: its only argument.
        what: the module's name in the error, capitalized to begin a sentence.

    Raises:
        InputError: torch rejects the inputs.
    """
    if torch.compiler.is_compiling():  # not every version of torch traces exception handlers
        return module(inputs)
    try:
        return module(inputs)
    except _DEVICE_ERRORS:
        raise
    except (RuntimeError, IndexError) as error:  # an IndexError: a missing dimension
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(
            f"{what} does not accept its input, {describe(inputs)}: {reason}. Change the module or what comes before it."
        ) from error


def features(module: Callable[[Any], Any], inputs: Any, what: str) -> Tensor:
    """Call a module, and return its output after checking that it is [batch, channels, ...].

    Args:
        module: as for `call`.
        inputs: as for `call`.
        what: as for `call`.

    Raises:
        InputError: torch rejects the inputs, or the output has another form.
    """
    output = call(module, inputs, what)
    if not isinstance(output, Tensor) or output.dim() < 2:
        raise InputError(f"{what} must return features [batch, channels, ...]; got {describe(output)}.")
    return output


def describe(inputs: Any) -> str:
    """Describe the shapes of inputs in words.

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


def concatenate(taps: Mapping[str, Tensor]) -> Tensor:
    """Concatenate features along their channels, after average pooling to the size of the last.

    Args:
        taps: features [batch, channels, ...], by their names in errors.

    Returns:
        [batch, sum of channels, ...].

    Raises:
        InputError: they are not all vectors, all sequences, or all images.
    """
    name = list(taps)[-1]
    last = taps[name]
    for other, tap in taps.items():
        if tap.dim() != last.dim():
            raise InputError(
                f"Expected features with the same number of dimensions from all blocks; got {describe(tap)} from {other} "
                f"and {describe(last)} from {name}."
            )
    return torch.cat([resize(tap, last) for tap in taps.values()], dim=1)


def resize(tensor: Tensor, like: Tensor, kind: str = "avg") -> Tensor:
    """Resize a tensor to the length, or the height and width, of another, by adaptive pooling ("avg" or "max").

    If one size is a multiple of the other, this is ordinary pooling, or repetition.
    """
    if tensor.dim() != like.dim():
        raise InputError(
            f"Expected features with the same number of dimensions as {describe(like)}; got {describe(tensor)}."
        )
    if tensor.shape[2:] == like.shape[2:]:
        return tensor
    pool = getattr(F, f"adaptive_{kind}_pool{tensor.dim() - 2}d")
    return pool(tensor, like.shape[2:])  # type: ignore[no-any-return]  # looked up by name


def same_shapes(tensors: Mapping[str, Tensor], what: str) -> list[Tensor]:
    """Return the tensors after checking that all have the same shape.

    Raises:
        InputError: the shapes differ.
    """
    first_name, first = next(iter(tensors.items()))
    for name, tensor in tensors.items():
        if tensor.shape != first.shape:
            raise InputError(
                f"Expected features of the same shape from {what}; got {describe(first)} from {first_name} and "
                f"{describe(tensor)} from {name}."
            )
    return list(tensors.values())


def _list(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
