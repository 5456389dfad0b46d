"""What is fitted to a table: it is saved as JSON, and gives new rows the inputs that training rows had."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hardfirst.errors import InputError
from hardfirst.problems import TableTransform, load_problem, table_name, table_transform

ROWS = 200
TARGETS = "price:regression:log,sold:classification,stars:ordinal"


def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "area": random.normal(100, 20, ROWS),
            "rent": [f"{value:,.2f} €" for value in random.normal(3000, 900, ROWS)],
            "town": random.choice(["Ulm", "Bonn", "Köln"], ROWS),
            "floor": random.choice(["1", "2", "G"], ROWS),
            "garden": random.random(ROWS) > 0.5,
            "day": pd.date_range("2024-01-01", periods=ROWS).strftime("%d.%m.%Y"),
            "text": [f"a bright home, number {row}" for row in range(ROWS)],
            "age": np.where(np.arange(ROWS) % 10 == 0, np.nan, random.integers(0, 90, ROWS)),
            "price": np.exp(random.normal(5, 1, ROWS)),
            "sold": random.choice(["yes", "no"], ROWS),
            "stars": random.integers(1, 6, ROWS),
        }
    )


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("table") / "homes.csv"
    frame().to_csv(path, index=False)
    return table_name(str(path), TARGETS)


@pytest.fixture
def saved(name: str) -> TableTransform:
    """The transform, written and read again."""
    return TableTransform.from_json(table_transform(name).to_json())


def test_a_saved_transform_is_equal(name: str, saved: TableTransform) -> None:
    assert saved == table_transform(name)
    kinds = {column.name: column.kind for column in saved.inputs}
    assert kinds == {
        **dict.fromkeys(("area", "rent", "garden", "age"), "number"),
        **dict.fromkeys(("town", "floor", "text"), "words"),
        "day": "date",
    }


def test_rows_of_the_table_get_the_inputs_and_labels_of_the_problem(name: str, saved: TableTransform) -> None:
    splits = load_problem(name).data()
    whole = saved.read(Path(name.partition("?")[0]))
    inputs, labels = saved.transform(whole), saved.labels(whole)
    known = {tuple(row) for row in inputs.tolist()}
    for split in (splits.train, splits.validation, splits.test):
        assert {tuple(row) for row in split.inputs.tolist()} <= known  # type: ignore[union-attr]
    assert sum(len(split.inputs) for split in (splits.train, splits.validation, splits.test)) == len(inputs)  # type: ignore[union-attr]
    for task in ("price", "sold", "stars"):
        parts = torch.cat([split.targets[task] for split in (splits.train, splits.validation, splits.test)])  # type: ignore[union-attr]
        assert torch.equal(parts.sort().values, labels[task].sort().values)


def test_words_for_missing_labels_are_read_as_in_training(tmp_path: Path) -> None:
    """NA among numbers or Booleans is no label, and among words a class. A column may have the name of a parameter."""
    rows = np.arange(ROWS)
    columns = {
        "self": rows % 7,
        "number": np.where(rows % 5 == 0, "NA", (rows % 3).astype(str)),
        "truth": np.where(rows % 2, "TRUE", "FALSE"),
        "word": np.where(rows % 5 == 0, "NA", np.where(rows % 2, "yes", "no")),
        "town": np.where(rows % 3 == 0, "Ulm", "Bonn"),
    }
    pd.DataFrame(columns).to_csv(tmp_path / "homes.csv", index=False)
    transform = table_transform(table_name(str(tmp_path / "homes.csv"), "number,truth,word"))
    labels = transform.labels(transform.read(tmp_path / "homes.csv"))
    assert [target.classes for target in transform.targets] == [("0", "1", "2"), ("False", "True"), ("NA", "no", "yes")]
    assert {name: int((values < 0).sum()) for name, values in labels.items()} == {"number": 40, "truth": 0, "word": 0}


def test_new_rows_may_lack_targets_and_have_other_columns(saved: TableTransform, tmp_path: Path) -> None:
    """A column of words may hold numbers alone in a new file, and columns may be in any order."""
    new = frame().drop(columns=["price", "sold"])[::-1].query("floor != 'G'").assign(other=1)
    new.to_csv(tmp_path / "new.csv", index=False, sep=";")
    found = saved.read(tmp_path / "new.csv")
    expected = saved.transform(frame())[torch.as_tensor(new.index.to_numpy().copy())]
    assert torch.equal(saved.transform(found), expected)
    assert list(saved.labels(found)) == ["stars"]
    new.to_parquet(tmp_path / "new.parquet")
    assert torch.equal(saved.transform(saved.read(tmp_path / "new.parquet").drop(columns="other")), expected)


def test_predictions_are_in_the_columns_own_terms(saved: TableTransform) -> None:
    network = saved.network()
    outputs = network(saved.transform(frame()))
    found = saved.predictions(outputs)
    assert list(found) == ["price", "sold", "sold: no", "sold: yes", "stars", *(f"stars: {star}" for star in range(1, 6))]
    price = next(target for target in saved.targets if target.name == "price")
    logs = outputs["price"].detach().double() * price.deviation + price.mean
    assert found["price"].tolist() == pytest.approx(logs.exp().tolist())
    assert found[["sold: no", "sold: yes"]].sum(axis=1).tolist() == pytest.approx([1] * ROWS)
    assert found[[f"stars: {star}" for star in range(1, 6)]].sum(axis=1).tolist() == pytest.approx([1] * ROWS)
    assert (found["sold"] == np.where(found["sold: yes"] > found["sold: no"], "yes", "no")).all()
    assert set(found["stars"]) <= set("12345")


def test_labels_in_their_unit_are_the_tables(saved: TableTransform) -> None:
    labels = saved.labels(frame())
    price = next(target for target in saved.targets if target.name == "price")
    assert price.in_unit(labels["price"]).tolist() == pytest.approx(frame()["price"].tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows.drop(columns="area"), r"in the table; it lacks 'area' \(numbers\)\."),
        (lambda rows: rows.rename(columns={"town": "twon"}), r"it lacks 'town' \(words\)\. Is 'town' called 'twon' there\?"),
        (lambda rows: rows.assign(rent="much"), r"a number such as 1234\.5 € in column 'rent'; got 'much' in row 1"),
        (lambda rows: rows.assign(area="120 m"), r"a number such as 1234\.5 in column 'area'; got '120 m' in row 1"),
        (lambda rows: rows.assign(day="soon"), r"a date such as 31\.01\.2026 in column 'day'; got 'soon' in row 1"),
        (lambda rows: rows.assign(sold="maybe"), r"one of the classes no, yes in column 'sold'; got 'maybe' in row 1"),
    ],
    ids=["a column is missing", "another name", "a word for money", "a unit", "no date", "another class"],
)
def test_rows_that_do_not_fit(saved: TableTransform, change: Callable, sentence: str) -> None:
    rows = change(frame())
    with pytest.raises(InputError, match=sentence):
        torch.cat([saved.transform(rows), *(labels.unsqueeze(1) for labels in saved.labels(rows).values())], 1)


def test_what_was_not_in_training_is_no_error(saved: TableTransform) -> None:
    """An empty cell is the mean, an unknown word none of the words, a far number the last that counts."""
    odd = frame().assign(area=np.nan, town="Rom", age=1e30)
    inputs = saved.transform(odd)
    assert bool(inputs.isfinite().all())
    assert float(inputs.abs().max()) < 30
    assert set(inputs[:, 0].tolist()) == {0.0}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": 1}', '{"version": 9}', '{"version": 1, "inputs": [3], "targets": []}']
)
def test_another_text_is_no_transform(text: str) -> None:
    with pytest.raises(InputError, match="Expected a table's transform"):
        TableTransform.from_json(text)
