"""Augmentation: the same random numbers whoever loads, others in each epoch, and none outside training."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from hardfirst.errors import InputError
from hardfirst.problems import Augmented, ConcatSplit, TensorTable, collate
from hardfirst.training._loading import Loading, load

Item = tuple[Tensor, Mapping[str, Tensor]]
ORDER = [[0, 3, 4], [1, 2], [5, 7, 6]]


def table(count: int = 8, offset: float = 0.0) -> TensorTable:
    inputs = offset + torch.arange(2.0 * count).reshape(count, 2)
    return TensorTable(inputs, {"a": inputs[:, 0].clone()})


def noisy(item: Item, generator: torch.Generator) -> Item:
    inputs, targets = item
    noise = torch.rand((), generator=generator)
    return inputs.add_(noise), {"a": targets["a"].add_(noise)}  # both in place


def loaded(split: Any, order: list[list[int]] = ORDER, loaders: int = 0, **options: Any) -> list[Tensor]:
    return [inputs for inputs, _ in load(split, order, Loading(loaders), **options)]


def test_processes_stops_and_other_batches_change_nothing() -> None:
    data = Augmented(table(), noisy)
    whole = loaded(data, draw=(1, 2))
    for loaders in (1, 2, 3):
        assert all(map(torch.equal, whole, loaded(data, loaders=loaders, draw=(1, 2))))
    assert all(map(torch.equal, whole[1:], loaded(data, ORDER[1:], 2, draw=(1, 2))))
    (single,) = loaded(data, [[7]], draw=(1, 2))
    assert torch.equal(single[0], whole[2][1])
    torch.manual_seed(3)
    before = torch.get_rng_state()
    loaded(data, draw=(1, 2))
    assert torch.equal(torch.get_rng_state(), before), "and they draw nothing from torch's own generator"


def test_each_epoch_seed_and_item_has_numbers_of_its_own() -> None:
    data = Augmented(table(), noisy)
    noises = {
        (seed, epoch, index): float(data.drawn(index, seed=seed, epoch=epoch)[0][0]) - 2 * index
        for seed in range(4)
        for epoch in range(4)
        for index in range(8)
    }
    assert len({round(noise, 4) for noise in noises.values()}) > 0.98 * len(noises)
    assert torch.tensor(list(noises.values())).mean() == pytest.approx(0.5, abs=0.1)


def test_nothing_is_changed_outside_training_batches() -> None:
    data, plain = Augmented(table(), noisy), table()
    loaded(data, draw=(0, 0))
    assert torch.equal(data.dataset.inputs, plain.inputs), "a view of the table was changed"
    assert torch.equal(data.dataset.targets["a"], plain.targets["a"])
    assert all(map(torch.equal, loaded(data), loaded(plain)))
    assert torch.equal(data[3][0], plain[3][0])
    assert len(data) == 8


class Pictures(Dataset[Item]):
    """A data set without `__getitems__`."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Item:
        return table()[index]


@pytest.mark.parametrize("data", [Pictures(), [table()[index] for index in range(8)]], ids=["data set", "list"])
def test_it_takes_any_data_set(data: Any) -> None:
    assert all(map(torch.equal, loaded(Augmented(data, noisy), draw=(0, 1)), loaded(Augmented(table(), noisy), draw=(0, 1))))
    assert all(map(torch.equal, loaded(Augmented(data, noisy)), loaded(table())))


def test_it_may_be_wrapped() -> None:
    data = Augmented(table(), noisy)
    expected = loaded(data, draw=(0, 1))
    assert all(map(torch.equal, loaded(Subset(data, range(8)), draw=(0, 1)), expected))  # type: ignore[arg-type]
    assert all(map(torch.equal, loaded(ConcatDataset([data]), draw=(0, 1)), expected))
    twice = Augmented(data, noisy)
    first, second = (float(each.drawn(0, seed=0, epoch=0)[0][0]) for each in (data, twice))
    assert second - first != pytest.approx(first), "each of two has numbers of its own"


def test_several_data_sets_by_name() -> None:
    """Each has numbers of its own, and so have those beside them that are not augmented."""
    split = {"one": Augmented(table(), noisy), "plain": table(), "two": Augmented(table(), noisy)}
    fetched = [collate(ConcatSplit(split, draw=(0, 0)).__getitems__([start, start + 1]))[0] for start in (0, 8, 16)]
    assert torch.equal(fetched[1], table().inputs[:2])
    noises = [float(batch[0, 0]) for batch in fetched]
    assert noises[0] != noises[2]
    assert all(0 < noises[number] < 1 for number in (0, 2))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Augmented({"a": table()}, noisy), "To augment several data sets by name, wrap each of them."),
        (lambda: Augmented(3, noisy), "Expected a data set with a length to augment; got int."),
        (lambda: Augmented(table(), torch.rand), "Expected a function (item, generator) to augment with; got"),
        (lambda: Augmented(table(), lambda item: item), "Expected a function (item, generator) to augment with; got"),  # type: ignore[arg-type, misc]
        (
            lambda: Augmented(table(), lambda item, generator: None).drawn(0, seed=0, epoch=0),
            "Expected '<lambda>' to return the changed item, (inputs, {task: target}); it returned NoneType.",
        ),
        (lambda: Augmented(table(), noisy).drawn(0, seed=-1, epoch=0), "Expected `seed` to be a whole number, at least 0"),
    ],
)
def test_what_is_wrong(make: Any, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        make()
    assert sentence in str(error.value)
