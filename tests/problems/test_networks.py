"""Every network, made of every problem's parts: it fits the data, and is of hard sharing's size."""

import dataclasses
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import nn

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.networks import NETWORKS, NetworkSpec, Parts, parameters, vector_layer
from hardfirst.problems import PROBLEMS, Problem, Splits, Task, TensorTable
from hardfirst.training import Trial, check_problem, fit
from installed import needs

BUILT_IN = [name for name in PROBLEMS if name not in PROBLEMS.plugins]
SAME_PARTS = {"mnist_fashion:apart": "mnist_fashion"}


@cache
def loaded(name: str) -> Problem:
    """The problem with its data in memory."""
    problem = PROBLEMS[name]()
    splits = problem.data()
    return dataclasses.replace(problem, data=lambda: splits)


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    loaded.cache_clear()


def cases() -> list[object]:
    names = [name for name in BUILT_IN if name not in SAME_PARTS]
    return [pytest.param(name, network, marks=needs(name)) for name in names for network in NETWORKS]


@pytest.mark.parametrize(("name", "network"), cases())
@pytest.mark.filterwarnings("ignore::hardfirst.training.MeasureWarning")  # an easy question has one by design
def test_every_network_fits_every_problem(name: str, network: str) -> None:
    problem = loaded(name)
    if network == "mtan" and name != "brown":
        with pytest.raises(InputError, match=r"MTAN attends to positions.*For vectors, choose mmoe or ple"):
            check_problem(problem.variant(network=network), name)
        return
    check_problem(problem.variant(network=network), name)
    size, hard = (parameters(problem.variant(network=which).network()) for which in (network, "hard_sharing"))
    assert abs(size - hard) < 0.07 * hard


@pytest.mark.parametrize("name", BUILT_IN)
def test_parts_have_a_head_for_each_task(name: str) -> None:
    problem = PROBLEMS[name]()
    assert problem.parts is not None
    assert problem.parts().tasks == problem.task_names


def toy(**settings: object) -> Problem:
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    table = TensorTable(inputs, {"a": inputs[:, :1], "b": inputs[:, 1:2] * inputs[:, 2:3]})
    return Problem(
        name="toy",
        tasks=tuple(Task(name, nn.functional.mse_loss, lambda output, target: torch.tensor(0.5)) for name in "ab"),
        network=nn.Identity,
        data=lambda: Splits(table, table, table),
        **settings,  # type: ignore[arg-type]
    )


def parts() -> Parts:
    heads = dict.fromkeys("ab", lambda channels: nn.Linear(channels, 1))
    return Parts(nn.Identity, 4, vector_layer, width=8, depth=2, heads=heads)


def test_without_parts_there_are_only_the_problems_own_networks() -> None:
    problem = toy(networks={"wide": nn.Identity})
    with pytest.raises(InputError, match=r"network of problem 'toy': 'mmoe'.*Known: own, wide\."):
        problem.variant(network="mmoe")


def test_options_reach_the_network() -> None:
    network = toy(parts=parts).variant(network="task_hierarchy:order=b+a,width=5").network()
    assert network.order == ("b", "a")
    assert network.transitions["a"].linear.out_features == 5  # type: ignore[union-attr,index]


def test_the_problems_own_networks_come_first() -> None:
    mine = nn.Linear(4, 1)
    assert toy(parts=parts, networks={"mmoe": lambda: mine}).variant(network="mmoe").network() is mine


def test_an_order_is_spelled_out_by_kpis() -> None:
    kpis = {"a": 0.9, "b": 0.3}
    for order, expected in (("hard_first", "b+a"), ("easy_first", "a+b"), ("a+b", "a+b")):
        spec = NetworkSpec.parse(f"task_hierarchy:width=5,order={order}")
        assert str(spec.ordered(kpis)) == f"task_hierarchy:order={expected},width=5"
    assert NetworkSpec.parse("mmoe").ordered(kpis) == NetworkSpec.parse("mmoe")


def test_tasks_called_by_numbers_have_an_order(tmp_path: object) -> None:
    heads = dict.fromkeys(("1", "2"), lambda channels: nn.Linear(channels, 1))
    numbered = Parts(nn.Identity, 4, vector_layer, width=8, depth=2, heads=heads)
    assert NetworkSpec.parse("task_hierarchy:order=2+1").build(numbered).order == ("2", "1")  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_record_says_how_large_the_network_was(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for network in ("own", "hard_sharing"):
        trial = Trial.plan("digits", Spec.parse("equal"), epochs=1, network=network)
        found = fit(trial, record_file=tmp_path / f"{network}.jsonl", accelerator="cpu")
        assert found.parameters == parameters(trial.load().network())
        assert found.trial["network"] == network


def test_the_parameters_of_a_network_function_are_its_options() -> None:
    def wide(width: int = 4) -> nn.Module:
        return nn.Linear(4, width)

    problem = toy(networks={"wide": wide})
    assert problem.network_spec("wide:width=7") is None
    assert problem.variant(network="wide:width=7").network().out_features == 7
    assert problem.variant(network="wide").network().out_features == 4
    for name, sentence in (
        ("wide:with=7", "option of network 'wide': 'with'; did you mean 'width'"),
        ("wide:7", "key=value"),
    ):
        with pytest.raises(InputError, match=sentence):
            problem.network_spec(name)
