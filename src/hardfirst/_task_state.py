"""A module with per-task buffers: the base of balancers and moving averages."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hardfirst._task_names import check_tasks, decode_names, encode_names, reorder, require_same_names
from hardfirst._task_values import check_value, not_stackable
from hardfirst.errors import InputError, check_names, mapping, warn_caller

# The process group to average over: None is the default group, False is none.
Group = dist.ProcessGroup | Literal[False] | None
Initial = float | Sequence[float] | Sequence[Sequence[float]]

_NAMES = "_extra_state"  # torch's key for saved data that is not a tensor of the module


class TaskState(nn.Module):
    """A module that holds fixed-shape buffers for a fixed list of tasks.

    Buffers are float32 (counters int64) regardless of the default dtype. They follow the module to another device but not to
    another dtype, since a bfloat16 average would stop moving.

    The state includes the names of the tasks, as torch's extra state, so that a state of the same tasks in another order is
    loaded by name, and one of other tasks raises an error. A module inside another one with the same tasks leaves them out.

    Args:
        tasks: distinct non-empty strings, in the order of every buffer; not a set, which has no order.
        process_group: the ranks to average measurements over; None for the default group, False for none.
    """

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__()
        self.tasks = check_tasks(tasks)
        self.process_group = process_group
        self._initial: dict[str, Initial] = {}
        self._task_axes: dict[str, int] = {}
        self._tasks_compared = False

    def add_state(
        self,
        name: str,
        initial: Initial,
        *,
        dtype: torch.dtype = torch.float32,
        persistent: bool = True,
        task_axes: int | None = None,
    ) -> None:
        """Register a buffer, as attribute `name`. Call it in `__init__`.

        Args:
            name: the attribute, and the key in `state_dict`.
            initial: a number for a buffer [T] with that number for every task; or a sequence of any length, such as `[0]`
                for a state that is not per task. `reset` restores it.
            dtype: float32, or int64 for counters.
            persistent: False leaves a constant out of `state_dict`.
            task_axes: the number of task axes of the buffer: 2 for a matrix [T, T], 0 for a state that is not per task.
                Default: 1 for a number or T numbers, else 0.
        """
        self._initial[name] = [initial] * len(self.tasks) if isinstance(initial, int | float) else initial
        values = torch.tensor(self._initial[name], dtype=dtype)
        self._task_axes[name] = int(len(values) == len(self.tasks)) if task_axes is None else task_axes
        self.register_buffer(name, values, persistent=persistent)

    @torch.no_grad()
    def reset(self) -> None:
        """Restore the initial state. Also call it after `to_empty`."""
        for module in self.modules():
            if isinstance(module, TaskState):
                for name, initial in module._initial.items():
                    buffer = module.get_buffer(name)
                    buffer.copy_(torch.tensor(initial, dtype=buffer.dtype))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state from `state_dict`.

        Args:
            state_dict: a state of the same tasks, in any order; without task names it is loaded by position, with a warning.
            strict: as in torch; the tasks must be the same in any case.
            assign: as in torch.

        Raises:
            InputError: it belongs to other tasks, another method or other options.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise InputError(
                f"The state is not that of {type(self).__name__} for the tasks {', '.join(self.tasks)}: "
                f"{_difference(state_dict, self.state_dict()) or error}. Load it into a module with the same tasks and "
                "options."
            ) from error

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """Return torch's `state_dict`, with the names of the tasks unless it is empty."""
        state = super().state_dict(*args, **options)
        prefix = options.get("prefix", args[1] if len(args) > 1 else "")
        if self._saves_names():
            for inner in self._inner_with_same_tasks():
                state.pop(f"{prefix}{inner}.{_NAMES}", None)
            if not any(key.startswith(prefix) for key in state if key != prefix + _NAMES):
                del state[prefix + _NAMES]
        return state

    def get_extra_state(self) -> Tensor:
        """Return the names of the tasks, for `state_dict`: the bytes of a list in JSON, uint8."""
        return encode_names(self.tasks)

    def set_extra_state(self, state: object) -> None:
        """Check that a state has these tasks in this order; `load_state_dict` reorders it before.

        Raises:
            InputError: the tasks or their order differ.
        """
        if decode_names(state) != self.tasks:
            raise self._of_other_tasks(state)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self._saves_names():
            self._load_by_name(state_dict, prefix)
        # with `assign`, torch would keep the saved dtype, in which an average may stop moving
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if buffer is not None and isinstance(saved, Tensor) and saved.dtype != buffer.dtype:
                state_dict[prefix + name] = saved.to(buffer.dtype)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _load_by_name(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Reorder the module's own part of a state, which torch lets us modify, by the order of `tasks`."""
        key, own = prefix + _NAMES, encode_names(self.tasks)
        if key not in state_dict and any(name.startswith(prefix) for name in state_dict):
            warn_caller(
                f"The state of {type(self).__name__} was saved without the names of its tasks, so it is loaded by position, "
                f"in the order {', '.join(self.tasks)}. Save it again to store the names."
            )
        saved = decode_names(state_dict.setdefault(key, own))
        if sorted(saved) != sorted(self.tasks):
            raise self._of_other_tasks(state_dict[key])
        for inner in self._inner_with_same_tasks():
            state_dict.setdefault(f"{prefix}{inner}.{_NAMES}", state_dict[key])
        state_dict[key] = own
        if saved != self.tasks:
            order = [saved.index(task) for task in self.tasks]
            for name, axes in self._task_axes.items():
                if isinstance(values := state_dict.get(prefix + name), Tensor):
                    state_dict[prefix + name] = reorder(values, order, axes)

    def _saves_names(self) -> bool:
        """Return whether the extra state is the names; a subclass may have its own extra state."""
        return type(self).get_extra_state is TaskState.get_extra_state

    def _inner_with_same_tasks(self) -> list[str]:
        """Return the names of the inner modules whose state needs no task names."""
        states = ((name, module) for name, module in self.named_modules() if name and isinstance(module, TaskState))
        return [name for name, module in states if module.tasks == self.tasks]

    def _of_other_tasks(self, state: object) -> InputError:
        return InputError(
            f"The state is that of the tasks {', '.join(decode_names(state))}; this {type(self).__name__} has "
            f"{', '.join(self.tasks)}. Load it into one with the same tasks, or leave out its keys when loading."
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for name, buffer in before.items():
            after = self._buffers[name]
            if buffer is not None and after is not None and after.dtype != buffer.dtype:
                self._buffers[name] = buffer.to(after.device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # a process group belongs to this process: the copy uses the default group, unless averaging is off
        return {**self.__dict__, "process_group": False if self.process_group is False else None}

    def extra_repr(self) -> str:
        return ", ".join(self.tasks)

    @property
    def _device(self) -> torch.device | None:
        """The device of the state; None if there is none."""
        buffer = next(iter(self._buffers.values()), None)
        return None if buffer is None else buffer.device

    def stack_by_task(self, values: Mapping[str, Any], kind: Literal["loss", "KPI"]) -> Tensor:
        """Stack a mapping's values in the order of `tasks`.

        Args:
            values: by task, 0-d tensors; for KPIs also numbers, or None for no measurement.
            kind: the kind of values, for errors. An absent task is 0 for losses and NaN for KPIs.

        Returns:
            [T], with the graph of the values; a plain tensor if the values are of a subclass.

        Raises:
            InputError: a name is unknown, a value is not a 0-d tensor (or, for KPIs, a number), or devices differ.
        """
        if type(values) is not dict:  # the cheap check first, since this runs in every training step
            mapping("losses" if kind == "loss" else "kpis", values, f"{{{self.tasks[0]!r}: {kind}}}")
        columns = [values.get(task) for task in self.tasks]
        # a list comprehension is faster than a generator here
        if len(values) != len(columns) or not all([isinstance(column, Tensor) for column in columns]):  # noqa: C419
            check_names("task", values, self.tasks)
            for task, value in values.items():
                check_value(task, value, kind)
            columns = self._filled(columns, 0.0 if kind == "loss" else math.nan)
        try:
            vector = torch.stack(columns)  # type: ignore[arg-type]  # all are tensors by now
        except RuntimeError:  # shapes or devices that differ
            raise not_stackable(values, kind) from None
        if vector.dim() != 1:
            raise not_stackable(values, kind)
        return plain(vector)

    def _filled(self, columns: list[Any], absent: float) -> list[Any]:
        """Return the columns as tensors on one device: numbers converted, and `absent` in place of None."""
        tensor = next((column for column in columns if isinstance(column, Tensor)), None)
        numbers = [math.nan if isinstance(c, Tensor) else absent if c is None else float(c) for c in columns]
        device = self._device if tensor is None else tensor.device
        converted = torch.tensor(numbers, dtype=torch.float32)
        if device is not None:
            converted = send(converted, device)
        return [c if isinstance(c, Tensor) else number for c, number in zip(columns, converted.unbind(), strict=True)]

    def is_distributed(self) -> bool:
        """Return whether `mean_over_ranks` communicates: torch.distributed is initialized, `process_group` is not False."""
        return self.process_group is not False and dist.is_available() and dist.is_initialized()

    def mean_over_ranks(self, values: Tensor) -> Tensor:
        """Average a measurement over ranks, in one collective. Every rank must call it.

        Args:
            values: any shape, without a graph. Entries that are not finite count as missing on this rank.

        Returns:
            The same shape: the mean over the ranks that have a finite entry, NaN where no rank has one. Without
            torch.distributed, `values` itself.
        """
        if not self.is_distributed():
            return values
        self._compare_tasks(values.device)
        finite = values.isfinite()
        sums = torch.stack([torch.where(finite, values, 0), finite.to(values.dtype)])
        dist.all_reduce(sums, group=self.process_group)
        return sums[0] / sums[1]

    def _compare_tasks(self, device: torch.device) -> None:
        """Check once that all ranks have the same tasks, before the first collective; not in a compiled graph.

        Raises:
            InputError: the tasks differ; raised on every rank, with the same text.
        """
        if torch.compiler.is_compiling() or self._tasks_compared:
            return
        require_same_names(self.tasks, self.process_group or None, device)
        self._tasks_compared = True


def send(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Copy a tensor to a device. A tensor on the host is copied without waiting for the device's pending work.

    CUDA has read its values when the call returns, even if the copy is still pending. MPS may read them later, when the
    memory belongs to another tensor, so there the copy waits.
    """
    return tensor.to(device, dtype, non_blocking=tensor.is_cpu and device.type != "mps")


def plain(tensor: Tensor) -> Tensor:
    """Convert a Python subclass to a plain tensor, since its methods may need attributes that only its own code sets.

    A subclass with its own dispatch, such as a fake or a distributed tensor, has no plain form and is returned unchanged.
    """
    if type(tensor) is Tensor or type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return tensor
    return tensor.as_subclass(Tensor)


def _difference(state: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Describe how a state differs from the module's own."""
    keys = [key for key in own if key != _NAMES]
    differences = {
        "it lacks": [key for key in keys if key not in state],
        "it also has": [str(key) for key in state if key not in own],
        "of another shape is": [
            key for key in keys if key in state and getattr(state[key], "shape", None) != own[key].shape
        ],
    }
    return "; ".join(f"{what} {', '.join(keys)}" for what, keys in differences.items() if keys)
