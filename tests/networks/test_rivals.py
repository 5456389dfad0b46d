"""Cross-stitch, MMoE, PLE and MTAN, by numbers worked by hand from their papers' equations."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.networks import CGC, MTAN, PLE, Attention, CrossStitch, MMoE


def times(*rows: list[float]) -> nn.Linear:
    """A linear map with this matrix."""
    made = nn.Linear(len(rows[0]), len(rows), bias=False)
    made.weight.data = torch.tensor(rows)
    return made


def values(outputs: dict[str, Tensor]) -> dict[str, float]:
    return {task: round(output.item(), 4) for task, output in outputs.items()}


def weigh(gate: nn.Module, *scores: float) -> None:
    """Give a gate of one channel the scores at 1."""
    gate.scores.linear.weight.data = torch.tensor([[score] for score in scores])


# Cross-stitch


def stitched(order: str = "ba", **options: object) -> CrossStitch:
    columns = {"a": [times([2.0]), times([3.0])], "b": [times([10.0]), times([-1.0])]}
    return CrossStitch(nn.Identity(), columns, {task: times([float("_ab".index(task))]) for task in order}, **options)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_cross_stitch_by_hand(order: str) -> None:
    """Layer by layer, and a's before b's.

    2 and 10 become 0.9 · 2 + 0.1 · 10 = 2.8 and 0.1 · 2 + 0.9 · 10 = 9.2;
    3 · 2.8 = 8.4 and −9.2 become 8.4 − 2 · 9.2 = −10 and 0.5 · 8.4 − 9.2 = −5.
    """
    network = stitched(order)
    network.stitches[1].alpha.data = torch.tensor([[1.0, 2.0], [0.5, 1.0]])
    assert values(network(torch.ones(1, 1))) == {"a": -10.0, "b": -10.0}


def test_cross_stitch_without_sharing_is_a_network_for_each_task() -> None:
    assert values(stitched(same=1.0)(torch.ones(1, 1))) == {"b": 2 * -10.0, "a": 6.0}


def test_cross_stitch_for_each_channel() -> None:
    columns = {"a": [times([1.0], [2.0])], "b": [times([3.0], [4.0])]}
    heads = {"a": times([1.0, 10.0]), "b": times([1.0, 10.0])}
    network = CrossStitch(nn.Identity(), columns, heads, channels=[2])
    alpha = torch.zeros(2, 2, 2)
    alpha[0, 0] = torch.tensor([1.0, 0.0])  # of a, what a goes on with: the first channel
    alpha[0, 1] = torch.tensor([0.0, 1.0])  # and of b the second
    alpha[1, 1] = torch.tensor([0.5, 0.5])
    network.stitches[0].alpha.data = alpha
    assert values(network(torch.ones(1, 1))) == {"a": 41.0, "b": 21.5}


@pytest.mark.parametrize("tasks", [2, 3, 5])
def test_what_alpha_begins_with(tasks: int) -> None:
    names = "abcde"[:tasks]
    columns = {task: [nn.Linear(1, 1)] for task in names}
    alpha = CrossStitch(nn.Identity(), columns, {task: nn.Linear(1, 1) for task in names}).stitches[0].alpha
    assert torch.allclose(alpha.diagonal(), torch.tensor(0.9))
    assert torch.allclose(alpha.sum(1), torch.tensor(1.0))
    assert torch.allclose(alpha[0, 1:], torch.tensor(0.1 / (tasks - 1)))


def test_stitched_images_mix_place_by_place() -> None:
    columns = {task: [nn.Identity()] for task in "ab"}
    network = CrossStitch(nn.Identity(), columns, {task: nn.Identity() for task in "ab"})
    image = torch.randn(2, 3, 4, 5)
    outputs = network(image)
    assert torch.allclose(outputs["a"], image, atol=1e-6)  # both columns have it; shares sum to 1
    assert outputs["b"].shape == image.shape


# Multi-gate mixture-of-experts


def gated(stem: nn.Module | None = None, experts: list[nn.Module] | None = None) -> MMoE:
    experts = experts or [times([4.0]), times([16.0])]
    network = MMoE(stem or nn.Identity(), experts, {"b": times([10.0]), "a": times([1.0])}, channels=1)
    weigh(network.gates["a"], log(3), 0.0)
    weigh(network.gates["b"], 0.0, log(3))
    return network


def test_mmoe_by_hand() -> None:
    """Gates of ¾ and ¼: 0.75 · 4 + 0.25 · 16 = 7 and 0.25 · 4 + 0.75 · 16 = 13; at x = 2 they are 0.9 and 0.1."""
    assert values(gated()(torch.ones(1, 1))) == {"b": 130.0, "a": 7.0}
    assert values(gated()(torch.full((1, 1), 2.0))) == {"b": 296.0, "a": 10.4}
    assert values(gated(stem=times([2.0]))(torch.ones(1, 1))) == {"b": 296.0, "a": 10.4}


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, features: Tensor) -> Tensor:
        return self.factor * features


def test_each_place_has_a_gate() -> None:
    network = gated(experts=[Times(4), Times(16)])
    network.heads["a"] = network.heads["b"] = nn.Identity()
    assert torch.allclose(network(torch.tensor([[[1.0, 2.0]]]))["a"], torch.tensor([[[7.0, 10.4]]]))


def test_experts_that_pool_have_the_mean_of_the_gates() -> None:
    """Gates of ¾ and 0.9 at the two places, 0.825 in the mean; the mean of the places, 1.5, is a vector or a place."""
    mean = 0.825 * 4 * 1.5 + 0.175 * 16 * 1.5
    for pool in (nn.AdaptiveAvgPool1d(1), nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())):
        network = gated(experts=[nn.Sequential(pool, Times(4)), nn.Sequential(pool, Times(16))])
        network.heads["a"] = network.heads["b"] = nn.Identity()
        assert network(torch.tensor([[[1.0, 2.0]]]))["a"].item() == pytest.approx(mean)


def test_experts_that_make_images_of_vectors_have_one_gate() -> None:
    network = gated(
        experts=[nn.Sequential(nn.Unflatten(1, (1, 1, 1)), Times(4)), nn.Sequential(nn.Unflatten(1, (1, 1, 1)), Times(16))]
    )
    network.heads["a"] = network.heads["b"] = nn.Identity()
    assert network(torch.ones(1, 1))["a"].tolist() == [[[[pytest.approx(7.0)]]]]


# Progressive layered extraction


def levels(last: bool = True) -> list[CGC]:
    made = [
        CGC({"b": [times([3.0])], "a": [times([2.0])]}, [times([5.0])], channels=1),
        CGC({"a": [times([1.0])], "b": [times([2.0])]}, [times([4.0])], channels=1),
        CGC({"a": [times([1.0])], "b": [times([1.0])]}, [times([1.0])], channels=1, last=last),
    ]
    weigh(made[0].gates["a"], log(3), 0.0)
    weigh(made[0].gates["b"], 0.0, 0.0)
    weigh(made[0].common, log(2), 0.0, 0.0)
    weigh(made[1].gates["a"], log(3) / 2.75, 0.0)
    weigh(made[1].gates["b"], 0.0, log(3) / 4)
    weigh(made[1].common, log(2) / 3, 0.0, 0.0)
    for task in "ab":
        weigh(made[2].gates[task], 0.0, 0.0)
    return made


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_ple_by_hand(order: str) -> None:
    """Level by level, what each goes on with, a's, b's and what is shared.

    1: ¾·2 + ¼·5 = 2.75;         ½·3 + ½·5 = 4;    ½·2 + ¼·3 + ¼·5 = 3
    2: ¾·2.75 + ¼·12 = 5.0625;   ¼·8 + ¾·12 = 11;  ½·2.75 + ¼·8 + ¼·12 = 6.375
    3: (5.0625 + 6.375) / 2;     (11 + 6.375) / 2
    """
    network = PLE(nn.Identity(), levels(), {task: times([1.0]) for task in order})
    assert values(network(torch.ones(1, 1))) == {"a": 5.7188, "b": 8.6875}
    assert list(network(torch.ones(1, 1))) == list(order)


def test_one_level_is_customized_gate_control() -> None:
    level = CGC({"a": [times([2.0]), times([6.0])], "b": [times([3.0])]}, [times([5.0])], channels=1, last=True)
    weigh(level.gates["a"], 0.0, log(2), 0.0)
    weigh(level.gates["b"], log(3), 0.0)
    network = PLE(nn.Identity(), [level], {"a": times([1.0]), "b": times([1.0])})
    assert values(network(torch.ones(1, 1))) == {"a": 0.25 * 2 + 0.5 * 6 + 0.25 * 5, "b": 0.75 * 3 + 0.25 * 5}


def test_what_ple_shares() -> None:
    """Own experts of the last level are a task's own, those below reach all; own gates reach all two levels down."""
    network = PLE(nn.Identity(), levels(), {"a": times([1.0]), "b": times([1.0])})
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    shared = {names[id(parameter)] for parameter in network.shared_parameters()}
    own = {f"heads.{task}.weight" for task in "ab"}
    own |= {f"levels.2.specific.{task}.0.weight" for task in "ab"}
    own |= {f"levels.{level}.gates.{task}.scores.linear.weight" for task in "ab" for level in (1, 2)}
    assert set(names.values()) - shared == own


# The multi-task attention network


def image(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value)


class Weighted(nn.Module):
    """Channels summed with weights."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weights = torch.tensor(weights).view(1, -1, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        return (features * self.weights).sum(1, keepdim=True)


def test_mtan_by_hand() -> None:
    """u1 = 2, p1 = 6, u2 = 3, p2 = 12.

    a: a1 = 0.25 · 2, â1 = 0.5 · 6 = 3, f = 2 · 3 = 6, a2 = 0.1 · 3 + 0.05 · 6 = 0.6, â2 = 7.2
    b: a1 = 0.5 · 2, â1 = 6, f = 12, a2 = 0.05 · 12 = 0.6 less 0.1 · 3, â2 = 3.6
    """
    network = MTAN(
        stem=nn.Identity(),
        blocks=[(Times(2), Times(3)), (Times(0.5), Times(4))],
        attentions={"b": [Weighted(0.5), Weighted(-0.1, 0.05)], "a": [Weighted(0.25), Weighted(0.1, 0.05)]},
        transitions=[Times(2)],
        heads={"a": Times(10), "b": Times(1)},
    )
    assert values(network(image(1.0))) == {"a": 72.0, "b": 3.6}


def test_a_block_of_one_module_is_seen_and_masked() -> None:
    network = MTAN(nn.Identity(), [Times(2)], {"a": [Weighted(0.25)]}, [], {"a": nn.Identity()})
    assert values(network(image(1.0))) == {"a": 0.5 * 2}


def test_what_a_task_attends_to_is_pooled_to_the_next_block_by_its_largest() -> None:
    """Masks of 1, then of what was attended to: [[0, 1], [2, 3]] is seen as 3, [[4, …, 7]] as 7."""

    class One(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return torch.ones_like(features)

    class Carried(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features[:, 1:]

    blocks = [nn.Identity(), nn.Sequential(nn.AvgPool2d(2), Times(10))]
    network = MTAN(nn.Identity(), blocks, {"a": [One(), Carried()]}, [nn.Identity()], {"a": nn.Identity()})
    pixels = torch.tensor([[[[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]]]])
    assert network(pixels)["a"].tolist() == [[[[15.0 * 3, 55.0 * 7]]]]


def test_attention_is_the_papers_but_for_its_norms() -> None:
    made = Attention(6, 16)
    features = torch.randn(2, 6, 4, 5)
    first, first_norm, _, second, second_norm, _ = made.layers
    hidden = F.conv2d(features, first.linear.weight[:, :, None, None])
    hidden = F.group_norm(hidden, 2, first_norm.weight, first_norm.bias).relu()
    hidden = F.conv2d(hidden, second.linear.weight[:, :, None, None])
    expected = F.group_norm(hidden, 2, second_norm.weight, second_norm.bias).sigmoid()
    assert torch.allclose(made(features), expected, atol=1e-5)


# Errors


IDENTITY = nn.Identity()
ONE = {"a": IDENTITY}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CrossStitch(IDENTITY, {"b": [IDENTITY]}, ONE), "`columns` to contain each of the tasks a once; got b"),
        (
            lambda: CrossStitch(IDENTITY, {"a": [IDENTITY], "b": [IDENTITY] * 2}, {"a": IDENTITY, "b": IDENTITY}),
            "`columns` to have the same number of layers for each task, at least 1; got a 1, b 2",
        ),
        (lambda: CrossStitch(IDENTITY, {"a": []}, ONE), "at least 1; got a 0"),
        (lambda: CrossStitch(IDENTITY, {"a": [IDENTITY]}, ONE, channels=[1, 2]), "1 numbers of `channels`, .*layer; got 2"),
        (lambda: stitched(same=-0.1), "`same` to be at least 0; got -0.1"),
        (lambda: MMoE(IDENTITY, [], ONE, channels=1), "`experts` to have at least one expert; got none"),
        (lambda: MMoE(IDENTITY, [IDENTITY], ONE, channels=0), "`channels` to be a whole number, at least 1; got 0"),
        (lambda: PLE(IDENTITY, [], ONE), "`levels` to have at least one level; got none"),
        (lambda: PLE(IDENTITY, levels(), ONE), "`specific` of level 1 in `levels` to contain .* tasks a once; got a, b"),
        (
            lambda: PLE(IDENTITY, levels(last=False), heads("a", "b")),
            "`last=True` in level 3 and in no other; level 3 differs",
        ),
        (lambda: PLE(IDENTITY, levels()[::-1], heads("a", "b")), "`last=True` in level 3 and in no other; level 1 differs"),
        (lambda: CGC({}, [IDENTITY], channels=1), "`specific` to contain experts for each task; got none"),
        (lambda: CGC({"a": []}, [IDENTITY], channels=1), "at least one expert for each task; task 'a' has none"),
        (lambda: CGC({"a": [IDENTITY]}, [], channels=1), "`shared` to have at least one expert; got none"),
        (lambda: CGC({"a": [IDENTITY]}, [IDENTITY], channels=0), "`channels` to be a whole number, at least 1; got 0"),
        (lambda: MTAN(IDENTITY, [], {}, [], ONE), "`blocks` to have at least one block; got none"),
        (lambda: MTAN(IDENTITY, [IDENTITY], {}, [], ONE), "`attentions` to contain each of the tasks a once; got none"),
        (lambda: MTAN(IDENTITY, [IDENTITY], {"a": []}, [], ONE), "1 attentions for task 'a', one for each block; got 0"),
        (
            lambda: MTAN(IDENTITY, [IDENTITY] * 2, {"a": [IDENTITY] * 2}, [], ONE),
            "Expected 1 transitions, one for each of the 2 blocks but the first; got 0",
        ),
    ],
)
def test_what_cannot_be_built(make: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


def heads(*tasks: str) -> dict[str, nn.Module]:
    return {task: times([1.0]) for task in tasks}


def stitch(other: nn.Module) -> CrossStitch:
    return CrossStitch(IDENTITY, {"a": [times([1.0])], "b": [other]}, heads("a", "b"))


def mixed(other: nn.Module, channels: int = 1) -> MMoE:
    return MMoE(IDENTITY, [IDENTITY, other], ONE, channels=channels)


def level(own: nn.Module = IDENTITY, shared: nn.Module = IDENTITY, channels: int = 1) -> PLE:
    return PLE(IDENTITY, [CGC({"a": [own]}, [shared], channels=channels, last=True)], ONE)


def attentive(attention: nn.Module = IDENTITY, transition: nn.Module = IDENTITY, block: nn.Module = IDENTITY) -> MTAN:
    return MTAN(IDENTITY, [block, IDENTITY], {"a": [IDENTITY, attention]}, [transition], ONE)


WRONG, WIDE, COLOURED = times([1.0, 1.0]), times([1.0], [1.0]), nn.Conv2d(3, 1, 1)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (stitch(WRONG), r"Layer 1 of task 'b' does not accept its input, \[4, 1\]"),
        (stitch(WIDE), r"the same shape from layer 1 of all tasks; got \[4, 1\] from a and \[4, 2\] from b"),
        (
            CrossStitch(IDENTITY, {"a": [WIDE]}, ONE, channels=[3]),
            r"The cross-stitch unit after layer 1 does not accept its input, \[1, 4, 2\]",
        ),
        (mixed(WRONG), r"Expert 2 does not accept .*, \[4, 1\]"),
        (mixed(WIDE), r"the same shape from all experts; got \[4, 1\] from Expert 1 and \[4, 2\] from Expert 2"),
        (mixed(IDENTITY, channels=7), r"The gate of task 'a' does not accept .*, \[4, 1\]"),
        (MMoE(nn.Flatten(0), [IDENTITY], ONE, channels=1), r"The stem must return .* got \[4\]"),
        (level(WRONG), r"Expert 1 of task 'a' at level 1 does not accept .*, \[4, 1\]"),
        (level(shared=WRONG), r"Shared expert 1 at level 1 does not accept .*, \[4, 1\]"),
        (level(channels=3), r"The gate of task 'a' at level 1 does not accept .*, \[4, 1\]"),
        (
            level(shared=WIDE),
            r"all experts of level 1; got \[4, 1\] from Expert 1 of task 'a' at level 1 and \[4, 2\] from Shared expert 1",
        ),
        (attentive(block=nn.Flatten()), r"but block 1 gives \[4, 4\]. For vectors, choose mmoe or ple"),
        (attentive(block=COLOURED), r"Block 1 does not accept .*, \[4, 1, 2, 2\]"),
        (attentive(COLOURED), r"The attention of task 'a' to block 2 does not accept its input, \[4, 2, 2, 2\]"),
        (attentive(), r"of task 'a' to block 2 must return a mask .* shape, \[4, 1, 2, 2\]; got \[4, 2, 2, 2\]"),
        (attentive(transition=COLOURED), r"The transition from block 1 to 2 does not accept its input, \[4, 1, 2, 2\]"),
        (attentive(transition=nn.Flatten()), r"the same number of dimensions as \[4, 1, 2, 2\]; got \[4, 4\]"),
    ],
)
def test_what_does_not_fit_is_named(network: nn.Module, says: str) -> None:
    with pytest.raises(InputError, match=says):
        network(torch.ones(4, 1, 2, 2) if isinstance(network, MTAN) else torch.ones(4, 1))
