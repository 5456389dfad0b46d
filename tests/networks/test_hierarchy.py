"""UberNet and the task hierarchy, by numbers worked by hand; which block hears of which task."""

import pytest
import torch
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.networks import TaskHierarchy, UberNet, order_by_difficulty


def times(*rows: list[float]) -> nn.Linear:
    """A linear map with this matrix."""
    made = nn.Linear(len(rows[0]), len(rows), bias=False)
    made.weight.data = torch.tensor(rows)
    return made


def values(outputs: dict[str, Tensor]) -> dict[str, float]:
    return {task: output.item() for task, output in outputs.items()}


def hierarchy(order: str = "abc") -> TaskHierarchy:
    return TaskHierarchy(
        blocks=[times([2.0]), times([3.0]), times([7.0])],
        modules={"c": times([100.0]), "a": times([1.0]), "b": times([10.0])},
        order=tuple(order),
        transitions=[times([0.5]), times([1.0, 0.5])],
    )


def test_the_hierarchy_by_hand() -> None:
    """f1 = 2; f2 = 3 · 0.5 · 2 = 3; f3 = 7 · (2 + 0.5 · 3) = 24.5."""
    assert values(hierarchy()(torch.ones(1, 1))) == {"c": 2450.0, "a": 2.0, "b": 30.0}
    assert values(hierarchy("bca")(torch.ones(1, 1))) == {"c": 300.0, "a": 24.5, "b": 20.0}


def test_without_transitions_blocks_read_all_before_them_as_they_are() -> None:
    """f1 = 2, f2 = 6, f3 = 10 · 2 + 6 = 26."""
    blocks = [times([2.0]), times([3.0]), times([10.0, 1.0])]
    network = TaskHierarchy(blocks, {task: times([1.0]) for task in "abc"}, ["a", "b", "c"])
    assert values(network(torch.ones(1, 1))) == {"a": 2.0, "b": 6.0, "c": 26.0}


@pytest.mark.parametrize("order", ["abc", "cab", "bca"])
def test_a_block_hears_of_its_task_and_those_after_it_only(order: str) -> None:
    network = hierarchy(order)
    for place, task in enumerate(order):
        network.zero_grad()
        network(torch.ones(1, 1))[task].sum().backward()
        heard = [block.weight.grad is not None for block in network.blocks.values()]
        assert heard == [other <= place for other in range(3)]
        heard = [transition.weight.grad is not None for transition in network.transitions.values()]
        assert heard == [other < place for other in range(2)]
        assert [name for name in "abc" if dict(zip("cab", network.heads.values(), strict=True))[name].weight.grad] == [task]


def test_dense_skips_carry_gradient_past_a_block() -> None:
    """With block 2 at 0, the third task still trains the first block; by 1 · 7 · 100 · x."""
    network = hierarchy()
    blocks = list(network.blocks.values())
    blocks[1].weight.data.zero_()
    network(torch.ones(1, 1))["c"].sum().backward()
    assert blocks[0].weight.grad.item() == 700.0


def test_the_last_block_is_not_shared() -> None:
    network = hierarchy("bca")
    shared = {id(parameter) for parameter in network.shared_parameters()}
    assert shared == {id(network.blocks[name].weight) for name in "bc"} | {id(network.transitions["c"].weight)}


def test_a_checkpoint_of_another_order_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"size mismatch|Missing key"):
        hierarchy("abc").load_state_dict(hierarchy("acb").state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        hierarchy("abc").load_state_dict(hierarchy("bac").state_dict())


def test_earlier_features_are_pooled_to_the_latest_blocks() -> None:
    """The third block reads the first's [1, 2, 3, 4] as [1.5, 3.5] beside the second's [4, 8]."""
    blocks = [nn.Identity(), nn.Sequential(nn.MaxPool1d(2), Double()), nn.Identity()]
    network = TaskHierarchy(blocks, {task: nn.Identity() for task in "abc"}, list("abc"))
    outputs = network(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
    assert outputs["b"].tolist() == [[[4.0, 8.0]]]
    assert outputs["c"].tolist() == [[[1.5, 3.5], [4.0, 8.0]]]


class Double(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return 2 * features


def uber(transitions: list[nn.Module] | None = None) -> UberNet:
    return UberNet(
        blocks=[times([2.0]), times([3.0])],
        modules={"b": times([1.0, 0.0], [0.0, 1.0]), "a": times([1.0, 10.0])},
        heads={"a": times([-1.0]), "b": times([100.0, 1.0])},
        transitions=transitions,
    )


def test_the_ubernet_by_hand() -> None:
    """Taps 2 and 6, or 2 and 3 · 0.5 · 2 = 3 with a transition; a adds the second ten times, b the first a hundred."""
    assert values(uber()(torch.ones(1, 1))) == {"a": -62.0, "b": 206.0}
    assert values(uber([times([0.5])])(torch.ones(1, 1))) == {"a": -32.0, "b": 203.0}


def test_in_an_ubernet_every_block_hears_of_every_task() -> None:
    for task in "ab":
        network = uber([times([0.5])])
        network(torch.ones(1, 1))[task].sum().backward()
        assert all(parameter.grad is not None for parameter in network.blocks.parameters())
        assert network.transitions[0].weight.grad is not None
        modules = dict(zip(network.tasks, network.fusions.values(), strict=True))
        assert [name for name in "ab" if modules[name].weight.grad is not None] == [task]


def test_an_ubernet_shares_its_blocks_and_transitions() -> None:
    network = uber([times([0.5])])
    shared = {id(parameter) for parameter in network.shared_parameters()}
    assert shared == {id(parameter) for parameter in (*network.blocks.parameters(), *network.transitions.parameters())}


def test_taps_are_pooled_to_the_last_blocks() -> None:
    blocks = [nn.Identity(), nn.Sequential(nn.AvgPool2d(2), Double())]
    network = UberNet(blocks, {"a": nn.Identity()}, {"a": nn.Identity()})
    image = torch.arange(16.0).view(1, 1, 4, 4)
    fused = network(image)["a"]
    assert fused.tolist() == [[[[2.5, 4.5], [10.5, 12.5]], [[5.0, 9.0], [21.0, 25.0]]]]


def test_the_module_is_run_once_a_task() -> None:
    calls = []
    network = uber()
    for part in (*network.blocks, *network.fusions.values(), *network.heads.values()):
        part.register_forward_hook(lambda *_: calls.append(1))
    network(torch.ones(1, 1))
    assert len(calls) == 2 + 2 + 2


# Errors


ONE, TWO = {"a": nn.Identity()}, {"a": nn.Identity(), "b": nn.Identity()}
BLOCKS = [nn.Identity()] * 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TaskHierarchy([], {}, []), "Expected `modules` to contain a module for each task; got none"),
        (lambda: TaskHierarchy(BLOCKS, TWO, ["a", "a"]), "`order` to contain each of the tasks a, b once; got a, a"),
        (lambda: TaskHierarchy(BLOCKS, TWO, "ab"), "`order` to contain each of the tasks a, b once; got ab"),
        (
            lambda: TaskHierarchy(BLOCKS, TWO, ["b", "a"], transitions=BLOCKS),
            "Expected 1 transitions, one for each block but the first, of the tasks b, a; got 2",
        ),
        (lambda: UberNet([], ONE, ONE), "`blocks` to have at least one block; got none"),
        (lambda: UberNet(BLOCKS, {"b": nn.Identity()}, ONE), "`modules` to contain each of the tasks a once; got b"),
        (
            lambda: UberNet(BLOCKS, ONE, ONE, transitions=BLOCKS),
            "Expected 1 transitions, one between each two of the 2 blocks; got 2",
        ),
    ],
)
def test_what_cannot_be_built(make: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("blocks", r"Block 2 \(task 'b'\)"),
        ("transitions", r"The transition to block 2 \(task 'b'\)"),
        ("heads", "The module of task 'b'"),
    ],
)
def test_a_part_of_the_hierarchy_that_does_not_fit(part: str, says: str) -> None:
    network = hierarchy()
    getattr(network, part)["b"] = times([1.0] * 8)
    with pytest.raises(InputError, match=rf"{says} does not accept its input, \[4, 1\]: mat1 and mat2"):
        network(torch.ones(4, 1))


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ([times([2.0]), times([3.0, 1.0])], r"Block 2 does not accept its input, \[4, 1\]"),
        ([times([2.0]), nn.Sequential(times([3.0]), nn.Flatten(0))], r"Block 2 must return features .*; got \[4\]"),
        (
            [nn.Unflatten(1, (1, 1)), nn.Flatten()],
            r"the same number of dimensions from all blocks; got \[4, 1, 1\] from block 1 and \[4, 1\]",
        ),
        ([times([2.0]), times([3.0], [1.0])], r"The module of task 'a' does not accept its input, \[4, 3\]"),
    ],
)
def test_a_part_of_the_ubernet_that_does_not_fit(blocks: list[nn.Module], says: str) -> None:
    with pytest.raises(InputError, match=says):
        UberNet(blocks, {"a": times([1.0, 1.0])}, {"a": times([1.0])})(torch.ones(4, 1))


def test_a_transition_or_head_of_the_ubernet_that_does_not_fit() -> None:
    with pytest.raises(InputError, match=r"The transition to block 2 does not accept its input, \[4, 1\]"):
        uber([times([1.0, 1.0])])(torch.ones(4, 1))
    network = uber()
    network.heads["a"] = times([1.0, 1.0])
    with pytest.raises(InputError, match=r"The head of task 'a' does not accept its input, \[4, 1\]"):
        network(torch.ones(4, 1))


def test_inputs_of_any_kind_are_described() -> None:
    class Both(nn.Module):
        def forward(self, inputs: dict[str, object]) -> Tensor:
            return torch.cat([inputs["left"], *inputs["right"]], dim=1)

    inputs = {"left": torch.ones(2, 3), "right": [torch.ones(3, 3), torch.ones(2, 1)], "known": True}
    network = UberNet([Both()], {"a": nn.Identity()}, {"a": nn.Identity()})
    with pytest.raises(
        InputError, match=r"its input, left \[2, 3\], right \[3, 3\] and \[2, 1\], known bool: Sizes of tensors"
    ):
        network(inputs)


def test_an_error_has_one_line_and_its_cause() -> None:
    class Talkative(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            raise RuntimeError("wrong.\nC++ frames …")

    with pytest.raises(InputError, match=r"\[2, 1\]: wrong\. Change the module or what comes before it\.$") as caught:
        UberNet([Talkative()], {"a": nn.Identity()}, {"a": nn.Identity()})(torch.ones(2, 1))
    assert isinstance(caught.value.__cause__, RuntimeError)


# Order


def test_order_by_difficulty() -> None:
    kpis = {"a": 0.7, "b": 0.4, "c": 0.9}
    assert order_by_difficulty(kpis) == order_by_difficulty(kpis, first="hard") == ("b", "a", "c")
    assert order_by_difficulty(kpis, first="easy") == ("c", "a", "b")
    assert order_by_difficulty({}) == ()


def test_equal_kpis_keep_their_order() -> None:
    kpis = {"d": 0.5, "b": 0.5, "c": 0.1, "a": 0.5}
    assert order_by_difficulty(kpis) == ("c", "d", "b", "a")
    assert order_by_difficulty(kpis, first="easy") == ("d", "b", "a", "c")
