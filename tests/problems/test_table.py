"""CSV tables: what becomes of their columns, and the error messages for tables that cannot be used."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from hardfirst.errors import InputError
from hardfirst.problems import Problem, digest, load_problem, table_name
from hardfirst.problems.tables._card import table_notes
from hardfirst.problems.tables._splits import _by_hash
from hardfirst.problems.tables._name import TableName
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
    def write(targets: str = "price:regression,sold:classification", **columns: object) -> Problem:
        path = tmp_path / "homes.csv"
        frame().assign(**columns).to_csv(path, index=False)
        return load_problem(table_name(str(path), targets))

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


@pytest.mark.parametrize(
    ("targets", "columns", "sentence"),
    [
        ("prize:regression", {}, "'prize'; did you mean 'price'? Known: id, area, town"),
        ("price:regresion", {}, "Unknown kind of target 'price': 'regresion'; did you mean 'regression'?"),
        ("town:regression", {}, "Expected numbers in column 'town'"),
        ("country:classification", {}, "Expected at least two classes in column 'country'"),
        ("country:regression", {"country": 3}, "Expected numbers that differ in column 'country'"),
        ("", {}, "Which columns of"),
        ("price", dict.fromkeys(("area", "town", "garden", "age", "sold"), 1), "is left to predict from"),
    ],
)
def test_what_is_wrong_with_a_table(table: Callable[..., Problem], targets: str, columns: dict, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        table(targets, **columns).data()
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n", "Expected at least 50 rows"),
        ("", "cannot be read as a table: No columns to parse from file"),
        ("a,b\n" + "1,2,3\n1,2\n1,2,3,4\n" * 30, "cannot be read as a table"),
        (b"\xff\xfe\x00\x01", "cannot be read as a table"),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    path = tmp_path / "homes.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=sentence):
        load_problem(table_name(str(path), "a"))
    with pytest.raises(InputError, match=r"There is no file nowhere\.csv"):
        load_problem("nowhere.csv?a=")


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
        ([f"1,{value[:3]}" for value in NUMBERS], "row 1 has '1,"),
        (cells("12 %"), "row 300 has '12 %'"),
        (cells("$5"), "row 300 has '$5'"),
        ([f"{value} €" for value in NUMBERS], "€'"),
    ],
)
def test_numbers_among_which_is_a_word_are_not_guessed(
    table: Callable[..., Problem], values: list[str], sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        table("price", price=values)
    assert "Is column 'price'" in str(error.value)
    assert sentence in str(error.value)
    with pytest.raises(InputError, match=r"Expected numbers in column 'price'.* in row"):
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


@pytest.mark.parametrize(("value", "shown"), [(np.inf, "inf"), (1e300, "1e[+]300"), (-1e12, "-1e[+]12")])
@pytest.mark.parametrize("column", ["price", "area"])
def test_a_far_number_is_named(table: Callable[..., Problem], column: str, value: float, shown: str) -> None:
    """In whatever split its row is. An infinite input is a missing one."""
    if column == "area" and np.isinf(value):
        return
    for row in range(0, 40, 4):
        values = frame()[column].to_numpy().copy()
        values[row] = value
        with pytest.raises(InputError, match=f"Row {row + 1} of .*homes.csv has {shown} in column '{column}'"):
            table("price", **{column: values}).data()


def test_a_far_number_among_equal_ones_is_named(table: Callable[..., Problem]) -> None:
    values = np.where(np.arange(ROWS) % 10 == 0, np.arange(ROWS) % 7, 0.0)
    table("price", area=values).data()
    values[5] = 1e12
    with pytest.raises(InputError, match=r"Row 6 of .*homes.csv has 1e[+]12 in column 'area'"):
        table("price", area=values).data()


def test_long_tails_are_not_far(table: Callable[..., Problem]) -> None:
    random = np.random.default_rng(0)
    table("price", price=np.exp(random.normal(0, 3, ROWS)), area=random.standard_cauchy(ROWS)).data()


@pytest.mark.parametrize(("kind", "values"), [("regression", 5.5), ("classification", "yes")])
def test_a_target_without_a_training_label(table: Callable[..., Problem], tmp_path: Path, kind: str, values: object) -> None:
    train = {tuple(row) for row in table().data().train.inputs.tolist()}  # type: ignore[union-attr]
    assert train
    labels = np.full(ROWS, None, dtype=object)
    others = split_rows(pd.read_csv(tmp_path / "homes.csv").drop(columns=["price", "sold"]))  # cells as they are read
    labels[others["test"].numpy()[:10]] = values
    labels[others["test"].numpy()[10:20]] = 7.5 if kind == "regression" else "no"
    with pytest.raises(
        InputError,
        match=r"No row of .* that serves for training has a label in column 'price'; of all its 300 rows 20 have one",
    ):
        table(f"price:{kind},sold", price=labels).data()


@pytest.mark.parametrize(
    ("header", "targets", "sentence"),
    [
        ("price,x,price,sold", "price", "Columns 1 and 3 of .* are both called 'price'"),
        ("price,x,y,sold", "price:regression,price:classification", "Column 'price' of .* is named twice"),
        ("price;x;y;sold", "price", "are separated by semicolons. Save it with commas"),
        ("price\tx\ty\tsold", "price", "are separated by tabs. Save it with commas"),
        ("price|x|y|sold", "price", "are separated by bars. Save it with commas"),
    ],
)
def test_a_header_that_cannot_be_meant(tmp_path: Path, header: str, targets: str, sentence: str) -> None:
    path = tmp_path / "homes.csv"
    separator = next(mark for mark in ",;\t|" if mark in header)
    path.write_text("\n".join([header, *(separator.join([str(row)] * 4) for row in range(60))]))
    with pytest.raises(InputError, match=sentence):
        load_problem(table_name(str(path), targets))


def test_another_column_may_have_a_name_twice(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    path.write_text("\n".join(["price,x,x", *(f"{row},{row % 7},{row % 5}" for row in range(60))]))
    assert load_problem(table_name(str(path), "price")).task_names == ("price",)


@pytest.mark.parametrize(
    ("column", "targets"), [("Price, EUR", '"Price, EUR":regression'), ("y:1", "y:1"), ("y:1", "y:1:regression")]
)
def test_a_name_with_commas_or_colons(tmp_path: Path, column: str, targets: str) -> None:
    path = tmp_path / "HOMES.CSV"
    frame().rename(columns={"price": column}).to_csv(path, index=False)
    assert load_problem(table_name(str(path), targets)).task_names == (column,)


@pytest.mark.parametrize("suffix", ["tsv", "txt", "csv.gz", "parquet", "xlsx", "json", "feather"])
def test_another_format_gets_a_sentence(hardfirst: Callable[..., str], suffix: str) -> None:
    for options in ([], ["--targets", "price"]):
        printed = hardfirst("train", f"homes.{suffix}", *options, code=2)
        assert f"Expected a table as a .csv file; got homes.{suffix}. Save it as CSV" in printed


def test_the_command_line_says_how_a_table_was_read(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    """Also of a file in capitals."""
    sold = np.where(np.arange(ROWS) % 3 == 0, "NA", np.where(np.arange(ROWS) % 3 == 1, "yes", ""))
    frame().assign(sold=sold).to_csv(tmp_path / "HOMES.CSV", index=False)
    with (tmp_path / "HOMES.CSV").open("a") as file:
        file.write("x,1\nTOTAL,400,,,,,,\n")
    printed = hardfirst("compare", "HOMES.CSV", "--targets", "price,sold", "--dry-run")
    for sentence in (
        "Guessed: price is a regression, sold is a classification of 2 classes.",
        "Without a label: price in 2 of 302 rows, sold in 102 of 302 rows.",
        "In sold, 'NA' is a class; leave a cell empty where there is no label.",
        "No inputs: id (nearly all different, as names, identifiers and dates are).",
        "1 of the 302 rows have fewer cells than the header, row 301 first",
        "The last row is mostly empty (TOTAL, 400); if it is a footer, remove it.",
    ):
        assert f"HOMES.CSV: {sentence}" in printed


def test_an_input_is_said_to_be_read_as_words(tmp_path: Path) -> None:
    """Words are no classes of a column that is to be a regression."""
    path = tmp_path / "homes.csv"
    columns = {name: frame()[name].astype(object) for name in ("area", "price")}
    for cells in columns.values():
        cells[6] = "unknown"
    frame().drop(columns=["id", "country"]).assign(**columns).to_csv(path, index=False)
    assert table_notes(table_name(str(path), "price:regression,sold:classification")) == [
        "Most cells of area are numbers, but row 7 has 'unknown': all are read as words. Write numbers as 1234.5.",
        "No inputs: area (nearly all different, as names, identifiers and dates are).",
    ]


def test_an_unknown_name_beside_one_with_a_comma(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    frame().rename(columns={"price": "Price, EUR"}).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"did you mean 'Price, EUR'\?.* Put a name with a comma in double quotes"):
        load_problem(table_name(str(path), "Price, EUR,sold"))


def test_of_a_plain_table_nothing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    frame().drop(columns=["id", "country"]).to_csv(path, index=False)
    assert table_notes(table_name(str(path), "price:regression,sold:classification")) == []
