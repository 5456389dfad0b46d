"""State of size [T, n] in the shared parameters' n numbers, for gradient balancers that average over steps."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from hardfirst._task_state import Group, send
from hardfirst.balancers._gradient import GradientBalancer
from hardfirst.errors import InputError


class RowStateBalancer(GradientBalancer):
    """Base class of methods with a state [T, n] for n shared parameters, initially zero.

    The state is in `state_dict` but not in a buffer, since its size is known only in the first step. Torch's AveragedModel
    averages the buffers of a module and its copy, and requires equal sizes from the start.

    Args:
        tasks: distinct non-empty strings.
        process_group: see `Balancer`.
    """

    takes_features = False
    row_state: ClassVar[str]
    """The name of the state's attribute and of its key in `state_dict`."""

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self._set(torch.zeros(len(self.tasks), 0, dtype=torch.float32))
        self._task_axes[self.row_state] = 1

    def reset(self) -> None:
        super().reset()
        self._set(self._rows().new_zeros(len(self.tasks), 0))

    def _rows(self) -> Tensor:
        rows: Tensor = getattr(self, self.row_state)
        return rows

    def _set(self, rows: Tensor) -> None:
        setattr(self, self.row_state, rows)

    def _update_rows(self, jacobian: Tensor, present: Tensor, rule: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Update the rows of the tasks that are present, in training mode, and return them [k, n].

        Args:
            jacobian: as in `aggregate`.
            present: as in `aggregate`.
            rule: called with the old rows [k, n] and the output: the old rows themselves, or `jacobian` in eval mode.
        """
        rows = self._rows()
        if rows.shape[1] not in (0, jacobian.shape[1]):
            raise InputError(
                f"Expected `shared` to have {rows.shape[1]} numbers, as in the earlier steps that {type(self).__name__} "
                f"averages over; got {jacobian.shape[1]}. Give the same parameters in each step, or call reset()."
            )
        rows = rows if rows.shape[1] else jacobian.new_zeros(len(self.tasks), jacobian.shape[1])
        all_present = len(present) == len(rows)
        present = send(present, rows.device)
        before = rows if all_present else rows[present]
        # in place, to save memory
        after = rule(before, before if self.training else jacobian)
        if self.training:
            self._set(rows if all_present else rows.index_copy_(0, present, after))
        return after

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        moved = fn(self._rows())
        self._set(moved if moved.dtype == torch.float32 else self._rows().to(moved.device))
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}{self.row_state}"] = self._rows()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        _, strict, missing_keys, unexpected_keys, error_msgs = rest
        name = f"{prefix}{self.row_state}"
        if (saved := state_dict.get(name)) is None:
            missing_keys.append(name)
            return
        if strict:
            unexpected_keys.remove(name)
        if saved.dim() != 2 or len(saved) != len(self.tasks):
            error_msgs.append(f"size mismatch for {name}: {list(saved.shape)} for {len(self.tasks)} tasks.")
        else:
            self._set(saved.to(self._rows(), copy=True))
