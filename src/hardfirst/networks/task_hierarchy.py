"""The task hierarchy: a chain of blocks, one per task."""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

from torch import Tensor, nn

from hardfirst._task_names import require_order
from hardfirst.errors import InputError, mapping
from hardfirst.networks._base import Network, by_task, call, check_count, check_tasks, concatenate, features, task_names
from hardfirst.networks._parts import Parts, match_hard_sharing
from hardfirst.networks.layers import Pointwise


class TaskHierarchy(Network):
    r"""A chain of blocks, one per task: f_t = block_t(transition_t([f_1, …, f_{t−1}])), output_t = module_t(f_t).

    The t-th task reads only block t, and so trains the blocks up to its own and no later one: all tasks train the first
    block, one task the last. A task's position in the chain gives it priority, without a weight on its loss.

    When to use: Use it if tasks build on one another, or to try an order of difficulty; compare both directions, and hard
    sharing. In the paper's single runs it was the best of three networks, but the order of the tasks made no difference
    beyond noise.

    Cost: as many blocks as tasks, in a chain; each block reads the outputs of all previous blocks, so the network is deep
    and slow if there are many tasks.

    Args:
        blocks: one per task, in the order of `order`. The first reads the inputs; each returns features
            [batch, channels, ...].
        modules: by task, computes the output from the features of the task's block. Names are any non-empty strings; outputs
            have this order.
        order: the tasks from the first block to the last; `order_by_difficulty` derives it from measured KPIs.
        transitions: for each block except the first, computes its input from the concatenated outputs of all earlier blocks,
            [batch, their channels, ...]. Without transitions, the block reads these outputs. Adaptive average pooling
            resizes features to the latest block's length, or height and width.

    Raises:
        InputError: `order` does not contain each task once, or a block or a transition is missing; in use, if a block,
            transition or module does not fit its input.

    Example:
        >>> import torch
        >>> network = TaskHierarchy(
        ...     blocks=[nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(32, 16)],
        ...     modules={"bright": nn.Linear(16, 1), "digit": nn.Linear(16, 10), "sum": nn.Linear(16, 19)},
        ...     order=order_by_difficulty({"bright": 0.97, "digit": 0.85, "sum": 0.4}),
        ... )
        >>> network.order
        ('sum', 'digit', 'bright')
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(5, 64)).items()}
        {'bright': (5, 1), 'digit': (5, 10), 'sum': (5, 19)}
        >>> sum(parameter.numel() for parameter in network.shared_parameters())  # of the first two blocks
        1312

    Note:
        Shared parameters are those of all blocks and transitions except the last task's. A checkpoint names a block by its
        task. It does not load into a network with another order, whose modules have other shapes.

        The paper's text and figures disagree on whether hard or easy tasks come first, so `order` has no default here.
        Pooling to the latest block's size is not in the paper.

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Fig. 2c, Eq. (6).
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        modules: Mapping[str, nn.Module],
        order: Sequence[str],
        *,
        transitions: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.tasks = task_names(modules, "modules", "a module")
        require_order("order", order)
        several = isinstance(order, Iterable) and not isinstance(order, str)
        check_tasks("order", order if several else [str(order)], self.tasks)
        self.order = tuple(order)
        tasks = f"the tasks {', '.join(self.order)}"
        check_count("blocks", blocks, len(self.order), f"one for each of {tasks}")
        if transitions is None:
            transitions = [nn.Identity() for _ in blocks[1:]]
        check_count("transitions", transitions, len(blocks) - 1, f"one for each block but the first, of {tasks}")
        self.blocks = by_task(dict(zip(self.order, blocks, strict=True)))
        self.transitions = by_task(dict(zip(self.order[1:], transitions, strict=True)))
        self.heads = by_task(modules)

    @classmethod
    def from_parts(cls, parts: Parts, *, order: Sequence[str] | None = None, width: int | None = None) -> "TaskHierarchy":
        """Build a block per task, pointwise transitions of `width` channels, and modules of one layer and the head.

        The `depth` layers are distributed over the blocks, at least one in each; the first block also contains the stem.

        Args:
            parts: the parts of the problem.
            order: the tasks from the first block to the last; default: the order of the heads.
            width: the channels of each layer; default: matched to the size of hard sharing.

        Raises:
            InputError: the order does not contain each task once; the width is not a whole number, or below 1; or the
                network is larger than hard sharing even at width 1.
        """

        def make(parts: Parts, width: int) -> "TaskHierarchy":
            tasks = len(parts.tasks)
            depths = [max(1, parts.depth // tasks + (index < parts.depth % tasks)) for index in range(tasks)]
            first = nn.Sequential(parts.stem(), *parts.layers(parts.channels, width, depths[0]))
            others = [nn.Sequential(*parts.layers(width, width, depth)) for depth in depths[1:]]
            transitions = [Pointwise(earlier * width, width) for earlier in range(1, tasks)]
            heads = parts.build_heads(width)
            modules: dict[str, nn.Module] = {
                task: nn.Sequential(parts.layer(width, width), head) for task, head in heads.items()
            }
            return cls([first, *others], modules, parts.tasks if order is None else order, transitions=transitions)

        return match_hard_sharing(parts, width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Compute every task's output, in the order of `modules`."""
        outputs: dict[str, Tensor] = {}
        transitions = list(self.transitions.values())
        for number, (task, block) in enumerate(zip(self.order, self.blocks.values(), strict=True), 1):
            name = f"block {number} (task {task!r})"
            if number > 1:
                inputs = call(transitions[number - 2], concatenate(outputs), f"The transition to {name}")
            outputs[name] = features(block, inputs, f"B{name[1:]}")
        return self._called(self.heads, dict(zip(self.order, outputs.values(), strict=True)), "module")

    def task_modules(self) -> dict[str, list[nn.Module]]:
        modules = dict(zip(self.tasks, self.heads.values(), strict=True))
        blocks, transitions = list(self.blocks.values()), list(self.transitions.values())
        return {task: [*blocks[: index + 1], *transitions[:index], modules[task]] for index, task in enumerate(self.order)}


def order_by_difficulty(kpis: Mapping[str, float], *, first: Literal["hard", "easy"] = "hard") -> tuple[str, ...]:
    """Order tasks by their measured KPIs, for `TaskHierarchy`.

    Args:
        kpis: by task, comparable numbers, higher is better, such as single-task validation KPIs. Tasks with equal KPIs keep
            their order.
        first: the tasks that come first: those with the lowest KPIs ("hard") or with the highest ("easy").

    Raises:
        InputError: a KPI is NaN, or `first` is neither "hard" nor "easy".

    Example:
        >>> order_by_difficulty({"segment": 0.7, "depth": 0.4, "normals": 0.9})
        ('depth', 'segment', 'normals')
        >>> order_by_difficulty({"segment": 0.7, "depth": 0.4, "normals": 0.9}, first="easy")
        ('normals', 'segment', 'depth')
    """
    if first not in ("hard", "easy"):
        raise InputError(f'Expected `first` to be "hard" or "easy"; got {first!r}.')
    mapping("kpis", kpis, "{'depth': 0.4, 'segment': 0.7}")
    for task, kpi in kpis.items():
        if not isinstance(kpi, Real | Tensor):
            raise InputError(f"Expected the KPI of task {task!r} to be a number; got {kpi!r}.")
        if math.isnan(kpi):
            raise InputError(f"The KPI of task {task!r} is NaN, so the task cannot be ordered. Measure it first.")
    sign = 1 if first == "hard" else -1
    return tuple(sorted(kpis, key=lambda task: sign * kpis[task]))
