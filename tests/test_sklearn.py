"""`MultiTaskEstimator` keeps scikit-learn's contract, and gives what `hardfirst train` gives."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from hardfirst.errors import InputError
from hardfirst.sklearn import MultiTaskEstimator

ROWS = 120

pytestmark = pytest.mark.filterwarnings("ignore::hardfirst.training.MeasureWarning")


def homes() -> tuple[pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(0)
    inputs = pd.DataFrame(
        {"area": random.normal(100, 20, ROWS), "town": random.choice(["Ulm", "Bonn"], ROWS)}, range(5, ROWS + 5)
    )
    inputs.loc[7, "area"] = np.nan
    price = 1000 * inputs["area"].fillna(100) + 30_000 * (inputs["town"] == "Ulm")
    targets = pd.DataFrame({"price": price, "rooms": (inputs["area"].fillna(100) // 40).astype(int)})
    targets["sold"] = np.where(price > 110_000, "no", "yes")
    targets.loc[9, "sold"] = None
    return inputs, targets


def quick(**settings: Any) -> MultiTaskEstimator:
    return MultiTaskEstimator(**{"epochs": 2, "random_state": 0, "accelerator": "cpu", **settings})


@pytest.mark.slow  # all checks together take 6 s
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([quick()])
def test_the_checks_of_scikit_learn(estimator: MultiTaskEstimator, check: Any) -> None:
    check(estimator)


def test_a_frame_of_numbers_classes_and_gaps() -> None:
    inputs, targets = homes()
    estimator = quick(epochs=40, learning_rate=0.01).fit(inputs, targets)
    predicted = estimator.predict(inputs)
    assert list(predicted) == ["price", "rooms", "sold"]
    assert predicted.index.equals(inputs.index)
    assert {name: kind.kind for name, kind in predicted.dtypes.items()} == {"price": "f", "rooms": "i", "sold": "U"} | {
        "sold": predicted["sold"].dtype.kind
    }
    assert set(predicted["sold"]) <= {"yes", "no"}
    shares = estimator.predict_proba(inputs)
    assert list(shares) == ["rooms", "sold"]
    assert (estimator.classes_["sold"][shares["sold"].argmax(1)] == predicted["sold"]).all()
    there = targets["sold"].notna()
    residual = ((predicted["price"] - targets["price"]) ** 2).sum() / (
        (targets["price"] - targets["price"].mean()) ** 2
    ).sum()
    parts = [
        1 - residual,
        (predicted["rooms"] == targets["rooms"]).mean(),
        (predicted["sold"] == targets["sold"])[there].mean(),
    ]
    assert estimator.score(inputs, targets) == pytest.approx(np.mean(parts))
    assert estimator.score(inputs, targets) > 0.8


@pytest.mark.parametrize("form", ["dict", "array", "one", "series"])
def test_predictions_have_the_form_of_the_targets(form: str) -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(ROWS, 3))
    table = np.stack([inputs.sum(1), inputs[:, 0]], axis=1)
    targets = {
        "dict": {"sum": table[:, 0], "sign": inputs[:, 0] > 0},
        "array": table,
        "one": table[:, 0],
        "series": pd.Series(inputs[:, 0] > 0, name="sign"),
    }[form]
    predicted = quick().fit(inputs, targets).predict(inputs)
    if form == "dict":
        assert {name: (column.shape, column.dtype.kind) for name, column in predicted.items()} == {
            "sum": ((ROWS,), "f"),
            "sign": ((ROWS,), "b"),
        }
    else:
        assert (predicted.shape, predicted.dtype.kind) == (np.shape(targets), "b" if form == "series" else "f")


def test_the_same_random_state_gives_the_same_network() -> None:
    inputs, targets = homes()
    one, other, third = (quick(random_state=seed).fit(inputs, targets).predict(inputs) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, other)
    assert (one["price"] != third["price"]).any()


def test_cloned_and_pickled() -> None:
    inputs, targets = homes()
    estimator = quick(balancer="dtp:gamma=2", recipe={"clip": 1.0}).fit(inputs, targets)
    assert clone(estimator).get_params() == estimator.get_params()
    assert not hasattr(clone(estimator), "trained_")
    again = pickle.loads(pickle.dumps(estimator))
    pd.testing.assert_frame_equal(again.predict(inputs), estimator.predict(inputs))
    assert estimator.record_.trial["balancer"] == "dtp:gamma=2"
    assert estimator.record_.trial["recipe"] == {"clip": 1.0}
    assert estimator.record_.test is None


def test_in_a_pipeline_and_a_search() -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(60, 3))
    targets = pd.DataFrame({"sum": inputs.sum(1), "sign": inputs[:, 0] > 0})
    pipeline = make_pipeline(ColumnTransformer([("scaled", StandardScaler(), [0, 1])]), quick())
    search = GridSearchCV(pipeline, {"multitaskestimator__balancer": ["equal", "dtp"]}, cv=2).fit(inputs, targets)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(cross_val_score(quick(), inputs, targets, cv=2)) == 2


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"balancer": "dpt"}, "Unknown balancer 'dpt'"),
        ({"targets": "price:regresion"}, "Unknown kind of target 'price': 'regresion'"),
        ({"targets": "cost"}, "Unknown column of the table: 'cost'"),
        ({"validation": 1}, "Expected `validation` to be below 1; got 1"),
        ({"network": "mmoe:expert=2"}, "expert"),
        ({"recipe": {"clip": -1}}, "clip"),
        ({"learning_rate": 1e30, "epochs": 9, "balancer": "equal"}, "The training diverged: .* Try a lower learning rate"),
    ],
    ids=["balancer", "kind", "column", "validation", "network", "recipe", "diverged"],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        quick(**settings).fit(*homes())


def test_data_that_does_not_fit() -> None:
    inputs, targets = homes()
    with pytest.raises(InputError, match="the targets not to be among the inputs; got price in both"):
        quick().fit(inputs.assign(price=1.0), targets)
    with pytest.raises(InputError, match="got 3"):
        quick().fit(np.zeros((8, 2)), np.zeros((8, 2, 2)))
    estimator = quick(targets="price").fit(inputs, targets)
    with pytest.raises(InputError, match="predict_proba is for classes, and all targets are numbers"):
        estimator.predict_proba(inputs)
    with pytest.raises(ValueError, match="The feature names should match"):
        estimator.predict(inputs.rename(columns={"area": "size"}))
