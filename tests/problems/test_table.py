"""CSV tables: what becomes of their columns, and the error messages for tables that cannot be used."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hardfirst.errors import InputError
from hardfirst.problems import Problem, data_card, digest, load_problem, table_name
from hardfirst.training import check_problem

ROWS = 300


def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"home {row}" for row in range(ROWS)],
            "area": random.normal(100, 20, ROWS),
            "town": random.choice(["Ulm", "Bonn", "Köln"], ROWS),
            "country": "DE",
            "garden": random.random(ROWS) > 0.5,
            "age": np.where(np.arange(ROWS) % 10 == 0, np.nan, random.integers(0, 90, ROWS)),
            "price": random.normal(300, 50, ROWS),
            "sold": random.choice(["yes", "no"], ROWS),
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Problem]:
    def write(targets: str = "price:regression,sold:classification", split: str | None = None, **columns: object) -> Problem:
        path = tmp_path / "homes.csv"
        frame().assign(**columns).to_csv(path, index=False)
        return load_problem(table_name(str(path), targets, split=split))

    return write


def test_columns_become_inputs(table: Callable[..., Problem]) -> None:
    train = table().data().train
    # area; three towns; garden; age and whether it is missing. Not: id (all different), country (all the same)
    assert train.inputs.shape == (len(train), 7)  # type: ignore[union-attr, arg-type]
    area, towns, age, missing = (train.inputs[:, at] for at in (0, slice(1, 4), 5, 6))  # type: ignore[union-attr]
    assert float(area.mean()) == pytest.approx(0, abs=1e-5)
    assert float(area.std()) == pytest.approx(1, abs=1e-5)
    assert set(towns.sum(1).tolist()) == {1.0}
    assert set(age[missing == 1].tolist()) == {0.0}


def test_targets_keep_their_units_in_the_metrics(table: Callable[..., Problem]) -> None:
    problem = table()
    price, sold = problem.tasks
    target = problem.data().train[torch.arange(4)][1]["price"]  # type: ignore[index]
    spread = frame()["price"].std()
    mae = price.metrics["MAE"].measure(target + 1.0, target)
    assert float(mae) == pytest.approx(spread, rel=0.1), "an error of one standard deviation"
    assert (price.kpi_from, sold.kpi_from) == ("validation", "batch")
    assert problem.network()(torch.zeros(2, 7))["sold"].shape == (2, 2)


def test_missing_labels_are_missing(table: Callable[..., Problem]) -> None:
    rows = np.arange(ROWS)
    found = table(price=np.where(rows % 2, np.nan, rows)).data()
    splits = [found.train, found.validation, found.test]
    assert sum(int(split.targets["price"].isnan().sum()) for split in splits) == 150  # type: ignore[union-attr]
    with pytest.raises(InputError, match="Expected at least two classes in column 'sold'"):
        table(sold=np.where(rows % 3, "yes", None)).data()
    again = table(sold=np.where(rows % 3 == 0, None, np.where(rows % 2, "yes", "no"))).data()
    assert sum(int((split.targets["sold"] == -100).sum()) for split in (again.train, again.validation, again.test)) == 100  # type: ignore[union-attr]


def test_rows_that_are_alike_are_in_one_split(table: Callable[..., Problem]) -> None:
    pair = np.arange(ROWS) // 2
    same = {name: frame()[name].to_numpy()[pair] for name in ("id", "area", "town", "garden", "age")}
    found = table(**same).data()
    inputs = [{tuple(row) for row in split.inputs.tolist()} for split in (found.train, found.validation, found.test)]  # type: ignore[union-attr]
    assert not inputs[0] & inputs[1]
    assert not inputs[0] & inputs[2]
    assert not inputs[1] & inputs[2]
    assert [len(rows) / 150 for rows in inputs] == pytest.approx([0.6, 0.2, 0.2], abs=0.1)


def test_scales_come_from_the_training_rows(table: Callable[..., Problem]) -> None:
    before = table().data()
    held = {tuple(row) for row in before.test.inputs.tolist()}  # type: ignore[union-attr]
    assert held
    # the standardised training targets have mean 0 and spread 1; those of the test rows only nearly
    train, test = before.train.targets["price"], before.test.targets["price"]  # type: ignore[union-attr]
    assert (float(train.mean()), float(train.std())) == pytest.approx((0, 1), abs=1e-5)
    assert abs(float(test.mean())) > 1e-4


def test_kinds_are_guessed(table: Callable[..., Problem]) -> None:
    problem = table("price,sold,garden,age")
    assert [task.kpi.__name__ for task in problem.tasks] == ["r2", "accuracy", "accuracy", "r2"]  # type: ignore[attr-defined]
    check_problem(problem, "homes.csv")


def test_a_column_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    frame().rename(columns={"price": "price & co=?:€"}).to_csv(path, index=False)
    problem = load_problem(table_name(str(path), "price & co=?:€:regression"))
    assert problem.task_names == ("price & co=?:€",)
    check_problem(problem, "homes.csv")


def test_the_key_is_of_the_bytes_and_the_targets(table: Callable[..., Problem], tmp_path: Path) -> None:
    table()
    path = str(tmp_path / "homes.csv")
    one, other = digest(table_name(path, "price")), digest(table_name(path, "sold"))
    assert one != other
    table(area=1.0)
    assert digest(table_name(path, "price")) != one


def test_a_target_of_one_number(table: Callable[..., Problem]) -> None:
    with pytest.raises(InputError, match="Expected numbers that differ in column 'country'"):
        table("country:regression", country=3)


def test_infinite_numbers_are_missing_ones(table: Callable[..., Problem]) -> None:
    train = table(area=np.where(np.arange(ROWS) % 2, np.inf, np.arange(ROWS))).data().train
    assert bool(train.inputs.isfinite().all())  # type: ignore[union-attr]
    assert not math.isnan(float(train.inputs.sum()))  # type: ignore[union-attr]


# What was guessed, and what cannot be

NUMBERS = [f"{value:.2f}" for value in np.random.default_rng(1).normal(300, 50, ROWS)]


def cells(*words: str) -> list[str]:
    """Numbers, and these words in the last rows."""
    return [*NUMBERS[: ROWS - len(words)], *words]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (cells("unknown"), "row 300 has 'unknown'. Write numbers as 1234.5, empty the cells without one"),
        (cells("1,23,4"), "row 300 has '1,23,4'"),
        (cells("12 %"), "row 300 has '12 %'"),
        (cells("$5"), "row 300 has '$5'"),
    ],
)
def test_numbers_among_which_is_a_word_are_not_guessed(
    table: Callable[..., Problem], values: list[str], sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        table("price", price=values)
    assert "Is column 'price'" in str(error.value)
    assert sentence in str(error.value)
    with pytest.raises(InputError, match=r"Expected a number such as 1234\.5 in column 'price'.* in row 300"):
        table("price:regression", price=values).data()


@pytest.mark.parametrize("targets", ["price", "price:classification"])
def test_a_class_for_each_row_is_refused(table: Callable[..., Problem], targets: str) -> None:
    few = [*range(18), *[None] * (ROWS - 18)]
    for values in ([f"home {row}" for row in range(ROWS)], few):
        with pytest.raises(InputError, match=r"different values in .* rows with a label\. If they are numbers"):
            table(targets, price=values).data()


@pytest.mark.parametrize("word", ["NA", "None", "null", "n/a", "nan"])
def test_a_word_for_missing_is_a_class(table: Callable[..., Problem], word: str) -> None:
    """Only an empty cell has no label; a note says it."""
    rows = np.arange(ROWS)
    sold = np.where(rows % 3 == 0, word, np.where(rows % 3 == 1, "Attached", ""))
    splits = table("sold", sold=sold).data()
    labels = torch.cat([split.targets["sold"] for split in (splits.train, splits.validation, splits.test)])  # type: ignore[union-attr]
    assert sorted(labels.unique(return_counts=True)[1].tolist()) == [100, 100, 100]
    assert set(labels.tolist()) == {-100, 0, 1}


FAR = [(np.inf, "inf"), (1e300, "1e[+]300"), (-1e12, "-1e[+]12")]


@pytest.mark.parametrize(("value", "shown"), FAR)
def test_a_far_label_is_named(table: Callable[..., Problem], value: float, shown: str) -> None:
    """In whatever split its row is."""
    for row in range(0, 40, 4):
        values = frame()["price"].to_numpy().copy()
        values[row] = value
        with pytest.raises(InputError, match=f"Row {row + 1} of .*homes.csv has {shown} in column 'price'"):
            table("price", price=values).data()


@pytest.mark.parametrize("value", [value for value, _ in FAR])
@pytest.mark.parametrize("kind", ["normal", "mostly one number"])
def test_a_far_input_is_clipped(table: Callable[..., Problem], tmp_path: Path, value: float, kind: str) -> None:
    """The other rows' inputs hardly change, and the card says it. An infinite one counts as missing."""
    rows = np.arange(ROWS)
    values = frame()["area"].to_numpy().copy() if kind == "normal" else np.where(rows % 20 == 0, rows % 7, 0.0)
    for row in (4, 71):
        odd = values.copy()
        odd[row] = value
        inputs = table("price", area=odd).data().train.inputs[:, 0]  # type: ignore[union-attr]
        assert float(inputs.abs().max()) < 40
        assert len(inputs.unique()) > (100 if kind == "normal" else 4)
        notes = data_card(table_name(str(tmp_path / "homes.csv"), "price")).notes
        assert any(f"such as {value:g} in row {row + 1}." in note for note in notes) == np.isfinite(value)


def test_long_tails_are_not_far(table: Callable[..., Problem]) -> None:
    random = np.random.default_rng(0)
    table("price", price=np.exp(random.normal(0, 3, ROWS)), area=random.standard_cauchy(ROWS)).data()


@pytest.mark.parametrize(("kind", "values"), [("regression", 5.5), ("classification", "yes")])
def test_a_target_without_a_training_label(table: Callable[..., Problem], kind: str, values: object) -> None:
    labels = np.full(ROWS, None, dtype=object)
    labels[:10], labels[10:20] = values, 7.5 if kind == "regression" else "no"
    part = np.where(np.arange(ROWS) < 40, "test", np.where(np.arange(ROWS) % 2, "train", "validation"))
    with pytest.raises(
        InputError,
        match=r"No row of .* that serves for training has a label in column 'price'; of all its 300 rows 20 have one",
    ):
        table(f"price:{kind},sold", price=labels, part=part, split="part")


@pytest.mark.parametrize(
    ("header", "targets", "sentence"),
    [
        ("price,x,price,sold", "price", "Columns 1 and 3 of .* are both called 'price'"),
        ("price,x,y,sold", "price:regression,price:classification", "Column 'price' of .* is named twice"),
    ],
)
def test_a_header_that_cannot_be_meant(tmp_path: Path, header: str, targets: str, sentence: str) -> None:
    path = tmp_path / "homes.csv"
    path.write_text("\n".join([header, *(",".join([str(row)] * 4) for row in range(60))]))
    with pytest.raises(InputError, match=sentence):
        load_problem(table_name(str(path), targets))


def test_another_column_may_have_a_name_twice(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    path.write_text("\n".join(["price,x,x", *(f"{row},{row % 7},{row % 5}" for row in range(60))]))
    assert load_problem(table_name(str(path), "price")).task_names == ("price",)
    assert (
        "2 columns are called 'x'; all are inputs, the second as 'x.1'." in data_card(table_name(str(path), "price")).notes
    )


@pytest.mark.parametrize(
    ("column", "targets"), [("Price, EUR", '"Price, EUR":regression'), ("y:1", "y:1"), ("y:1", "y:1:regression")]
)
def test_a_name_with_commas_or_colons(tmp_path: Path, column: str, targets: str) -> None:
    path = tmp_path / "HOMES.CSV"
    frame().rename(columns={"price": column}).to_csv(path, index=False)
    assert load_problem(table_name(str(path), targets)).task_names == (column,)


def test_another_format_gets_a_sentence_without_targets_as_well(hardfirst: Callable[..., str]) -> None:
    printed = hardfirst("train", "homes.xls", code=2)
    assert "; got homes.xls. Save it as CSV or .parquet." in printed


def test_the_command_line_says_how_a_table_was_read(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    """Also of a file in capitals."""
    sold = np.where(np.arange(ROWS) % 3 == 0, "NA", np.where(np.arange(ROWS) % 3 == 1, "yes", ""))
    frame().assign(sold=sold).to_csv(tmp_path / "HOMES.CSV", index=False)
    with (tmp_path / "HOMES.CSV").open("a") as file:
        file.write("x,1\nTOTAL,400,,,,,,\n")
    printed = hardfirst("train", "HOMES.CSV", "--targets", "price,sold", "--drop", "age", "--epochs", "0", code=2)
    assert "HOMES.CSV: 302 rows, UTF-8 with commas. Splits: 17" in printed
    assert "HOMES.CSV: 3 columns (1 of numbers, 2 of words) are 6 inputs." in printed
    for sentence in (
        "Guessed: price is a regression, sold is a classification of 2 classes.",
        "Without a label: price in 2 of 302 rows, sold in 102 of 302 rows.",
        "In sold, 'NA' is a class; leave a cell empty where there is no label.",
        "No inputs: id (nearly all different, as names and identifiers are)",
        "1 of the 302 rows have fewer cells than the header, row 301 first",
        "The last row is mostly empty (TOTAL, 400); if it is a footer, remove it.",
    ):
        assert f"HOMES.CSV: {sentence}" in printed


def test_words_among_numbers_are_said(table: Callable[..., Problem], tmp_path: Path) -> None:
    """A few that stand for a missing number count as that; else all are words."""
    path = table_name(str(tmp_path / "homes.csv"), "price:regression,sold:classification")
    few = frame()["area"].round(2).astype(object)
    few[6], few[8] = "unknown", "?"
    problem = table(area=few, id=1)
    assert "In area, '?' and 'unknown' mean that a number is missing." in data_card(path).notes
    inputs = torch.cat([split.inputs for split in vars(problem.data()).values()])
    assert int((inputs[:, 0] == 0).sum()) == int(inputs[:, 1].sum()) == 2
    many = few.where(np.arange(ROWS) % 4 > 0, "unknown")
    table(area=many, id=1)
    assert (
        "Most cells of area are numbers, but row 1 has 'unknown': all are read as words. Write numbers as 1234.5."
        in data_card(path).notes
    )


def test_an_unknown_name_beside_one_with_a_comma(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    frame().rename(columns={"price": "Price, EUR"}).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"did you mean 'Price, EUR'\?.* Put a name with a comma in double quotes"):
        load_problem(table_name(str(path), "Price, EUR,sold"))


def test_of_a_plain_table_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    frame().drop(columns=["id", "country"]).to_csv(path, index=False)
    assert data_card(table_name(str(path), "price:regression,sold:classification")).notes == []
