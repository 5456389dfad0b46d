"""What every network promises, for every name in the registry: a new network is tested without asking for it."""

import copy
import inspect
import io
import pickle
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from hardfirst import DTP
from hardfirst.balancers import BALANCERS
from hardfirst.errors import InputError
from hardfirst.networks import (
    NETWORKS,
    HardSharing,
    Network,
    Parts,
    image_layer,
    parameters,
    sequence_layer,
    vector_layer,
)

TASKS = ("hard one", "c.d", "keys")  # ModuleDict refuses a dot and its own attributes


class Head(nn.Module):
    """Linear, on the mean over places."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features.flatten(2).mean(2) if features.dim() > 2 else features)


class Stem:
    """Makes stems; like `heads`, of a class, so that what is made from it could be pickled, too."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self) -> nn.Module:
        made = {
            "vector": lambda: nn.Sequential(nn.Linear(7, 24), nn.ReLU()),
            "sequence": lambda: nn.Conv1d(7, 24, 3, padding=1),
            "image": lambda: nn.Conv2d(7, 24, 3, stride=2, padding=1),
        }
        return made[self.kind]()


LAYERS = {"vector": vector_layer, "sequence": sequence_layer, "image": image_layer}
INPUTS = {"vector": (5, 7), "sequence": (5, 7, 11), "image": (3, 7, 9, 6)}
CASES = [(name, kind) for name in NETWORKS for kind in LAYERS if (name, kind) != ("mtan", "vector")]
VECTORS = [name for name in NETWORKS if name != "mtan"]


def parts(kind: str, tasks: tuple[str, ...] = TASKS, *, width: int = 32, depth: int = 3) -> Parts:
    heads = {task: lambda channels, task=task: Head(channels, 1 + len(task)) for task in tasks}
    return Parts(Stem(kind), 24, LAYERS[kind], width, depth, heads)


def inputs(kind: str) -> Tensor:
    return torch.randn(INPUTS[kind], generator=torch.Generator().manual_seed(3))


def losses(network: nn.Module, kind: str) -> dict[str, Tensor]:
    return {task: output.square().mean() + 0.1 for task, output in network(inputs(kind)).items()}


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


@pytest.fixture
def kind(case: tuple[str, str]) -> str:
    return case[1]


@cache
def made(name: str, kind: str) -> Network:
    return NETWORKS[name](parts(kind))


@pytest.fixture
def network(case: tuple[str, str]) -> Network:
    return copy.deepcopy(made(*case))


def test_outputs_are_by_task_and_in_order(network: Network, kind: str) -> None:
    outputs = network(inputs(kind))
    assert tuple(outputs) == network.tasks == TASKS
    for task, output in outputs.items():
        assert output.shape == (len(inputs(kind)), 1 + len(task))
        assert output.isfinite().all()


def test_examples_do_not_see_each_other(network: Network, kind: str) -> None:
    whole, first = network(inputs(kind)), network(inputs(kind)[:1])
    for task in TASKS:
        assert torch.allclose(whole[task][:1], first[task], atol=1e-5)


def users(network: Network, kind: str) -> dict[str, set[str]]:
    """By parameter, the tasks whose output depends on it, as autograd finds."""
    named = dict(network.named_parameters())
    found: dict[str, set[str]] = {name: set() for name in named}
    for task, loss in losses(network, kind).items():
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
        for name, gradient in zip(named, gradients, strict=True):
            if gradient is not None:
                found[name].add(task)
    return found


def test_shared_parameters_are_what_two_tasks_depend_on(network: Network, kind: str) -> None:
    shared = network.shared_parameters()
    assert len({id(parameter) for parameter in shared}) == len(shared) > 0
    named = {id(parameter): name for name, parameter in network.named_parameters()}
    depends = users(network, kind)
    assert {named[id(parameter)] for parameter in shared} == {name for name, tasks in depends.items() if len(tasks) > 1}
    assert all(depends.values()), "a parameter that no output depends on"


def test_what_is_frozen_is_not_shared(network: Network, kind: str) -> None:
    frozen, *others = network.shared_parameters()
    frozen.requires_grad_(False)
    assert [id(one) for one in network.shared_parameters()] == [id(one) for one in others]


@pytest.mark.parametrize("name", VECTORS)
def test_a_single_task_shares_all_but_its_head(name: str) -> None:
    network = NETWORKS[name](parts("vector", ("only",)))
    head = {id(parameter) for parameter in network.heads.parameters()}
    shared = {id(parameter) for parameter in network.shared_parameters()}
    assert shared
    assert shared <= {id(parameter) for parameter in network.parameters()} - head
    assert list(network(inputs("vector"))) == ["only"]


def same_outputs(one: nn.Module, other: nn.Module, kind: str) -> None:
    outputs, others = one(inputs(kind)), other(inputs(kind))
    assert list(outputs) == list(others)
    for task in outputs:
        assert torch.equal(outputs[task], others[task]), task


def test_a_checkpoint_restores_the_network(case: tuple[str, str], network: Network) -> None:
    name, kind = case
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = NETWORKS[name](parts(kind))
    other.load_state_dict(torch.load(file, weights_only=True))
    same_outputs(network, other, kind)


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if case[1] != "sequence"])
def test_a_checkpoint_finds_its_tasks_in_another_order(name: str, kind: str) -> None:
    options = {"order": TASKS} if name == "task_hierarchy" else {}
    one = NETWORKS[name](parts(kind), **options)
    for parameter in one.parameters():  # those that begin equal, α, have to differ for a wrong order to show
        nn.init.normal_(parameter, std=0.3)
    other = NETWORKS[name](parts(kind, tuple(reversed(TASKS))), **options)
    other.load_state_dict(one.state_dict())
    assert list(other(inputs(kind))) == list(reversed(TASKS))
    outputs, others = one(inputs(kind)), other(inputs(kind))
    for task in TASKS:
        assert torch.allclose(outputs[task], others[task], atol=1e-6), task


def test_copies(network: Network, kind: str) -> None:
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        same_outputs(network, other, kind)
        assert len(other.shared_parameters()) == len(network.shared_parameters())
        assert not {id(one) for one in other.parameters()} & {id(one) for one in network.parameters()}


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "vector") for name in VECTORS), ("mtan", "image"), ("hard_sharing", "sequence")]
)
def test_one_graph(name: str, kind: str) -> None:
    torch._dynamo.reset()
    network, counter = NETWORKS[name](parts(kind, TASKS[:2], depth=2)), CompileCounter()
    compiled = torch.compile(network, fullgraph=True, backend=counter)
    for _ in range(2):
        compiled(inputs(kind))
    assert counter.frame_count == 1
    same_outputs(network, compiled, kind)
    torch._dynamo.reset()


def test_one_graph_forth_and_back() -> None:
    torch._dynamo.reset()
    kind, network = "vector", NETWORKS["task_hierarchy"](parts("vector", TASKS[:2], depth=2))
    counter = CompileCounterWithBackend("aot_eager")
    expected = torch.autograd.grad(sum(losses(network, kind).values()), list(network.parameters()))
    sum(losses(torch.compile(network, fullgraph=True, backend=counter), kind).values()).backward()
    assert counter.frame_count == 1
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-5)
    torch._dynamo.reset()


def test_a_step_with_dtp_trains_everything(network: Network, kind: str) -> None:
    balancer = DTP(TASKS)
    kpis = dict(zip(TASKS, (0.2, 0.5, 0.9), strict=True))
    balancer(losses(network, kind), kpis).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("method", ["pcgrad", "upgrad"])
@pytest.mark.parametrize(("name", "kind"), [*((name, "vector") for name in VECTORS), ("mtan", "image")])
def test_a_step_with_a_gradient_balancer(name: str, kind: str, method: str) -> None:
    pytest.importorskip("torchjd")
    network = copy.deepcopy(made(name, kind))
    shared = network.shared_parameters()
    own = [parameter for parameter in network.parameters() if all(parameter is not one for one in shared)]
    expected = torch.autograd.grad(sum(losses(network, kind).values()), own)
    BALANCERS[method](TASKS).backward(losses(network, kind), shared=shared)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())
    for parameter, gradient in zip(own, expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)


# Equal numbers of parameters


@pytest.mark.parametrize(("depth", "width"), [(2, 64), (3, 128)])
def test_networks_are_of_one_size(case: tuple[str, str], depth: int, width: int) -> None:
    name, kind = case
    if kind == "image":
        width //= 2
    size = parameters(NETWORKS["hard_sharing"](parts(kind, width=width, depth=depth)))
    assert parameters(NETWORKS[name](parts(kind, width=width, depth=depth))) == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_width_comes_nearest(name: str) -> None:
    """No other width has a number of parameters nearer to hard sharing's; stems are the same in all."""
    problem = parts("image", depth=2, width=16)
    size = parameters(NETWORKS["hard_sharing"](problem))
    found = abs(parameters(NETWORKS[name](problem)) - size)
    assert found == min(abs(parameters(NETWORKS[name](problem, width=width)) - size) for width in range(1, 20))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_stem_is_made_once_and_not_counted(name: str) -> None:
    stems = []

    def stem() -> nn.Module:
        stems.append(Stem("image")())
        return stems[-1]

    bare = NETWORKS[name](parts("image"))
    other = NETWORKS[name](replace(parts("image"), stem=stem))
    assert len(stems) == 1
    assert parameters(other) == parameters(bare)
    wide = NETWORKS[name](replace(parts("image"), stem=lambda: nn.Sequential(nn.Conv2d(7, 500, 1), nn.Conv2d(500, 24, 1))))
    assert parameters(wide) - (7 * 500 + 500 + 500 * 24 + 24) == parameters(bare) - parameters(stems[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_search_for_the_width_draws_nothing(name: str) -> None:
    torch.manual_seed(5)
    found = NETWORKS[name](parts("image"))
    after = torch.get_rng_state()
    for width in range(1, 100):
        torch.manual_seed(5)
        if parameters(given := NETWORKS[name](parts("image"), width=width)) == parameters(found):
            break
    assert torch.equal(torch.get_rng_state(), after)
    same_outputs(found, given, "image")


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "hard_sharing"])
def test_what_cannot_be_as_small_is_refused(name: str) -> None:
    small = parts("image", tuple("abcdefghij"), width=1, depth=1)
    with pytest.raises(
        InputError, match=r"has [\d,]+ parameters even at width 1, more than the 258 to match. Match a wider"
    ):
        NETWORKS[name](small)
    assert isinstance(NETWORKS[name](small, width=2), Network)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("width", [0, 2.5, "wide"])
def test_a_width_that_is_none_is_refused(name: str, width: object) -> None:
    with pytest.raises(InputError, match="Expected `width` to be a whole number, at least 1"):
        NETWORKS[name](parts("image"), width=width)


# Names and shapes


@pytest.mark.parametrize("name", NETWORKS)
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="a task's name to be a non-empty string; got ''"):
        NETWORKS[name](parts("image", ("a", "")))


@pytest.mark.parametrize("task", TASKS)
def test_a_head_that_does_not_fit_is_named(case: tuple[str, str], network: Network, task: str) -> None:
    _, kind = case
    heads = dict(zip(TASKS, network.heads.children(), strict=True))
    head = heads[task][-1] if isinstance(heads[task], nn.Sequential) else heads[task]
    head.linear = nn.Linear(1000, 1)
    with pytest.raises(InputError, match=rf"(head|module) of task {task!r} does not accept its input, \[\d.*1000"):
        network(inputs(kind))


def test_inputs_that_do_not_fit_are_described(network: Network, kind: str) -> None:
    with pytest.raises(InputError, match=r"^(The trunk|The stem|Block 1).* does not accept its input, \[2, 99"):
        network(torch.zeros(2, 99, *INPUTS[kind][2:]))


def test_a_dimension_that_is_not_there_is_described() -> None:
    class Largest(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features.amax(2)

    with pytest.raises(InputError, match=r"head of task 'a' does not accept its input, \[2, 3\]: Dimension out of range"):
        HardSharing(nn.Identity(), {"a": Largest()})(torch.zeros(2, 3))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), ValueError("else"), InputError("said already")])
def test_other_errors_are_as_they_were(error: Exception) -> None:
    class Broken(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            raise error

    with pytest.raises(type(error), match=str(error)):
        HardSharing(nn.Identity(), {"a": Broken()})(torch.zeros(2, 3))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_card(name: str) -> None:
    card = inspect.getdoc(NETWORKS[name].__self__)
    for section in ("When to use: ", "Cost: ", "Args:", "Raises:", "Example:", "Note:", "References:"):
        assert section in card, section
    assert "Shared parameters are" in card
