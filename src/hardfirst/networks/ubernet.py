"""UberNet: every block of the trunk feeds every task."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.networks._base import Network, by_task, call, check_count, check_tasks, concatenated, features, named
from hardfirst.networks._parts import Parts, fitted


class UberNet(Network):
    """Blocks one after another, all of which feed each task: output_t = head_t(module_t([f_1, …, f_B])).

    f_b = block_b(f_{b−1}) are a block's features. A task's module fuses what it taps, from the early, fine features to the
    late, coarse ones; no task has a place in the network that another has not.

    When to use: tasks that need features of different depths or scales, such as edges beside object classes. It gives no
    task priority: it is what `TaskHierarchy` is held against.

    Cost: the blocks once; a module for each task that reads the channels of all blocks, which is most of the network where
    there are many tasks.

    Args:
        blocks: at least one; the first reads the inputs, each gives features [batch, channels, ...].
        modules: by task, makes features from those of all blocks side by side, [batch, channels of all blocks, ...].
            Features of another length, or height and width, than the last block's are brought to it by adaptive average
            pooling.
        heads: by task, makes its output from what its module gives. Any non-empty string is a task's name.
        transitions: one between each block and the next, whose input it makes; none unless given.

    Raises:
        InputError: no blocks or heads, not a module for each head, or not a transition between each two blocks; in use, if a
            block, transition, module or head does not fit what comes before it.

    Example:
        >>> import torch
        >>> network = UberNet(
        ...     blocks=[nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)],
        ...     modules={"segment": nn.Conv2d(24, 8, 1), "class": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())},
        ...     heads={"segment": nn.Conv2d(8, 5, 1), "class": nn.Linear(24, 10)},
        ... )
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(2, 3, 12, 16)).items()}
        {'segment': (2, 5, 6, 8), 'class': (2, 10)}
        >>> sum(parameter.numel() for parameter in network.shared_parameters())
        1392

    Note:
        Shared parameters are those of the blocks and transitions. The published UberNet fuses scores of several image scales
        and normalises batches at each tap; this is the variant that the paper on task prioritization compares, which keeps
        what its name stands for there. Pooling to the last block's size is ours.

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Fig. 2b;
        Kokkinos, UberNet: Training a Universal Convolutional Neural Network, CVPR 2017.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        modules: Mapping[str, nn.Module],
        heads: Mapping[str, nn.Module],
        *,
        transitions: Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.tasks = named(heads)
        if not blocks:
            raise InputError("Expected `blocks` to have at least one block; got none.")
        check_tasks("modules", modules, heads)
        if transitions is None:
            transitions = [nn.Identity() for _ in blocks[1:]]
        check_count("transitions", transitions, len(blocks) - 1, f"one between each two of the {len(blocks)} blocks")
        self.blocks = nn.ModuleList(blocks)
        self.transitions = nn.ModuleList(transitions)
        self.fusions = by_task({task: modules[task] for task in heads})  # nn.Module has a method called modules
        self.heads = by_task(heads)

    @classmethod
    def from_parts(cls, parts: Parts, *, width: int | None = None) -> "UberNet":
        """Blocks of one layer each, `depth` of them, of which the first has the stem, too; modules of one layer.

        Args:
            parts: the problem's.
            width: channels of each layer; unless given, such that the network is of hard sharing's size.

        Raises:
            InputError: the width is not a whole number, or below 1; or even at width 1 the network is larger.
        """

        def make(parts: Parts, width: int) -> "UberNet":
            first, *others = parts.layers(parts.channels, width, parts.depth)
            modules = {task: parts.layer(parts.depth * width, width) for task in parts.tasks}
            return cls([nn.Sequential(parts.stem(), first), *others], modules, parts.made_heads(width))

        return fitted(parts, width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Every task's output, in the order of `heads`."""
        taps: dict[str, Tensor] = {}
        for number, block in enumerate(self.blocks, 1):
            name = f"block {number}"
            if number > 1:
                inputs = call(self.transitions[number - 2], inputs, f"The transition to {name}")
            inputs = taps[name] = features(call(block, inputs, f"B{name[1:]}"), f"B{name[1:]}")
        fused = concatenated(taps)
        outputs = {}
        for task, module, head in zip(self.tasks, self.fusions.values(), self.heads.values(), strict=True):
            own = call(module, fused, f"The module of task {task!r}")
            outputs[task] = call(head, own, f"The head of task {task!r}")
        return outputs

    def task_modules(self) -> dict[str, list[nn.Module]]:
        return {
            task: [self.blocks, self.transitions, module, head]
            for task, module, head in zip(self.tasks, self.fusions.values(), self.heads.values(), strict=True)
        }
