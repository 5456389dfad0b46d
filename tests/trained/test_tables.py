"""Networks that were trained on a table: their files are enough to predict new rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

import hardfirst
from hardfirst import records
from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.problems import load_problem, table_name
from hardfirst.problems.tables._problem import prepare
from hardfirst.trained import TrainedNetwork, export
from hardfirst.training import Trial, fit

TARGETS = "price:regression,sold:classification,stars:ordinal"


class Homes(NamedTuple):
    folder: Path
    record: records.Record
    test: pd.DataFrame
    trained: TrainedNetwork


def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    area, town = random.normal(100, 20, 400), random.choice(["Ulm", "Bonn", "Köln"], 400)
    price = 1000 * area + 50_000 * (town == "Köln") + random.normal(0, 5000, 400)
    stars = pd.cut(area, [-np.inf, 85, 100, 115, np.inf], labels=[1, 2, 3, 4]).astype(int)
    return pd.DataFrame(
        {"area": area, "town": town, "price": price, "sold": np.where(price > 110_000, "no", "yes"), "stars": stars}
    )


@pytest.fixture(scope="module", params=["own", "mmoe"])
def homes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Homes:
    """A trained network whose table is no longer there."""
    folder = tmp_path_factory.mktemp("homes")
    frame().to_csv(folder / "homes.csv", index=False)
    name = table_name(str(folder / "homes.csv"), TARGETS)
    trial = Trial.plan(name, Spec.parse("dtp"), epochs=3, network=request.param)
    record = fit(trial, record_file=folder / "record.jsonl", model=folder / "model.pt", accelerator="cpu")
    test = pd.read_csv(folder / "homes.csv").iloc[prepare(name).rows["test"].numpy()]
    test.to_csv(folder / "test.csv", index=False)
    (folder / "homes.csv").rename(folder / "old.csv")
    return Homes(folder, record, test, hardfirst.load(folder))


def test_predictions_for_the_test_rows_have_the_test_figures(homes: Homes) -> None:
    (homes.folder / "old.csv").rename(homes.folder / "homes.csv")
    problem = load_problem(table_name(str(homes.folder / "homes.csv"), TARGETS))
    (homes.folder / "homes.csv").rename(homes.folder / "old.csv")
    transform = homes.trained.transform
    assert transform is not None
    rows = transform.read(homes.folder / "test.csv")
    outputs, labels = homes.trained.outputs(transform.transform(rows)), transform.labels(rows)
    kpis = {task.name: float(task.kpi_of_batch(outputs[task.name], labels[task.name])) for task in problem.tasks}  # type: ignore[misc]
    assert kpis == {task: homes.record.test_kpi(task) for task in homes.record.tasks}
    predicted = homes.trained.predict(homes.folder / "test.csv")
    assert (predicted["sold"] == homes.test["sold"].to_numpy()).mean() == pytest.approx(kpis["sold"], abs=1e-7)
    error = (predicted["price"] - homes.test["price"].to_numpy()).abs().mean()  # type: ignore[operator]
    assert error == pytest.approx(homes.record.test_metrics("price")["MAE"], rel=1e-5)


def test_the_command_writes_classes_units_and_probabilities(
    homes: Homes, hardfirst: Callable[..., str], tmp_path: Path
) -> None:
    printed = hardfirst("predict", str(homes.folder), str(homes.folder / "test.csv"), "--out", "here.csv")
    assert f"The predictions of {len(homes.test)} examples: here.csv" in printed
    predicted = pd.read_csv(tmp_path / "here.csv")
    stars = [f"stars: {star}" for star in range(1, 5)]
    assert list(predicted) == ["price", "sold", "sold: no", "sold: yes", "stars", *stars]
    assert set(predicted["sold"]) <= {"yes", "no"}
    np.testing.assert_allclose(predicted[["sold: no", "sold: yes"]].sum(axis=1), 1)
    assert predicted["price"].between(10_000, 300_000).all()


def test_a_data_frame_keeps_its_index_and_needs_no_targets(homes: Homes) -> None:
    rows = homes.test[["town", "area"]].iloc[::-1]
    predicted = homes.trained.predict(rows)
    assert isinstance(predicted, pd.DataFrame)
    assert predicted.index.equals(rows.index)
    whole = homes.trained.predict(homes.test)
    pd.testing.assert_frame_equal(predicted, whole.loc[rows.index], rtol=1e-4)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (frame().drop(columns="area"), r"lacks 'area' \(numbers\)"),
        (frame().rename(columns={"town": "twon"}), "Is 'town' called 'twon' there"),
        (frame().assign(area="wide"), "a number such as 1234.5 in column 'area'; got 'wide' in row 1"),
        (frame().iloc[:0], "at least one new row; got none"),
        (torch.rand(3, 4), "new rows as a data frame or the path of a file; got Tensor"),
        ("nothing.csv", "There is no file nothing.csv"),
    ],
    ids=["missing", "renamed", "word", "empty", "tensor", "no file"],
)
def test_rows_that_are_not_those_of_training(homes: Homes, rows: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        homes.trained.predict(rows)


@pytest.mark.slow
def test_a_network_of_a_table_is_exported(homes: Homes, tmp_path: Path) -> None:
    inputs = torch.randn(5, homes.trained.transform.width)  # type: ignore[union-attr]
    exported = torch.export.load(export(homes.trained, tmp_path / "model.pt2")).module()
    for task, output in homes.trained.outputs(inputs).items():
        torch.testing.assert_close(exported(inputs)[task], output)


def test_a_damaged_transform_gets_a_sentence(homes: Homes, tmp_path: Path) -> None:
    content = torch.load(homes.folder / "model.pt", weights_only=True)
    content["about"] = content["about"].replace('\\"deviation\\"', '\\"deviatoin\\"')
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match="Expected a table's transform as JSON"):
        hardfirst.load(tmp_path)
