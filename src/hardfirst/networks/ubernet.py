"""UberNet: every block of the trunk feeds every task."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.networks._base import Network, by_task, call, check_count, check_tasks, concatenate, features, task_names
from hardfirst.networks._parts import Parts, match_hard_sharing


class UberNet(Network):
    """A chain of blocks, all of which feed each task: output_t = head_t(module_t([f_1, …, f_B])).

    f_b = block_b(f_{b−1}) are a block's features. A task's module fuses all of them, from the early, fine features to the
    late, coarse ones; all tasks have the same position in the network.

    When to use: Use it if tasks need features of different depths or scales, such as edges and object classes. It gives no
    task priority, so it is the comparison for `TaskHierarchy`.

    Cost: the blocks once, and for each task a module that reads the channels of all blocks: most of the network if there
    are many tasks.

    Args:
        blocks: at least one. The first reads the inputs; each returns features [batch, channels, ...].
        modules: by task, computes features from the concatenated features of all blocks, [batch, channels of all blocks,
            ...]. Adaptive average pooling resizes these to the last block's length, or height and width.
        heads: by task, computes the output from the features of the task's module. Names are any non-empty strings.
        transitions: one between each block and the next, computing the next block's input; default: none.

    Raises:
        InputError: there are no blocks or heads, or a module or a transition is missing; in use, if a block, transition,
            module or head does not fit its input.

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
        and normalizes batches at each tap; this is the variant in the paper on task prioritization, without either. Pooling
        to the last block's size is not in the papers.

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
        self.tasks = task_names(heads)
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
        """Build `depth` blocks of one layer each, with the stem in the first, and modules of one layer.

        Args:
            parts: the parts of the problem.
            width: the channels of each layer; default: matched to the size of hard sharing.

        Raises:
            InputError: the width is not a whole number, or below 1; or the network is larger even at width 1.
        """

        def make(parts: Parts, width: int) -> "UberNet":
            first, *others = parts.layers(parts.channels, width, parts.depth)
            modules = {task: parts.layer(parts.depth * width, width) for task in parts.tasks}
            return cls([nn.Sequential(parts.stem(), first), *others], modules, parts.build_heads(width))

        return match_hard_sharing(parts, width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Compute every task's output, in the order of `heads`."""
        taps: dict[str, Tensor] = {}
        for number, block in enumerate(self.blocks, 1):
            name = f"block {number}"
            if number > 1:
                inputs = call(self.transitions[number - 2], inputs, f"The transition to {name}")
            inputs = taps[name] = features(block, inputs, f"B{name[1:]}")
        fused = self._called(self.fusions, dict.fromkeys(self.tasks, concatenate(taps)), "module")
        return self._called(self.heads, fused)

    def task_modules(self) -> dict[str, list[nn.Module]]:
        return self._with_shared([self.blocks, self.transitions], self.fusions, self.heads)
