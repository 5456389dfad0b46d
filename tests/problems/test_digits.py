import itertools
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems import Problem, Splits, digits
from problem_data import SPLITS, whole

NAME = "digits"
SOURCES, CLASSES = load_digits(return_X_y=True)
each_split = pytest.mark.parametrize("split", SPLITS)


def light(splits: Splits, split: str) -> Tensor:
    """The images in the sources' unit, from the inputs: [images, 10, 12], whole numbers."""
    return (whole(splits, split)[0]["inputs"].squeeze(1).double() * 6.5 + 5).round()


# The data


def test_no_source_image_is_in_two_splits() -> None:
    parts = digits.source_split(len(SOURCES))
    used = {
        split: {index for made in digits.compositions(split, len(SOURCES)) for index in (made.left, made.right)}
        for split in SPLITS
    }
    assert sorted(itertools.chain(*parts.values())) == list(range(len(SOURCES)))
    for split in SPLITS:
        assert used[split] <= set(parts[split])
    for one, other in itertools.combinations(SPLITS, 2):
        pixels = [{SOURCES[index].tobytes() for index in parts[split]} for split in (one, other)]
        assert pixels[0].isdisjoint(pixels[1])  # nor is a copy of it


def test_the_split_is_about_60_20_20_of_every_digit() -> None:
    for split, share in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
        part = CLASSES[digits.source_split(len(SOURCES))[split]]
        assert abs(len(part) / len(CLASSES) - share) < 0.001
        assert abs(np.bincount(part) / np.bincount(CLASSES) - share).max() < 0.1


@each_split
def test_images_are_the_sum_of_their_sources(splits: Splits, split: str) -> None:
    images = light(splits, split)
    made = digits.compositions(split, len(SOURCES))
    assert len(made) == len(images)
    for image, parts in zip(images[:50], made, strict=False):
        expected = torch.zeros(10, 12, dtype=torch.float64)
        left, right = (torch.from_numpy(SOURCES[index].reshape(8, 8)) for index in (parts.left, parts.right))
        expected[parts.left_row : parts.left_row + 8, :8] += left
        expected[parts.right_row : parts.right_row + 8, 4:] += right
        assert torch.equal(image, expected)


@each_split
def test_labels_are_those_of_the_sources(splits: Splits, split: str) -> None:
    targets = whole(splits, split)[1]
    for image, parts in enumerate(digits.compositions(split, len(SOURCES))):
        left, right = CLASSES[parts.left], CLASSES[parts.right]
        assert (targets["left"][image], targets["right"][image], targets["sum"][image]) == (left, right, left + right)


@each_split
def test_answers_are_functions_of_the_image(splits: Splits, split: str) -> None:
    image, targets = light(splits, split), whole(splits, split)[1]

    def total(rows: slice, columns: slice) -> Tensor:
        return image[:, rows, columns].sum((1, 2))

    everything = slice(None)
    top, bottom, left, right = slice(0, 5), slice(5, 10), slice(0, 6), slice(6, 12)
    expected = {
        "top_half": total(top, everything) > total(bottom, everything),
        "left_half": total(everything, left) > total(everything, right),
        "diagonal": total(top, left) + total(bottom, right) > total(top, right) + total(bottom, left),
        "middle_rows": 2 * total(slice(3, 7), everything) > total(everything, everything),
        "middle_columns": 2 * total(everything, slice(4, 8)) > total(everything, everything),
        "left_edge": total(everything, slice(0, 3)) > total(everything, slice(9, 12)),
    }
    for question, answer in expected.items():
        assert torch.equal(targets[question], answer.float()), question


@each_split
def test_both_answers_are_common(splits: Splits, split: str) -> None:
    for question, answer in list(whole(splits, split)[1].items())[3:]:
        assert 0.35 < answer.mean() < 0.65, question


@each_split
def test_shapes_and_types(problem: Problem, splits: Splits, split: str) -> None:
    images, targets = whole(splits, split)
    inputs = images["inputs"]
    assert inputs.shape == ({"train": 4000, "validation": 1000, "test": 1500}[split], 1, 10, 12)
    assert inputs.dtype == torch.float32
    assert abs(inputs.mean()) < 0.1
    assert 0.9 < inputs.std() < 1.1
    assert tuple(targets) == problem.task_names
    assert [target.dtype for target in targets.values()] == [torch.int64] * 3 + [torch.float32] * 6


def test_without_scikit_learn_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r'pip install "hardfirst\[cli\]"'):
        digits.data()


# The tasks and the network


def test_the_network_answers_every_task(problem: Problem) -> None:
    outputs = problem.network()(torch.zeros(5, 1, 10, 12))
    assert {task: tuple(output.shape[1:]) for task, output in outputs.items()} == {
        "left": (10,),
        "right": (10,),
        "sum": (19,),
        **dict.fromkeys(problem.task_names[3:], ()),
    }
    assert tuple(outputs) == problem.task_names


def test_a_sum_counts_if_it_is_missed_by_at_most_one() -> None:
    logits = torch.nn.functional.one_hot(torch.tensor([4, 5, 6, 7]), 19).float()
    assert digits.within_one(logits, torch.tensor([5, 5, 5, 5])) == 3 / 4
