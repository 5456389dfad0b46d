"""SegNet and the attention on it: sizes, what the masks do, and who reads what."""

import pytest
import torch
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.networks import SegNet, SegNetMTAN, map_head, parameters

OUTPUTS = {"segment": 13, "depth": 1}


def network(width: int = 4) -> SegNetMTAN:
    return SegNetMTAN({task: map_head(width, outputs=outputs) for task, outputs in OUTPUTS.items()}, width=width)


def test_it_is_of_the_published_size() -> None:
    """MTAN's code compares sizes with the 24,981,069 parameters of a SegNet for 13 classes."""
    with torch.device("meta"):
        assert parameters(SegNet()) + parameters(map_head(64, outputs=13)) == 24_981_069


class Ones(nn.Module):
    """A mask that hides nothing."""

    def __init__(self, like: nn.Module) -> None:
        super().__init__()
        self.mask = like

    def forward(self, features: Tensor) -> Tensor:
        return torch.ones_like(self.mask(features))


def test_masks_that_hide_nothing_leave_segnet() -> None:
    made, images = network().eval(), torch.rand(2, 3, 64, 96)
    for attentions in made.attentions.values():
        for number, attention in enumerate(attentions):
            attentions[number] = Ones(attention)
    features = made.trunk(images)
    for task, output in made(images).items():
        torch.testing.assert_close(output, made.heads[task](features))


def test_what_is_masked_in_one_block_is_read_in_the_next() -> None:
    """With zeros for what attention reads of the trunk, the image gets through by the masked features alone."""
    made, images = network(), torch.rand(2, 2, 3, 64, 64)  # in training, norms keep what gets through from vanishing
    for attentions in made.attentions.values():
        for attention, channels in zip(attentions, (0, 8, 16, 32, 32, 32, 32, 16, 8, 4), strict=True):
            attention[0].weight.data[:, :channels] = 0
    stages = made.trunk.stages(images[0])
    others = made.trunk.stages(images[1])
    attentions = list(made.attentions["depth"])
    first = made._attended([others[0], *stages[1:]], attentions)
    assert not torch.allclose(first, made._attended(stages, attentions))
    mixed = [(other[0], stage[1]) for other, stage in zip(others, stages, strict=True)]
    mixed[0] = stages[0]
    torch.testing.assert_close(made._attended(mixed, attentions), made._attended(stages, attentions))


def test_tasks_share_the_trunk_and_the_transitions_alone() -> None:
    made = network()
    shared = {id(parameter) for parameter in made.shared_parameters()}
    assert shared == {id(parameter) for module in (made.trunk, made.transitions) for parameter in module.parameters()}
    made(torch.rand(2, 3, 32, 32))["depth"].sum().backward()
    reached = {id(parameter) for parameter in made.parameters() if parameter.grad is not None}
    modules = (made.trunk, made.transitions, made.attentions["depth"], made.heads["depth"])
    assert reached == {id(parameter) for module in modules for parameter in module.parameters()}


@pytest.mark.parametrize("size", [(32, 32), (70, 45)])
def test_images_may_have_any_size(size: tuple[int, int]) -> None:
    outputs = network(2)(torch.rand(2, 3, *size))
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        task: (2, outputs, *size) for task, outputs in OUTPUTS.items()
    }


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"The trunk does not accept its input, \[2, 1, 64, 64\]"):
        network(2)(torch.rand(2, 1, 64, 64))
    with pytest.raises(InputError, match=r"`width`.*at least 1; got 0"):
        SegNet(0)
