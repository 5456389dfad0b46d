import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.problems import PROBLEMS, TensorTable, mnist_fashion
from hardfirst.training import Trial, check_problem, epoch_order, fit
from installed import needs

pytestmark = needs("mnist_fashion")


@pytest.fixture(scope="module")
def splits() -> dict[str, TensorTable]:
    found = mnist_fashion.data(crowded=True)
    return {"train": found.train, "validation": found.validation, "test": found.test}  # type: ignore[dict-item]


def test_sizes_and_kinds(splits: dict[str, TensorTable]) -> None:
    assert {split: len(table) for split, table in splits.items()} == {"train": 55_000, "validation": 5000, "test": 10_000}
    inputs, targets = splits["test"][torch.arange(8)]
    assert (inputs.shape, inputs.dtype) == ((8, 1, 36, 36), torch.uint8)
    assert tuple(targets) == PROBLEMS["mnist_fashion:crowded"]().task_names
    for task in ("digit", "garment"):
        assert torch.bincount(splits["train"].targets[task]).min() > 4500, "ten classes of about the same size"


def test_a_digit_lies_in_one_corner_and_a_garment_in_the_other(splits: dict[str, TensorTable]) -> None:
    images = splits["test"].inputs
    # beyond the digit's 28 pixels there is but the garment, and before the garment's first 8 but the digit
    garments = mnist_fashion._images("t10k", ".gz")
    assert torch.equal(images[:, 0, 28:, 8:], garments[:, 20:])
    digits = mnist_fashion._images("t10k", "")
    strips = {digit[:, :8].numpy().tobytes() for digit in digits}
    assert all(image[0, :28, :8].numpy().tobytes() in strips for image in images[:20])


def test_a_digit_comes_with_its_label_and_each_once() -> None:
    digits, labels = mnist_fashion._images("t10k", ""), mnist_fashion._labels("t10k", "")
    pairs = mnist_fashion._pairs("t10k", crowded=False)
    known: dict[bytes, set[int]] = {}
    for digit, label in zip(digits, labels.tolist(), strict=True):
        known.setdefault(digit[:, :8].numpy().tobytes(), set()).add(label)
    shown = [image.numpy().tobytes() for image in pairs.inputs[:, 0, :28, :8]]  # type: ignore[index]
    assert all(label in known[strip] for strip, label in zip(shown, pairs.targets["digit"].tolist(), strict=True))
    assert torch.equal(pairs.targets["digit"].bincount(), labels.bincount())
    assert torch.equal(pairs.targets["garment"], mnist_fashion._labels("t10k", ".gz"))


def test_no_image_is_in_two_splits(splits: dict[str, TensorTable]) -> None:
    garments = {
        split: {bytes(image.flatten().tolist()) for image in table.inputs[:3000, 0, 28:, 8:]}
        for split, table in splits.items()
    }  # type: ignore[index]
    # Fashion-MNIST has a few garments twice: a strip of 8 rows may be the same, a whole data set not
    assert len(garments["train"] & garments["test"]) < 10
    assert len(garments["train"] & garments["validation"]) < 10


def test_the_questions_can_be_answered_from_the_image(splits: dict[str, TensorTable]) -> None:
    table = splits["test"]
    light = table.inputs[:, 0].long()  # type: ignore[call-overload]
    assert torch.equal(table.targets["upper_half"], (light[:, :18].sum((1, 2)) > light[:, 18:].sum((1, 2))).float())
    assert torch.equal(table.targets["left_half"], (light[:, :, :18].sum((1, 2)) > light[:, :, 18:].sum((1, 2))).float())
    assert torch.equal(table.targets["edge"], (light[:, :, :9].sum((1, 2)) > light[:, :, 27:].sum((1, 2))).float())
    assert torch.equal(table.targets["even"], (table.targets["digit"] % 2 == 0).float())
    for question in mnist_fashion.QUESTIONS:
        assert 0.01 < float(table.targets[question].mean()) < 0.99, question


def test_apart_has_two_data_sets_and_batches_of_one_of_them() -> None:
    found = PROBLEMS["mnist_fashion:apart"]()
    train = found.data().train
    assert {name: len(table) for name, table in train.items()} == {"digits": 11_000, "garments": 55_000}  # type: ignore[union-attr]
    order = epoch_order(found, train, seed=0, epoch=0)
    # 43 + 215 batches in the ratio of √11 to √55, that is 1 : 2.236
    digits = sum(batch[0] < 11_000 for batch in order)
    assert len(order) == 43 + 215
    assert digits == round(258 / (1 + 5**0.5))
    check_problem(found, "mnist_fashion:apart")


def test_a_truncated_file_is_named_with_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"cut")
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path))
    expected = "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"
    with pytest.raises(InputError, match=rf"t10k-labels-idx1-ubyte\.gz is not the published file.* expected {expected}"):
        mnist_fashion._labels("t10k", ".gz")
    assert "HARDFIRST_DATA" in os.environ


def first_rows(read: Callable[[str, str], Tensor], part: str, ending: str) -> Tensor:
    """2,500 images for training and validation, 500 for testing."""
    return read(part, ending)[: 2500 if part == "train" else 500]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A network that always answers class 1:hardfirst.training.MeasureWarning")  # of crowded
@pytest.mark.parametrize("name", ["mnist_fashion", "mnist_fashion:crowded", "mnist_fashion:apart"])
def test_a_few_steps_bring_the_loss_down(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = PROBLEMS[name]()
    for read in ("_images", "_labels"):
        monkeypatch.setattr(mnist_fashion, read, partial(first_rows, getattr(mnist_fashion, read)))
    monkeypatch.setattr(mnist_fashion, "VALIDATION", 500)
    monkeypatch.setattr(mnist_fashion, "APART_DIGITS", 1000)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trial = Trial.plan(name, Spec.parse("dtp"), epochs=4, loaded=problem)
    found = fit(trial, record_file=tmp_path / "r.jsonl", accelerator="cpu")
    torch.set_num_threads(threads)
    for task in ("digit", "garment"):
        losses = found.curve(task, "loss")
        assert losses[-1] < 0.8 * losses[0], task
        assert 0.3 < found.test_kpi(task) <= 1
