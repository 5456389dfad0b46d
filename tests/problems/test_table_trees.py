"""Gradient-boosted trees as a yardstick of tables."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, r2_score

from hardfirst.problems import table_name
from hardfirst.problems.tables import tree_kpis
from hardfirst.problems.tables._problem import prepare
from hardfirst.records.trees import read_trees
from hardfirst.studies import trees

SIZES = ("small", "medium", "large", "huge")


@pytest.fixture
def homes(tmp_path: Path) -> Callable[[str], str]:
    random = np.random.default_rng(0)
    area, age = random.uniform(20, 200, 400), random.uniform(0, 80, 400)
    price = area * (100 - age) / 100 + random.normal(0, 8, 400)
    frame = pd.DataFrame({"area": area, "age": age, "price": price, "sold": np.where(price > 60, "yes", "no")})
    frame["size"] = np.array(SIZES)[np.digitize(area, (50, 100, 150))]
    frame.loc[:40, ["price", "sold"]] = None
    frame.to_csv(tmp_path / "homes.csv", index=False)
    return lambda targets: table_name(str(tmp_path / "homes.csv"), targets)


def test_kpis_are_those_of_sklearn_with_the_best_number_of_trees(homes: Callable[[str], str]) -> None:
    name = homes("price:regression,sold:classification")
    found, prepared = tree_kpis(name), prepare(name)
    inputs = {split: values.numpy() for split, values in prepared.data.inputs.items()}

    def labelled(task: str, split: str) -> tuple[np.ndarray, np.ndarray]:
        labels = prepared.targets[task].labels[prepared.rows[split]].numpy()
        known = labels >= 0 if task == "sold" else ~np.isnan(labels)
        return inputs[split][known], labels[known]

    options = {"early_stopping": False, "random_state": 0}
    models = {
        "price": (HistGradientBoostingRegressor(**options), r2_score),
        "sold": (HistGradientBoostingClassifier(**options), accuracy_score),
    }
    for task, (model, score) in models.items():
        model.fit(*labelled(task, "train"))
        by_split = {}
        for split in ("validation", "test"):
            rows, labels = labelled(task, split)
            by_split[split] = [score(labels, predicted) for predicted in model.staged_predict(rows)]
        assert found[task] == pytest.approx(by_split["test"][int(np.argmax(by_split["validation"]))], abs=1e-6)
        assert found[task] > 0.7


def test_an_ordinal_target_has_the_questions_of_its_head(homes: Callable[[str], str]) -> None:
    assert tree_kpis(homes("size:ordinal:order=small<medium<large<huge:kpi=accuracy,price"))["size"] > 0.9


def test_trees_are_trained_again_when_the_table_changes(homes: Callable[[str], str], tmp_path: Path) -> None:
    tables, path = {"homes": homes("price")}, tmp_path / "trees.json"
    trees.measure_all(tables, path)
    assert read_trees(path)["homes"].kpis == tree_kpis(tables["homes"])
    assert not trees.missing(tables, path)
    with (tmp_path / "homes.csv").open("a") as file:
        file.write("100,10,90,yes,medium\n")
    assert trees.missing(tables, path) == tables
    path.write_text('{"homes": 3}')
    assert trees.missing(tables, path) == tables
