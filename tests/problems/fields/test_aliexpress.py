"""AliExpress from small tables: what is read, what is trained, and what a wrong folder gets."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from aliexpress_folder import CATEGORIES, NUMBERS, ROWS, write_aliexpress
from hardfirst.errors import InputError
from hardfirst.networks import NETWORKS, parameters
from hardfirst.problems import TensorTable
from hardfirst.problems.fields import _aliexpress_tables, aliexpress


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_aliexpress_tables, "ROWS", 150)  # rows of a chunk, so that there are several


def test_check_says_what_is_there(tmp_path: Path) -> None:
    write_aliexpress(tmp_path, "us")
    first, train, test = aliexpress.check(tmp_path, "us")
    assert first == "16 categories and 5 numbers; tasks click and conversion."
    assert train.startswith("train.csv: ")
    assert "of the first 150 rows" in train
    assert "of the first 120 rows" in test


def test_a_tenth_of_the_searches_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = write_aliexpress(tmp_path)
    splits = aliexpress.problem(tmp_path, "nl").data()
    frame = pd.read_csv(inner / "train.csv")
    held = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10 == 0 for name in frame["search_id"]]
    rows = {"train": frame[[not each for each in held]], "validation": frame[held], "test": pd.read_csv(inner / "test.csv")}
    assert 0 < len(rows["validation"]) < 80
    for split, expected in rows.items():
        table = getattr(splits, split)
        assert isinstance(table, TensorTable)
        assert isinstance(table.inputs, dict)
        columns = expected.to_numpy()[:, 1:].astype(float)
        assert table.inputs["categories"].tolist() == columns[:, :CATEGORIES].tolist()
        torch.testing.assert_close(table.inputs["numbers"], torch.tensor(columns[:, CATEGORIES:-2]).float())
        assert table.targets["click"].tolist() == columns[:, -2].tolist()
        assert table.targets["conversion"].tolist() == columns[:, -1].tolist()
    monkeypatch.setattr(_aliexpress_tables, "_frames", None)
    assert len(aliexpress.problem(tmp_path, "nl").data().train) == len(splits.train), "the tables are read once"  # type: ignore[arg-type]


def test_the_published_splits_are_the_whole_files(tmp_path: Path) -> None:
    write_aliexpress(tmp_path)
    problem = aliexpress.problem(tmp_path, "nl")
    ours, published = problem.data(), aliexpress.published_splits(tmp_path, "nl")
    assert len(published.train) == ROWS["train"]  # type: ignore[arg-type]
    assert len(published.validation) == len(published.test) == ROWS["test"]  # type: ignore[arg-type]
    size = len(ours.train)  # type: ignore[arg-type]
    inputs, targets = published.train.__getitems__([size + 1, 0, size - 1])  # type: ignore[attr-defined]
    expected = [ours.train[0], ours.train[size - 1], ours.validation[1]]  # type: ignore[index]
    assert torch.equal(inputs["numbers"], torch.stack([each["numbers"] for each, _ in expected]))
    assert targets["click"].tolist() == [float(each["click"]) for _, each in expected]
    assert torch.equal(published.train[size][0]["categories"], ours.validation[0][0]["categories"])  # type: ignore[index]


def test_the_published_networks(tmp_path: Path) -> None:
    write_aliexpress(tmp_path)
    problem = aliexpress.problem(tmp_path, "nl")
    inputs = {"categories": torch.full((4, CATEGORIES), 5, dtype=torch.int32), "numbers": torch.randn(4, NUMBERS)}
    codes = 7 * CATEGORIES  # the test file has one code more than the training file
    stem = 128 * codes + 128 * NUMBERS + 128
    before = 128 * (CATEGORIES + 1)
    layer = {(b, c): b * c + 3 * c for b, c in ((before, 512), (512, 256), (256, 128), (128, 64))}  # bias and norm
    towers = 2 * (layer[256, 128] + layer[128, 64] + 65)
    trunk = layer[before, 512] + layer[512, 256]
    expected = {
        "own": stem + trunk + towers,
        "mmoe_published": stem + 8 * trunk + 2 * 8 * before + towers,
        "ple_published": stem + 12 * trunk + (2 * 8 + 12) * before + 2 * 8 * 512 + towers,
    }
    for name, size in expected.items():
        network = problem.variant(network=name).network()
        assert parameters(network) == size, name
        outputs: dict[str, Tensor] = network(inputs)
        assert {task: tuple(output.shape) for task, output in outputs.items()} == {"click": (4,), "conversion": (4,)}


@pytest.mark.slow
def test_every_network_fits_but_the_one_for_places(tmp_path: Path) -> None:
    write_aliexpress(tmp_path)
    problem = aliexpress.problem(tmp_path, "nl")
    inputs, _ = problem.data().train.__getitems__([0, 1, 2])  # type: ignore[attr-defined]
    hard = parameters(problem.variant(network="hard_sharing").network())
    assert hard == pytest.approx(parameters(problem.network()), rel=0.05)
    for name in [*NETWORKS, "mmoe:experts=8"]:
        network = problem.variant(network=name).network()
        if name == "mtan":
            with pytest.raises(InputError, match="MTAN attends to positions"):
                network(inputs)
            continue
        assert parameters(network) == pytest.approx(hard, rel=0.07), name
        assert {tuple(output.shape) for output in network(inputs).values()} == {(3,)}


Change = Callable[[Path], object]


def cell(table: str, row: int, column: str, value: str) -> Change:
    """Another value in a cell of a table."""

    def change(inner: Path) -> None:
        frame = pd.read_csv(inner / f"{table}.csv", dtype=str)
        frame.loc[row, column] = value
        frame.to_csv(inner / f"{table}.csv", index=False)

    return change


def text(table: str, change: Callable[[str], str]) -> Change:
    return lambda inner: (inner / f"{table}.csv").write_text(change((inner / f"{table}.csv").read_text()))


def cut(text: str) -> str:
    return text[:-20]


def first_lines(count: int) -> Callable[[str], str]:
    return lambda text: "".join(text.splitlines(keepends=True)[:count])


WRONG: dict[str, tuple[Change, str]] = {
    "another country": (
        lambda inner: inner.rename(inner.with_name("AliExpress_FR")),
        r"There is no file .*AliExpress_NL/train\.csv\. .* has AliExpress_FR\. Expected DIR/AliExpress_NL/.*; get it from ",
    ),
    "no test file": (
        lambda inner: (inner / "test.csv").unlink(),
        r"There is no file .*AliExpress_NL/test\.csv\. Expected DIR/",
    ),
    "the original logs": (
        text("train", lambda _: "1,2,3\n4,5,6\n"),
        r"The first line of .* should name search_id, .*; it lacks search_id, click, conversion, categorical_1, numerical_1",
    ),
    "other columns": (
        text("test", lambda text: text.replace("numerical_2", "number_2", 1)),
        r"train\.csv and .*test\.csv should have the same columns; only one has numerical_2\.",
    ),
    "no number": (
        cell("train", 4, "numerical_3", "many"),
        r"Line 6 of .*train\.csv: `numerical_3` should be a number; got 'many'",
    ),
    "a code below 0": (
        cell("test", 0, "categorical_2", "-1"),
        r"Line 2 of .*test\.csv: `categorical_2` should be a code, a whole number of at least 0; got -1\.",
    ),
    "a click of 2": (cell("train", 9, "click", "2"), r"Line 11 of .*: `click` should be 0 or 1; got 2\."),
    "bought without a click": (
        lambda inner: [cell("train", 9, name, value)(inner) for name, value in (("click", "0"), ("conversion", "1"))],
        r"Line 11 of .*: `conversion` should be 0 where there is no click; got 1\.",
    ),
    "cut": (text("train", cut), r"The last line of .*train\.csv has \d+ values of 24: it is truncated"),
    "no rows": (text("test", first_lines(1)), r"test\.csv has no rows\. It may be truncated"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_gets_a_sentence(tmp_path: Path, name: str) -> None:
    change, sentence = WRONG[name]
    change(write_aliexpress(tmp_path))
    with pytest.raises(InputError, match=sentence):
        aliexpress.check(tmp_path, "nl")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (cell("train", 390, "numerical_3", "many"), r"Line 392 of .*: `numerical_3` should be a"),
        (text("test", cut), r"Line 121 of .*test\.csv: `\w+` should be a number; got nothing; .* be truncated\."),
        (text("train", first_lines(5)), r"train\.csv has too few searches: there is none for validation\."),
    ],
    ids=["no number", "cut", "few searches"],
)
def test_what_the_check_did_not_read_gets_a_sentence_as_well(tmp_path: Path, change: Change, sentence: str) -> None:
    change(write_aliexpress(tmp_path))
    with pytest.raises(InputError, match=sentence):
        aliexpress.problem(tmp_path, "nl").data()
    assert not list((tmp_path / "cache").iterdir())
