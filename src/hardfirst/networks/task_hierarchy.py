"""The task hierarchy: each task has a block of its own, and its place in a chain of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Literal

from torch import Tensor, nn

from hardfirst.errors import InputError, mapping
from hardfirst.networks._base import Network, by_task, call, check_count, check_tasks, concatenated, features, named
from hardfirst.networks._parts import Parts, fitted
from hardfirst.networks.layers import Pointwise


class TaskHierarchy(Network):
    r"""A chain of blocks, one for each task: f_t = block_t(transition_t([f_1, …, f_{t−1}])), output_t = module_t(f_t).

    The t-th task reads block t alone. So it trains the blocks up to its own, and no later one: the first block hears of all
    tasks, the last of its task only. A task's place is its priority, without any weight on its loss.

    When to use: tasks that build on one another, or an order of difficulty that you want to try; compare both directions,
    and hard sharing. In the paper's single runs it was the best of its three networks, but the order of its tasks made no
    difference that could be told from noise.

    Cost: as many blocks as tasks, one after another, each of which reads the outputs of all before it: deep and slow where
    there are many tasks.

    Args:
        blocks: one for each task, in the order of `order`; the first reads the inputs, each gives features
            [batch, channels, ...].
        modules: by task, makes its output from the features of its own block: the task's module with its head. Any non-empty
            string is a task's name; outputs come in this order.
        order: the tasks from the first block to the last; `order_by_difficulty` makes it from measured KPIs.
        transitions: for each block but the first, makes its input from the outputs of all earlier blocks side by side,
            [batch, their channels, ...]; without transitions the block reads them as they are. Features of another length,
            or height and width, than the latest block's are brought to it by adaptive average pooling.

    Raises:
        InputError: `order` does not have each task once, or there is not a block for each task, or a transition for each
            block but the first; in use, if a block, transition or module does not fit what comes before it.

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
        Shared parameters are those of all blocks and transitions but the last task's. A checkpoint names a block by its
        task; in another order what reads the earlier blocks does not fit, and loading fails.

        The paper's text and figures disagree on whether hard or easy tasks come first, so that `order` has no default here.
        Pooling to the latest block's size is ours.

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
        self.tasks = named(modules, "modules", "a module")
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
        """A block for each task, pointwise transitions of `width` channels, and modules of one layer and the head.

        The `depth` layers are spread over the blocks, the first of which has the stem, too; each block has at least one.

        Args:
            parts: the problem's.
            order: the tasks from the first block to the last; that of the heads unless given.
            width: channels of each layer; unless given, such that the network is of hard sharing's size.

        Raises:
            InputError: the order does not have each task once; the width is not a whole number, or below 1; or even at width
                1 the network is larger than hard sharing.
        """

        def make(parts: Parts, width: int) -> "TaskHierarchy":
            tasks = len(parts.tasks)
            depths = [max(1, parts.depth // tasks + (place < parts.depth % tasks)) for place in range(tasks)]
            first = nn.Sequential(parts.stem(), *parts.layers(parts.channels, width, depths[0]))
            others = [nn.Sequential(*parts.layers(width, width, depth)) for depth in depths[1:]]
            transitions = [Pointwise(place * width, width) for place in range(1, tasks)]
            heads = parts.made_heads(width)
            modules: dict[str, nn.Module] = {
                task: nn.Sequential(parts.layer(width, width), head) for task, head in heads.items()
            }
            return cls([first, *others], modules, parts.tasks if order is None else order, transitions=transitions)

        return fitted(parts, width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Every task's output, in the order of `modules`."""
        found: dict[str, Tensor] = {}
        transitions = list(self.transitions.values())
        for number, (task, block) in enumerate(zip(self.order, self.blocks.values(), strict=True), 1):
            name = f"block {number} (task {task!r})"
            if number > 1:
                inputs = call(transitions[number - 2], concatenated(found), f"The transition to {name}")
            found[name] = features(call(block, inputs, f"B{name[1:]}"), f"B{name[1:]}")
        taken = dict(zip(self.order, found.values(), strict=True))
        return {
            task: call(module, taken[task], f"The module of task {task!r}")
            for task, module in zip(self.tasks, self.heads.values(), strict=True)
        }

    def task_modules(self) -> dict[str, list[nn.Module]]:
        modules = dict(zip(self.tasks, self.heads.values(), strict=True))
        blocks, transitions = list(self.blocks.values()), list(self.transitions.values())
        return {task: [*blocks[: place + 1], *transitions[:place], modules[task]] for place, task in enumerate(self.order)}


def order_by_difficulty(kpis: Mapping[str, float], *, first: Literal["hard", "easy"] = "hard") -> tuple[str, ...]:
    """The tasks in the order of their measured KPIs: what `TaskHierarchy` takes.

    Args:
        kpis: by task, in one unit, the best of which is the highest: single-task validation KPIs, say. Tasks with equal KPIs
            keep the order that they have here.
        first: which come first, those with the lowest KPIs ("hard") or with the highest ("easy").

    Raises:
        InputError: a KPI is NaN, or `first` is something else.

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
            raise InputError(f"The KPI of task {task!r} is NaN, so that it has no place in an order. Measure it first.")
    sign = 1 if first == "hard" else -1
    return tuple(sorted(kpis, key=lambda task: sign * kpis[task]))
