"""The files that people have: with other separators, encodings, number formats and dates, or of another format."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems import data_card, load_problem, table_name
from hardfirst.records.table_card import InputCard

ROWS = 300
TARGETS = "price:regression,sold:classification"


def frame() -> pd.DataFrame:
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "area": random.normal(1500, 200, ROWS).round(2),
            "town": random.choice(["Ulm", "Köln", "Zürich"], ROWS),
            "price": random.normal(250_000, 50_000, ROWS).round(2),
            "sold": random.choice(["yes", "no"], ROWS),
        }
    )


def numbers(format_one: Callable[[float], str]) -> pd.DataFrame:
    """The table with its numbers written in another way."""
    return frame().assign(**{name: frame()[name].map(format_one) for name in ("area", "price")})


def english(value: float) -> str:
    return f"{value:,.2f}"


def continental(value: float) -> str:
    return english(value).translate(str.maketrans(",.", ".,"))


def csv(table: pd.DataFrame | None = None, encoding: str = "utf-8", **options: object) -> bytes:
    text = (frame() if table is None else table).to_csv(index=False, **options)
    return text.encode(encoding)


def binary(write: str, **options: object) -> Callable[[], bytes]:
    def content() -> bytes:
        pytest.importorskip({"to_excel": "openpyxl"}.get(write, "pyarrow"))
        file = io.BytesIO()
        getattr(frame(), write)(file, **options)
        return file.getvalue()

    return content


def tensors(path: Path, targets: str = TARGETS) -> list[Tensor]:
    splits = load_problem(table_name(str(path), targets)).data()
    tables = [splits.train, splits.validation, splits.test]
    return [tensor for table in tables for tensor in (table.inputs, *table.targets.values())]  # type: ignore[union-attr]


# Files that give the very tensors of the clean CSV: their cells are the same.
SAME: dict[str, tuple[str, Callable[[], bytes]]] = {
    "semicolons": ("csv", lambda: csv(sep=";")),
    "tabs": ("tsv", lambda: csv(sep="\t")),
    "bars": ("txt", lambda: csv(sep="|")),
    "capitals": ("CSV", csv),
    "byte-order mark": ("csv", lambda: csv(encoding="utf-8-sig")),
    "UTF-16": ("csv", lambda: csv(encoding="utf-16")),
    "UTF-16 without its mark": ("csv", lambda: csv(encoding="utf-16-le")),
    "cp1252": ("csv", lambda: csv(encoding="cp1252")),
    "line ends of Windows": ("csv", lambda: csv(lineterminator="\r\n")),
    "separators at the ends": ("csv", lambda: csv().replace(b"\n", b",\n").replace(b",\n", b"\n", 1)),
    "gzip": ("csv.gz", lambda: gzip.compress(csv())),
    "gzip of tabs in capitals": ("TSV.GZ", lambda: gzip.compress(csv(sep="\t"))),
    "parquet": ("parquet", binary("to_parquet", index=False)),
    "feather": ("feather", binary("to_feather")),
    "Excel": ("xlsx", binary("to_excel", index=False)),
    "JSON rows": ("json", lambda: json.dumps(frame().to_dict("records")).encode()),
    "JSON columns": ("json", lambda: json.dumps(frame().to_dict("list")).encode()),
    "JSON lines": ("jsonl", lambda: "\n".join(map(json.dumps, frame().to_dict("records"))).encode()),
    "JSON lines in gzip": ("jsonl.gz", lambda: gzip.compress(frame().to_json(orient="records", lines=True).encode())),
}
# Files whose numbers are written otherwise: the values are the same, the rows' hashes and so their splits are not.
WRITTEN: dict[str, bytes] = {
    "thousands": csv(numbers(english)),
    "thousands and decimal commas": csv(numbers(continental), sep=";"),
    "decimal commas, quoted": csv(numbers(lambda value: f"{value:.2f}".replace(".", ","))),
    "spaces between thousands": csv(numbers(lambda value: english(value).replace(",", " "))),
    "apostrophes between thousands": csv(numbers(lambda value: english(value).replace(",", "'"))),
    "euros": csv(numbers(lambda value: f"{continental(value)} €"), sep=";"),
    "dollars": csv(numbers(lambda value: f"${english(value)}")),
    "percent": csv(numbers(lambda value: f"{value} %")),
}


@pytest.mark.parametrize("name", SAME)
def test_a_file_of_another_form_gives_the_same_tensors(tmp_path: Path, name: str) -> None:
    suffix, content = SAME[name]
    (tmp_path / "clean.csv").write_bytes(csv())
    path = tmp_path / f"homes.{suffix}"
    path.write_bytes(content())
    problem = load_problem(table_name(str(path), TARGETS))
    assert problem.name == "homes"
    for found, expected in zip(tensors(path), tensors(tmp_path / "clean.csv"), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", WRITTEN)
def test_numbers_in_another_form_are_numbers(tmp_path: Path, name: str) -> None:
    path = tmp_path / "homes.csv"
    path.write_bytes(WRITTEN[name])
    card = data_card(table_name(str(path), "price,sold"))
    assert card is not None
    assert [column.kind for column in card.inputs] == ["number", "words"]
    price = card.targets[0]
    assert (price.kind, price.kpi) == ("regression", "R²")
    assert price.mean == pytest.approx(frame()["price"].mean(), rel=0.1)
    value = frame()["price"][0]
    assert any(note.startswith("In price, ") and note.endswith(f"is read as {value:.15g}.") for note in card.notes)
    transform = load_problem(table_name(str(path), "price,sold"))
    assert transform.task_names == ("price", "sold")


def test_points_between_thousands_follow_decimal_commas(tmp_path: Path) -> None:
    """Where other numbers of the file have decimal commas, 1.234 is 1234."""
    random = np.random.default_rng(0)
    area, size = random.integers(1000, 3000, ROWS), random.normal(5, 1, ROWS)
    columns = {"area": [f"{a:,}".replace(",", ".") for a in area], "size": [f"{s:.2f}".replace(".", ",") for s in size]}
    path = tmp_path / "homes.csv"
    path.write_bytes(csv(frame().drop(columns=["area", "price"]).assign(**columns, price=area), sep=";"))
    card = data_card(table_name(str(path), "price"))
    assert card is not None
    assert f"In area, {columns['area'][0]!r} is read as {area[0]}. Either mark may be meant." in card.notes
    assert "area gives price away" in card.notes[-1]


def dated(form: str, **others: object) -> bytes:
    days = pd.date_range("2023-12-01", periods=ROWS, freq="3D").strftime(form)
    return csv(frame().assign(day=days, **others))


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d %b %Y", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"]
)
def test_dates_become_their_days_and_cycles(tmp_path: Path, form: str) -> None:
    path = tmp_path / "homes.csv"
    path.write_bytes(dated(form))
    name = table_name(str(path), TARGETS)
    card = data_card(name)
    assert card is not None
    assert InputCard(name="day", kind="date", inputs=5) in card.inputs
    splits = load_problem(name).data()
    inputs = torch.cat([split.inputs for split in vars(splits).values()])[:, -5:]  # type: ignore[union-attr]
    days, year, week = inputs[:, 0], inputs[:, 1:3], inputs[:, 3:]
    assert len(days.unique()) == ROWS
    steps = days.sort().values.diff()
    assert float(steps.max() / steps.min()) == pytest.approx(1, rel=1e-3)
    for cycle in (year, week):
        torch.testing.assert_close(cycle.square().sum(1), torch.ones(ROWS))
    assert len(week[:, 0].round(decimals=4).unique()) == 7


def test_dates_whose_order_is_open_are_said(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    days = [f"0{row % 9 + 1}/0{row % 8 + 1}/2024" for row in range(ROWS)]
    path.write_bytes(csv(frame().assign(day=days)))
    card = data_card(table_name(str(path), TARGETS))
    assert card is not None
    assert "In day, '01/01/2024' is read with the month first; the dates do not show it." in card.notes


@pytest.mark.parametrize(
    ("values", "inputs", "note"),
    [
        (lambda rows: [f"a home number {row} by the river" for row in rows], 32, None),
        (lambda rows: [f"home {row % 57}" for row in rows], 50 + 32, None),
        (lambda rows: [f"home {row}" for row in rows], 0, "No inputs: other (nearly all different, as names and"),
        (list, 0, "No inputs: other (the rows' numbers)"),
        (lambda rows: [1 if row == 5 else None for row in rows], 0, "No inputs: other (more than 95% of the training rows"),
        (lambda rows: [None for _ in rows], 0, "No inputs: other (constant in training)"),
    ],
    ids=["text", "many words", "names", "row numbers", "mostly missing", "empty"],
)
def test_what_becomes_of_a_column(tmp_path: Path, values: Callable, inputs: int, note: str | None) -> None:
    path = tmp_path / "homes.csv"
    path.write_bytes(csv(frame().assign(other=values(range(ROWS)))))
    card = data_card(table_name(str(path), TARGETS))
    assert card is not None
    found = {column.name: column.inputs for column in card.inputs}.get("other", 0)
    assert found == inputs
    assert note is None or any(each.startswith(note) for each in card.notes)


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("a.csv", b"a,b\n1,2\n", "Expected at least 50 rows"),
        ("a.csv", b"\xff\xfe\x00\x01\x02", "cannot be read as a table"),
        ("a.csv.gz", b"a,b\n1,2\n", "cannot be read as a table: Not a gzipped file"),
        ("a.parquet", b"PAR1 and nothing else", r"is no \.parquet file of one table, or it is damaged"),
        ("a.xlsx", b"PK and nothing else", r"is no \.xlsx file of one table, or it is damaged|needs openpyxl: pip install"),
        ("a.json", b'{"a": 3}', "expected a list of rows"),
        ("a.json", b'[{"a": 1, "b": [1, 2]}]', "column 'b' holds lists or mappings"),
        ("a.jsonl", b'{"a": 1}\n{"a": ', "cannot be read as a table"),
    ],
    ids=str,
)
def test_a_file_that_is_no_table(tmp_path: Path, file: str, content: bytes, sentence: str) -> None:
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        load_problem(table_name(str(path), "a"))
