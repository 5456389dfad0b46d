"""State with one entry per task: what balancers and moving averages are made of."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hardfirst.errors import InputError, check_names, mapping

# The group whose ranks are averaged over: None is the default group, False none at all.
Group = dist.ProcessGroup | Literal[False] | None
Constant = float | Sequence[float]


class TaskState(nn.Module):
    """A module that holds fixed-shape buffers for a fixed list of tasks.

    Buffers are float32 (counters int64) whatever the default dtype; they follow the module to another device but not to
    another dtype, since a bfloat16 average would stop moving. `reset` makes them anew from constants.

    Args:
        tasks: distinct non-empty strings; their order is the order of every buffer.
        process_group: the ranks to average measurements over; None for the default group, False for none.
    """

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__()
        self.tasks = _check_tasks(tasks)
        self.process_group = process_group
        self._constants: dict[str, Constant] = {}

    def _hold(self, name: str, constant: Constant, *, dtype: torch.dtype = torch.float32, persistent: bool = True) -> None:
        """Register a buffer: one entry per task of a number, or the numbers of a sequence."""
        self._constants[name] = [constant] * len(self.tasks) if isinstance(constant, int | float) else constant
        self.register_buffer(name, torch.tensor(self._constants[name], dtype=dtype), persistent=persistent)

    @torch.no_grad()
    def reset(self) -> None:
        """Put everything back to how it was at construction; also what to call after `to_empty`."""
        for module in self.modules():
            if isinstance(module, TaskState):
                for name, constant in module._constants.items():
                    buffer = module.get_buffer(name)
                    buffer.copy_(torch.tensor(constant, dtype=buffer.dtype))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take up what `state_dict` gave.

        Raises:
            InputError: it is of other tasks, another method or other options.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise InputError(
                f"The state is not that of {type(self).__name__} for the tasks {', '.join(self.tasks)}: "
                f"{_difference(state_dict, self.state_dict()) or error}. Load it into what it came from, with the same "
                "tasks and options."
            ) from error

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for name, buffer in before.items():
            after = self._buffers[name]
            if buffer is not None and after is not None and after.dtype != buffer.dtype:
                self._buffers[name] = buffer.to(after.device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # a process group belongs to this process; the copy uses the default group, unless there was to be none
        return {**self.__dict__, "process_group": False if self.process_group is False else None}

    def extra_repr(self) -> str:
        return ", ".join(self.tasks)

    def _vector(
        self, values: Mapping[str, Any], what: str, *, absent: float, check: Callable[[str, object], None]
    ) -> Tensor:
        """The mapping's values in the tasks' order as a tensor [T], with `absent` where there is none.

        `check` is called with each task and value that is not a tensor, and raises if it will not do.
        """
        if type(values) is not dict:  # the quick look first, in every training step
            mapping("losses" if what == "loss" else "kpis", values, f"{{{self.tasks[0]!r}: {what}}}")
        columns = [values.get(task) for task in self.tasks]
        if not self._complete(values, columns):
            for task, value in values.items():
                if not isinstance(value, Tensor):
                    check(task, value)
            columns = self._filled(columns, absent)
        try:
            vector = torch.stack(columns)  # type: ignore[arg-type]  # all are tensors by now
        except RuntimeError:  # shapes or devices that differ
            raise self._not_a_scalar(values, what) from None
        if vector.dim() != 1:
            raise self._not_a_scalar(values, what)
        return vector

    def _complete(self, values: Mapping[str, Any], columns: list[Any]) -> bool:
        """Whether every task has a tensor; raises if a name is unknown."""
        if len(values) == len(columns) and all([isinstance(column, Tensor) for column in columns]):  # noqa: C419
            return True  # a list is quicker than a generator here, in every training step
        check_names("task", values, self.tasks)
        return False

    def _filled(self, columns: list[Any], absent: float) -> list[Any]:
        """The columns with numbers, and `absent` in place of None, made tensors beside those that are."""
        tensor = next((column for column in columns if isinstance(column, Tensor)), None)
        device = next(iter(self._buffers.values())) if tensor is None else tensor
        numbers = [math.nan if isinstance(c, Tensor) else absent if c is None else float(c) for c in columns]
        made = torch.tensor(numbers, dtype=torch.float32, device=None if device is None else device.device)
        return [c if isinstance(c, Tensor) else m for c, m in zip(columns, made.unbind(), strict=True)]

    def _not_a_scalar(self, values: Mapping[str, Any], what: str) -> InputError:
        tensors = {task: value for task, value in values.items() if isinstance(value, Tensor)}
        for task, value in tensors.items():
            if value.dim():
                return InputError(
                    f"Expected the {what} of task {task!r} to be a 0-d tensor; got shape {list(value.shape)}. "
                    "Reduce it first, for instance with .mean()."
                )
        devices = ", ".join(f"{task!r} on {value.device}" for task, value in tensors.items())
        return InputError(f"Expected the {what} of every task on one device; got {devices}.")

    def _shared_by_ranks(self) -> bool:
        return self.process_group is not False and dist.is_available() and dist.is_initialized()

    def _mean_over_ranks(self, values: Tensor) -> Tensor:
        """The mean over ranks of the entries that are finite; NaN where no rank has one. One collective of [2, T]."""
        if not self._shared_by_ranks():
            return values
        finite = values.isfinite()
        both = torch.stack([torch.where(finite, values, 0), finite.to(values.dtype)])
        dist.all_reduce(both, group=self.process_group)
        return both[0] / both[1]


def _check_tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    if isinstance(tasks, str):
        raise InputError(f"Expected `tasks` to be a list of names; got the string {tasks!r}. Write [{tasks!r}].")
    if not isinstance(tasks, Iterable):
        raise InputError(f"Expected `tasks` to be a list of names; got {tasks!r}.")
    names = tuple(tasks)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InputError(f"Expected every task to be a non-empty string; got {name!r}.")
    if not names or len(set(names)) != len(names):
        raise InputError(f"Expected `tasks` to be one or more distinct names; got {list(names)}.")
    return names


def _difference(state: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """In what the one differs from the other."""
    found = {
        "it lacks": [key for key in own if key not in state],
        "it has, besides,": [key for key in state if key not in own],
        "of another shape is": [key for key in own if key in state and state[key].shape != own[key].shape],
    }
    return "; ".join(f"{what} {', '.join(keys)}" for what, keys in found.items() if keys)


def check_number(task: str, value: object) -> None:
    """Raise `InputError` unless a KPI is a number, or None for no measurement."""
    if value is not None and not isinstance(value, Real):
        raise InputError(f"Expected the KPI of task {task!r} to be a number or a 0-d tensor; got {value!r}.")
