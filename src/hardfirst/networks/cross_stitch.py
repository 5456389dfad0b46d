"""Cross-stitch networks: a column of layers for each task, and linear maps between them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, number, whole
from hardfirst.networks._base import Network, by_task, call, check_count, check_tasks, features, same_shapes, task_names
from hardfirst.networks._parts import Parts, match_hard_sharing


class CrossStitch(Network):
    r"""A column of layers for each task; after each layer, each continues with a mixture of all: x̃_t = Σ_s α_{ts} x_s.

    α is learned for each layer, and so is how much the tasks share at each depth.

    When to use: Use for a few tasks that may lose from sharing, if it is unknown how much they have in common.

    Cost: as many columns as tasks; every task's output needs all of them.

    Args:
        stem: computes the features [batch, channels, ...] that all columns read; `nn.Identity()` if they read the inputs.
        columns: by task, its layers: the same number for each, with features of one shape at each depth.
        heads: by task, computes the output from the last mixture of the task's column. Names are any non-empty strings.
        same: the initial α between a column and itself, from 0 to 1; the other columns start with equal shares of the rest.
        channels: the channels of each layer's features, for one α per channel; default: one α for all channels.

    Raises:
        InputError: there are no heads, a column is missing, columns differ in length, or a number is out of range; in
            use, if a layer or head does not fit its input, or columns differ in shape.

    Example:
        >>> import torch
        >>> columns = {task: [nn.Linear(64, 16), nn.Linear(16, 16)] for task in ("digit", "bright")}
        >>> network = CrossStitch(nn.Flatten(), columns, {"digit": nn.Linear(16, 10), "bright": nn.Linear(16, 1)})
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(5, 8, 8)).items()}
        {'digit': (5, 10), 'bright': (5, 1)}
        >>> network.stitches[0].alpha.tolist()
        [[0.8999..., 0.1000...], [0.1000..., 0.8999...]]

    Note:
        Shared parameters are all except the heads': the stem's, every α, and every column's, since each affects all tasks.

        The paper has two tasks; with more, each row of α still starts with a sum of 1. The paper starts from columns trained
        on single tasks, and gives α a learning rate 100 to 1000 times higher. Here all columns start at random; for another
        learning rate, put `network.stitches.parameters()` in a parameter group of the optimizer. The paper has no shared
        stem (`nn.Identity()`). α uses the alphabetical order of the tasks, so a checkpoint does not depend on the order in
        which they are given.

    References:
        Misra, Shrivastava, Gupta and Hebert, Cross-stitch Networks for Multi-task Learning, CVPR 2016, Eq. (1).
    """

    def __init__(
        self,
        stem: nn.Module,
        columns: Mapping[str, Sequence[nn.Module]],
        heads: Mapping[str, nn.Module],
        *,
        same: float = 0.9,
        channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.tasks = task_names(heads)
        check_tasks("columns", columns, heads)
        depths = {task: len(columns[task]) for task in heads}
        if len(set(depths.values())) > 1 or 0 in depths.values():
            counts = ", ".join(f"{task} {depth}" for task, depth in depths.items())
            raise InputError(
                f"Expected `columns` to have the same number of layers for each task, at least 1; got {counts}."
            )
        depth = depths[self.tasks[0]]
        if channels is not None:
            check_count("numbers of `channels`", channels, depth, "one for each layer")
        self.stem = stem
        self.columns = by_task({task: nn.ModuleList(columns[task]) for task in heads})
        self.stitches = nn.ModuleList(
            Stitch(len(heads), same=same, channels=None if channels is None else channels[index]) for index in range(depth)
        )
        self.heads = by_task(heads)

    @classmethod
    def from_parts(
        cls, parts: Parts, *, same: float = 0.9, per_channel: bool = False, width: int | None = None
    ) -> "CrossStitch":
        """Build a network from the stem, and a column of `depth` layers for each task.

        Args:
            parts: the parts of the problem.
            same: see `CrossStitch`.
            per_channel: whether each channel has its own α.
            width: the channels of each layer; default: matched to the size of hard sharing.

        Raises:
            InputError: a number is out of range; or the network is larger than hard sharing even at width 1.
        """

        def make(parts: Parts, width: int) -> "CrossStitch":
            columns = {task: parts.layers(parts.channels, width, parts.depth) for task in parts.tasks}
            channels = [width] * parts.depth if per_channel else None
            return cls(parts.stem(), columns, parts.build_heads(width), same=same, channels=channels)

        return match_hard_sharing(parts, width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Compute every task's output, in the order of `heads`."""
        stem = call(self.stem, inputs, "The stem")
        columns: dict[str, Any] = dict(zip(self.tasks, self.columns.values(), strict=True))
        running = dict.fromkeys(sorted(self.tasks), stem)
        for index, stitch in enumerate(self.stitches):
            for task, before in running.items():
                name = f"Layer {index + 1} of task {task!r}"
                running[task] = features(columns[task][index], before, name)
            stacked = torch.stack(same_shapes(running, f"layer {index + 1} of all tasks"))
            mixed = call(stitch, stacked, f"The cross-stitch unit after layer {index + 1}")
            running = dict(zip(running, mixed.unbind(), strict=True))
        return self._called(self.heads, running)

    def task_modules(self) -> dict[str, list[nn.Module]]:
        return self._with_shared([self.stem, self.columns, self.stitches], self.heads)


class Stitch(nn.Module):
    """A cross-stitch unit: x̃_t = Σ_s α_{ts} x_s.

    Args:
        tasks: the number of tasks.
        same: the initial α between a task and itself, from 0 to 1; the other tasks have equal shares of the rest.
        channels: the channels of the features, for one α per channel; default: one α for all channels.

    Shape:
        [tasks, batch, channels, ...] → the same.

    Raises:
        InputError: a number is out of range.
    """

    def __init__(self, tasks: int, *, same: float = 0.9, channels: int | None = None) -> None:
        super().__init__()
        same = number("same", same, least=0, most=1) if tasks > 1 else 1.0
        alpha = torch.full((tasks, tasks), (1 - same) / max(tasks - 1, 1)).fill_diagonal_(same)
        if channels is not None:
            alpha = alpha.unsqueeze(2).repeat(1, 1, whole("channels", channels, least=1))
        self.alpha = nn.Parameter(alpha)

    def forward(self, features: Tensor) -> Tensor:
        """Mix all tasks' features for each task."""
        return torch.einsum("ts,sbc...->tbc..." if self.alpha.dim() == 2 else "tsc,sbc...->tbc...", self.alpha, features)
