"""The multi-task attention network: a shared trunk, and masks of its features for each task."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.networks._base import Network, by_task, call, check_count, check_tasks, describe, features, resize, task_names
from hardfirst.networks._parts import Parts, match_hard_sharing
from hardfirst.networks.layers import Pointwise, group_norm, vector_layer

Block = nn.Module | tuple[nn.Module, nn.Module]


class MTAN(Network):
    r"""A trunk that all tasks share, and an attention module per task that masks its features, block by block.

    With u_b the input of the attention to block b, p_b the block's output, and a_b the task's mask,
    â_b = a_b ∘ p_b,  a_1 = h_1(u_1),  a_b = h_b([u_b, f_b(â_{b−1})]); the head reads the last â. Masks are from 0 to 1, for
    each channel and position.

    When to use: Use for dense predictions on images, such as segmentation and depth, whose tasks need different channels at
    different positions. Vectors have no positions to attend to and raise an error.

    Cost: the trunk once, and for each task the masks and f of all blocks: in time, close to one trunk per task.

    Args:
        stem: computes the features that the first block reads; `nn.Identity()` if it reads the inputs.
        blocks: the trunk's, at least one; each returns features [batch, channels, height, width], or [batch, channels,
            length]. A pair of modules is a block whose first output the attention reads (u) and whose second it masks (p); a
            single module's output is both.
        attentions: by task, one module per block, which computes the mask, of p's shape, from u, concatenated with f after
            the first block: `Attention(channels of u and f, channels of p)`.
        transitions: f for each block except the first, shared by the tasks; computes an input of the task's attention from
            its masked features of the previous block. Adaptive max pooling resizes it to the size of u.
        heads: by task, computes the output from the task's masked features of the last block. Names are any non-empty
            strings.

    Raises:
        InputError: there are no heads or blocks, or an attention or a transition is missing; in use, if features are
            vectors, or a module does not fit its input.

    Example:
        >>> import torch
        >>> network = MTAN(
        ...     stem=nn.Conv2d(3, 8, 3, padding=1),
        ...     blocks=[(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()), nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 1))],
        ...     attentions={task: [Attention(8, 8), Attention(16 + 16, 16)] for task in ("segment", "depth")},
        ...     transitions=[nn.Conv2d(8, 16, 3, padding=1)],
        ...     heads={"segment": nn.Conv2d(16, 5, 1), "depth": nn.Conv2d(16, 1, 1)},
        ... )
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(2, 3, 12, 16)).items()}
        {'segment': (2, 5, 6, 8), 'depth': (2, 1, 6, 8)}

    Note:
        Shared parameters are those of the stem, the blocks and the transitions, which the paper also shares. This is the
        paper's encoder; for its decoder, use blocks that enlarge features. Norms in `Attention` are over groups of channels
        and all positions, so padding has an effect; the paper's are over batches. `from_parts` makes each layer a block
        whose output is both read and masked, as the authors' code does with a Wide ResNet; their SegNet has pairs.

    References:
        Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019, Eq. (1) and (2).
    """

    def __init__(
        self,
        stem: nn.Module,
        blocks: Sequence[Block],
        attentions: Mapping[str, Sequence[nn.Module]],
        transitions: Sequence[nn.Module],
        heads: Mapping[str, nn.Module],
    ) -> None:
        super().__init__()
        self.tasks = task_names(heads)
        if not blocks:
            raise InputError("Expected `blocks` to have at least one block; got none.")
        check_tasks("attentions", attentions, heads)
        for task in heads:
            check_count(f"attentions for task {task!r}", attentions[task], len(blocks), "one for each block")
        check_count("transitions", transitions, len(blocks) - 1, f"one for each of the {len(blocks)} blocks but the first")
        self.stem = stem
        self.blocks = nn.ModuleList(
            nn.ModuleList(block if isinstance(block, tuple) else (block, nn.Identity())) for block in blocks
        )
        self.transitions = nn.ModuleList(transitions)
        self.attentions = by_task({task: nn.ModuleList(attentions[task]) for task in heads})
        self.heads = by_task(heads)

    @classmethod
    def from_parts(cls, parts: Parts, *, width: int | None = None) -> "MTAN":
        """Build a network from the stem, `depth` blocks and transitions of one layer each.

        Args:
            parts: the parts of the problem; features must be sequences or images.
            width: the channels of each layer; default: matched to the size of hard sharing.

        Raises:
            InputError: the layers are for vectors; the width is not a whole number, or below 1; or the network is larger
                than hard sharing even at width 1.
        """
        if parts.layer is vector_layer:
            raise no_positions_error("the layers are for vectors")

        def make(parts: Parts, width: int) -> "MTAN":
            blocks = parts.layers(parts.channels, width, parts.depth)
            attentions = {
                task: [Attention(width if index == 0 else 2 * width, width) for index in range(parts.depth)]
                for task in parts.tasks
            }
            transitions = parts.layers(width, width, parts.depth - 1)
            return cls(parts.stem(), blocks, attentions, transitions, parts.build_heads(width))

        return match_hard_sharing(parts, width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Compute every task's output, in the order of `heads`."""
        trunk = call(self.stem, inputs, "The stem")
        blocks = []
        for number, pair in enumerate(self.blocks, 1):
            assert isinstance(pair, nn.ModuleList)
            first, second = pair
            name = f"Block {number}"
            seen = features(first, trunk, name)
            trunk = features(second, seen, name)
            if trunk.dim() == 2:
                raise no_positions_error(f"block {number} gives {describe(trunk)}")
            blocks.append((seen, trunk))
        attentions = zip(self.tasks, self.attentions.values(), strict=True)
        return self._called(self.heads, {task: self._attended(task, each, blocks) for task, each in attentions})

    def _attended(self, task: str, attentions: nn.Module, blocks: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Compute the task's masked features of the last block."""
        assert isinstance(attentions, nn.ModuleList)
        attended, _ = blocks[0]  # never read: the first block has no transition
        for number, (attention, (seen, masked)) in enumerate(zip(attentions, blocks, strict=True), 1):
            attention_input = seen
            if number > 1:
                name = f"The transition from block {number - 1} to {number}"
                carried = features(self.transitions[number - 2], attended, name)
                attention_input = torch.cat([seen, resize(carried, seen, "max")], dim=1)
            name = f"The attention of task {task!r} to block {number}"
            mask = call(attention, attention_input, name)
            if mask.shape != masked.shape:
                raise InputError(
                    f"{name} must return a mask of the features' shape, {describe(masked)}; got {describe(mask)}."
                )
            attended = mask * masked
        return attended

    def task_modules(self) -> dict[str, list[nn.Module]]:
        return self._with_shared([self.stem, self.blocks, self.transitions], self.attentions, self.heads)


class Attention(nn.Module):
    """A mask for features: two pointwise maps, each with a norm, with a ReLU between and a sigmoid after them.

    Args:
        before: the channels of its input.
        channels: the channels of the mask, and between the two maps.

    Shape:
        [batch, before, ...] → [batch, channels, ...], from 0 to 1.

    Example:
        >>> Attention(8, 3)(torch.zeros(5, 8, 6, 4)).shape
        torch.Size([5, 3, 6, 4])
    """

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        first = [Pointwise(before, channels), group_norm(channels), nn.ReLU()]
        self.layers = nn.Sequential(*first, Pointwise(channels, channels), group_norm(channels), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        """Compute the mask."""
        return self.layers(features)  # type: ignore[no-any-return]  # a module's call


def no_positions_error(reason: str) -> InputError:
    """Return the error for vectors, which have no positions to attend to."""
    return InputError(
        "MTAN attends to positions and needs features [batch, channels, length] or [batch, channels, height, width], but "
        f"{reason}. For vectors, choose mmoe or ple."
    )
