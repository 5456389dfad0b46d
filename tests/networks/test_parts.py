"""What networks are made of, and that they are made of equal size."""

import pytest
import torch
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.networks import NETWORKS, Parts, image_layer, matched, parameters, sequence_layer, vector_layer
from hardfirst.networks.layers import Pointwise, group_norm

HEADS = {"a": lambda channels: nn.Linear(channels, 2)}


@pytest.mark.parametrize(("target", "width"), [(11, 1), (27, 2), (28, 3), (300, 27), (11 * 4096, 4096), (11 * 65536, 65536)])
def test_matched_comes_nearest(target: int, width: int) -> None:
    """A layer of width w from 10 channels has 11 w parameters: 27 lies between 22 and 33, nearer to the former."""
    assert matched(lambda width: nn.Linear(10, width), target) == width


def test_matched_takes_the_smaller_of_two_that_are_as_near() -> None:
    assert matched(lambda width: nn.Linear(2, width, bias=False), 11) == 5


def test_matched_builds_few_networks() -> None:
    widths = []

    def build(width: int) -> nn.Module:
        widths.append(width)
        return nn.Linear(10, width)

    matched(build, 11 * 1000)
    assert len(widths) == len(set(widths)) < 25


def test_matched_refuses_what_does_not_grow() -> None:
    with pytest.raises(InputError, match="Linear has 11 parameters even at width 65,536, fewer than the 99 to match"):
        matched(lambda _: nn.Linear(10, 1), 99)


def test_parameters_that_are_shared_count_once() -> None:
    layer = nn.Linear(3, 3)
    assert parameters(nn.Sequential(layer, layer, nn.Linear(3, 1).requires_grad_(False))) == 12 + 4


@pytest.mark.parametrize("name", ["channels", "width", "depth"])
@pytest.mark.parametrize("value", [0, 1.5, True])
def test_parts_check_their_numbers(name: str, value: object) -> None:
    numbers = {"channels": 8, "width": 8, "depth": 2, name: value}
    with pytest.raises(InputError, match=f"Expected `{name}` to be a whole number, at least 1; got {value}"):
        Parts(nn.Identity, layer=vector_layer, heads=HEADS, **numbers)


def test_parts_keep_their_heads() -> None:
    heads = dict(HEADS)
    made = Parts(nn.Identity, 8, vector_layer, 8, 2, heads)
    heads.clear()
    assert made.tasks == ("a",)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("mmoe", {"experts": 0}, "`experts` to be a whole number, at least 1; got 0"),
        ("ple", {"shared": 0}, "`shared` to be a whole number, at least 1; got 0"),
        ("ple", {"specific": 1.5}, "`specific` to be a whole number, at least 1; got 1.5"),
        ("cross_stitch", {"same": 1.5}, "`same` to be at most 1; got 1.5"),
        ("task_hierarchy", {"order": ["a"]}, "`order` to contain each of the tasks a, b once; got a"),
        ("mtan", {}, "MTAN attends to positions .* but the layers are for vectors. For vectors, choose mmoe or ple"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, object], says: str) -> None:
    made = Parts(nn.Identity, 8, vector_layer, 64, 2, {"a": HEADS["a"], "b": HEADS["a"]})
    with pytest.raises(InputError, match=says):
        NETWORKS[name](made, **options)


def test_options_reach_the_network() -> None:
    made = Parts(nn.Identity, 8, vector_layer, 64, 2, {"a": HEADS["a"], "b": HEADS["a"]})
    assert len(NETWORKS["mmoe"](made, experts=3).experts) == 3
    ple = NETWORKS["ple"](made, shared=2, specific=3)
    assert [len(level.shared) for level in ple.levels] == [2, 2]
    assert [[len(experts) for experts in level.specific.values()] for level in ple.levels] == [[3, 3], [3, 3]]
    stitch = NETWORKS["cross_stitch"](made, same=0.7, per_channel=True, width=5).stitches[1].alpha
    assert stitch.shape == (2, 2, 5)
    assert torch.allclose(stitch[:, :, 3], torch.tensor([[0.7, 0.3], [0.3, 0.7]]))
    assert NETWORKS["task_hierarchy"](made, order=["b", "a"]).order == ("b", "a")


@pytest.mark.parametrize(
    ("depth", "depths"), [(1, [1, 1, 1]), (3, [1, 1, 1]), (4, [2, 1, 1]), (5, [2, 2, 1]), (7, [3, 2, 2])]
)
def test_the_hierarchy_spreads_its_layers(depth: int, depths: list[int]) -> None:
    made = Parts(nn.Identity, 8, vector_layer, 64, depth, dict.fromkeys("abc", HEADS["a"]))
    blocks = list(NETWORKS["task_hierarchy"](made).blocks.values())
    assert [sum(isinstance(layer, nn.Linear) for layer in block.modules()) for block in blocks] == depths


@pytest.mark.parametrize("name", ["hard_sharing", "ubernet", "cross_stitch", "mmoe", "ple"])
@pytest.mark.parametrize("depth", [1, 4])
def test_a_task_has_as_many_layers_before_its_head(name: str, depth: int) -> None:
    """As the parts say: no network is deeper than hard sharing, but for the module that fuses UberNet's taps."""
    made = Parts(nn.Identity, 8, Counting, 64, depth, {"a": Head, "b": Head})
    outputs = NETWORKS[name](made)(torch.zeros(2, 8, 3, 3))
    assert outputs["a"].max().item() == pytest.approx(depth + (name == "ubernet"), abs=1e-6)


class Head(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        return features


class Counting(nn.Module):
    """A layer that adds 1 to the largest feature that it reads."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(before, channels))

    def forward(self, features: Tensor) -> Tensor:
        return features.amax(1, keepdim=True).expand(-1, self.weight.shape[1], -1, -1) + 1


# Layers


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "mtan"])
def test_padding_changes_nothing(name: str) -> None:
    """However much of it there is, what is said of real places stays, and padding adds nothing to a sum."""
    heads = {"place": lambda channels: Pointwise(channels, 2), "whole": Sum}
    network = NETWORKS[name](Parts(nn.Identity, 6, sequence_layer, 16, 3, heads))
    short = torch.randn(4, 6, 9)
    padded = torch.cat([short, torch.zeros(4, 6, 5)], dim=2)
    outputs, others = network(short), network(padded)
    assert torch.allclose(outputs["place"], others["place"][:, :, :9], atol=1e-6)
    assert torch.allclose(outputs["whole"], others["whole"], atol=1e-5)


class Sum(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 2)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features.sum(2))


def test_a_sequence_layer_looks_one_place_to_each_side() -> None:
    layer = sequence_layer(2, 3)
    features = torch.ones(1, 2, 9).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(features)[0, :, 4].sum(), features)
    assert gradient[0].abs().sum(0).nonzero().flatten().tolist() == [3, 4, 5]


@pytest.mark.parametrize("channels", [1, 7, 8, 12, 16, 24, 31, 48, 64, 100])
def test_groups_of_the_norm(channels: int) -> None:
    norm = group_norm(channels)
    assert channels % norm.num_groups == 0
    assert norm.num_groups == 1 or channels / norm.num_groups >= 8


def test_an_image_layer_has_no_state_of_batches() -> None:
    layer = image_layer(3, 16)
    assert not list(layer.buffers())
    assert layer(torch.randn(2, 3, 7, 5)).shape == (2, 16, 7, 5)


def test_pointwise_is_a_convolution_of_kernel_one() -> None:
    made = Pointwise(3, 4)
    features = torch.randn(2, 3, 5, 6)
    expected = nn.functional.conv2d(features, made.linear.weight[:, :, None, None])
    assert torch.allclose(made(features), expected, atol=1e-6)
