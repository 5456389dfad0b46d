"""The order of examples, for one data set and for several."""

from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import PROBLEMS, ConcatSplit, Problem, Split, Splits, Task, TensorTable
from hardfirst.problems._data import collate
from hardfirst.training import Trial, epoch_order, fit
from hardfirst.training._batch import label_mask
from hardfirst.training._loading import load
from hardfirst.training._sampling import evaluation_order

SIZES = {"small": 20, "large": 100}


def table(count: int, task: str) -> TensorTable:
    inputs = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
    return TensorTable(inputs, {task: (inputs[:, 0] > 0).long()})


def split() -> dict[str, TensorTable]:
    return {name: table(count, name) for name, count in SIZES.items()}


def problem(**settings: object) -> Problem:
    return Problem(
        "two",
        tuple(Task(name, F.cross_entropy, accuracy) for name in SIZES),
        network=lambda: HardSharing(nn.Linear(3, 8), {name: nn.Linear(8, 2) for name in SIZES}),
        data=lambda: Splits(split(), split(), split()),  # type: ignore[arg-type]
        **{"batch_size": 8, "epochs": 2, "learning_rate": 0.05, **settings},  # type: ignore[arg-type]
    )


def order(*, seed: int = 0, epoch: int = 0, of: Split | None = None, **settings: object) -> list[list[int]]:
    return epoch_order(problem(**settings), split() if of is None else of, seed, epoch)  # type: ignore[arg-type]


def shares(batches: list[list[int]]) -> list[str]:
    """The data set of each batch."""
    assert all(len({index < SIZES["small"] for index in batch}) == 1 for batch in batches), "a batch comes from one data set"
    return ["small" if batch[0] < SIZES["small"] else "large" for batch in batches]


def test_one_data_set_is_a_permutation() -> None:
    batches = order(of=table(20, "small"))
    assert sorted(index for batch in batches for index in batch) == list(range(20))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    assert batches == order(of=table(20, "small"))
    assert batches != order(of=table(20, "small"), epoch=1)
    assert batches != order(of=table(20, "small"), seed=1)


def test_proportional_sampling_sees_every_example_once_in_random_order() -> None:
    batches = order(sampling="proportional")
    assert sorted(index for batch in batches for index in batch) == list(range(120))
    assert Counter(shares(batches)) == {"small": 3, "large": 13}
    assert shares(batches) != sorted(shares(batches))


def test_round_robin_takes_turns() -> None:
    batches = order(sampling="round_robin")
    assert shares(batches) == ["small", "large"] * 8  # as many as 3 + 13
    seen = Counter(index for batch in batches for index in batch)
    assert {seen[index] for index in range(20)} == {2, 3}, "8 batches of 20 examples are 2 and two thirds of a round"
    assert max(seen[index] for index in range(20, 120)) == 1
    later = {index for batch in order(sampling="round_robin", epoch=1) for index in batch}
    assert later != set(seen), "what the large one leaves out differs from epoch to epoch"


@pytest.mark.parametrize(
    ("temperature", "small"),
    # 16 batches in the ratio of 20^(1/t) : 100^(1/t), that is 1 : 5, 1 : √5 and, nearly, 1 : 1
    [(1, 3), (2, 5), (1e6, 8)],
)
def test_temperature_lies_between_proportional_and_even(temperature: float, small: int) -> None:
    counts = Counter(shares(order(sampling="temperature", temperature=temperature)))
    assert counts == {"small": small, "large": 16 - small}


def test_evaluation_sees_everything_in_order() -> None:
    batches = list(load(split(), evaluation_order(split(), 1024)))
    assert [list(targets) for _, targets in batches] == [["small"], ["large"]]
    assert torch.equal(batches[1][0], split()["large"].inputs)
    assert len(ConcatSplit(split())) == 120


class Listed(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A data set that returns single items, as users write them."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.full((3,), float(index)), {"small": torch.tensor(index % 2)}


def test_data_sets_of_single_items_are_collated() -> None:
    both: dict = {"large": table(4, "large"), "small": Listed()}
    (_, (inputs, targets)) = load(both, [[0, 1], [4, 6]])
    assert inputs.tolist() == [[0.0] * 3, [2.0] * 3]
    assert targets["small"].tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.bool])
def test_a_missing_label_is_none_in_any_integer_type(dtype: torch.dtype) -> None:
    label = torch.tensor([1, 0]).to(dtype)
    _, targets = collate([(torch.zeros(3), {"a": label}), (torch.zeros(3), {"b": label, "a": None})])
    assert targets["a"].tolist() == [[1, 0], [-100, -100]]
    assert targets["b"].tolist() == [[-100, -100], [1, 0]]
    assert label_mask(targets["a"]).tolist() == [[True, True], [False, False]]


def test_class_156_of_a_byte_is_a_label() -> None:
    assert label_mask(torch.tensor([156, 3], dtype=torch.uint8)).all()


@pytest.mark.parametrize("sampling", ["proportional", "round_robin", "temperature"])
def test_a_run_on_several_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampling: str) -> None:
    monkeypatch.setitem(PROBLEMS.loaded, "two", lambda: problem(sampling=sampling))
    trial = Trial.plan("two", Spec.parse("dtp"), epochs=8)
    record = fit(trial, record_file=tmp_path / "r.jsonl", accelerator="cpu")
    assert min(record.test_kpi(task) for task in SIZES) > 0.85
    assert fit(trial, record_file=tmp_path / "again.jsonl", accelerator="cpu").test == record.test


def test_a_temperature_below_1() -> None:
    with pytest.raises(InputError, match="Expected `temperature` to be at least 1; got 0"):
        problem(temperature=0.5)
