"""`MultiTaskEstimator`: multi-task training with scikit-learn's interface."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

try:
    import numpy as np
    import pandas as pd
    from sklearn.base import BaseEstimator
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.utils import check_consistent_length, check_random_state
    from sklearn.utils.multiclass import type_of_target
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    from hardfirst.errors import MissingPackage

    raise MissingPackage('hardfirst.sklearn needs scikit-learn 1.6 and pandas: pip install "hardfirst[cli]"') from None

import torch
from torch import Tensor

from hardfirst.balancers import Spec
from hardfirst.errors import InputError, number
from hardfirst.problems import OWN
from hardfirst.problems.tables import REGRESSION, frame_problem, label_text, targets_of
from hardfirst.trained import load
from hardfirst.training import Trial, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FEWEST = 5
_ONE = "target"
"""What the target is called where `y` has no names."""


class MultiTaskEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no type hints
    """Predicts several columns with one network, whose tasks a balancing method weighs.

    The table is prepared and the network trained as by `hardfirst train homes.csv`. A part of the rows is held out to choose
    the best epoch.

    Args:
        targets: what `y` holds, as the option `--targets`: "price:regression,sold:classification". Default: all columns of
            `y`, their kinds guessed.
        balancer: the spec of the method, such as "dtp:gamma=2" or "equal".
        network: "own", or the spec of a network in `hardfirst.networks.NETWORKS`.
        epochs: passes over the training rows. Default: about 2,000 steps, at most 100 epochs.
        learning_rate: of the optimizer. Default: 0.001.
        recipe: what to change in the training recipe, as `hardfirst.recipes.Recipe` has it: {"schedule": "cosine"}.
        validation: the share of rows that is held out to choose the epoch, between 0 and 1.
        accelerator: as in Lightning Fabric: "auto", "cpu", "cuda", "mps".
        random_state: decides which rows are held out, the first weights, and the order of the rows.

    Attributes:
        trained_: the `TrainedNetwork`.
        record_: the record of the run.
        classes_: by target with classes, these in the order of `predict_proba`.

    Example:
        >>> import numpy as np
        >>> random = np.random.default_rng(0)
        >>> X = random.normal(size=(200, 3))
        >>> y = {"sum": X.sum(1), "sign": np.where(X[:, 0] > 0, "plus", "minus")}
        >>> estimator = MultiTaskEstimator(epochs=30, random_state=0).fit(X, y)
        >>> predicted = estimator.predict(X)
        >>> sorted(predicted), estimator.classes_["sign"].tolist(), estimator.score(X, y) > 0.8
        (['sign', 'sum'], ['minus', 'plus'], True)
    """

    def __init__(
        self,
        targets: str | None = None,
        balancer: str = "dtp",
        *,
        network: str = OWN,
        epochs: int | None = None,
        learning_rate: float | None = None,
        recipe: Mapping[str, Any] | None = None,
        validation: float = 0.2,
        accelerator: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.targets = targets
        self.balancer = balancer
        self.network = network
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.recipe = recipe
        self.validation = validation
        self.accelerator = accelerator
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803  # scikit-learn's name
        """Train a network.

        Args:
            X: the inputs, a data frame or an array [rows, columns]; a missing number is NaN.
            y: the targets: a data frame, a dict of arrays by name, a series, or an array [rows] or [rows, targets].

        Raises:
            InputError: a setting, or what a column holds, is not what a target or input can be.
        """
        inputs, labels = self._inputs(X, reset=True), _labels(y)
        check_consistent_length(inputs, labels)
        if both := {*inputs} & {*labels}:
            raise InputError(f"Expected the targets not to be among the inputs; got {', '.join(sorted(both))} in both.")
        random = check_random_state(self.random_state)
        train, validation = self._split(len(inputs), random)
        targets = self._targets(labels)
        frame = pd.concat([inputs, labels[[*targets]].set_axis(inputs.index)], axis=1)
        problem = frame_problem(frame, targets, train, validation)
        trial = Trial.plan(
            problem.name,
            Spec.parse(self.balancer),
            seed=int(random.randint(2**31 - 1)),
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            network=self.network,
            recipe=dict(self.recipe or {}),
            loaded=problem,
        )
        with TemporaryDirectory() as name:
            model = Path(name) / "model.pt"
            record = Path(name) / "record.jsonl"
            self.record_ = fit(
                replace(trial, test=False), record_file=record, model=model, problem=problem, accelerator=self.accelerator
            )
            if self.record_.outcome != "finished":
                raise InputError(f"The training diverged: {self.record_.reason}. Try a lower learning rate.")
            self.trained_ = load(model)
        self._form, self._names = _form(y), list(targets)
        classes = {name: {label_text(value): value for value in labels[name].dropna().unique()} for name in targets}
        assert self.trained_.transform is not None
        self.classes_ = {
            target.name: np.array([classes[target.name][label] for label in target.classes])
            for target in self.trained_.transform.targets
            if target.kind != REGRESSION
        }
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        """Predict the targets: numbers in their unit, and classes.

        Returns:
            A data frame or a dict of arrays [rows] by target, as `y` was; else an array like `y`.
        """
        predicted = self._predicted(X)
        columns = {name: self._column(name, predicted) for name in self._names}
        if self._form == "dict":
            return columns
        if self._form == "frame":
            return pd.DataFrame(columns, index=predicted.index)
        return np.stack(list(columns.values()), axis=1) if self._form == "array" else columns[self._names[0]]

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        """Predict the probability of each class.

        Returns:
            By target with classes, [rows, classes] in the order of `classes_`; where `y` was one column, this array alone.

        Raises:
            InputError: no target has classes.
        """
        predicted = self._predicted(X)
        if not self.classes_:
            raise InputError("predict_proba is for classes, and all targets are numbers.")
        shares = {
            name: predicted[[f"{name}: {label_text(value)}" for value in classes.tolist()]].to_numpy()
            for name, classes in self.classes_.items()
        }
        return shares[self._names[0]] if self._form == "one" else shares

    def score(self, X: Any, y: Any) -> float:  # noqa: N803
        """The mean over targets of the accuracy, of a target with classes, or R². Rows without a label are left out."""
        predicted, labels = self._predicted(X), _labels(y)
        check_consistent_length(predicted, labels)
        scores = []
        for name in self._names:
            there = labels[name].notna().to_numpy()
            measure = accuracy_score if name in self.classes_ else r2_score
            scores.append(measure(labels[name].to_numpy()[there], self._column(name, predicted)[there]))
        return float(np.mean(scores))

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn should know of the estimator."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = tags.target_tags.multi_output = True
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags

    def _inputs(self, X: Any, *, reset: bool) -> "pd.DataFrame":  # noqa: N803
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X.set_axis([str(name) for name in X.columns], axis=1)
        array = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
        return pd.DataFrame(array, columns=[f"x{number}" for number in range(array.shape[1])]).infer_objects()

    def _targets(self, labels: "pd.DataFrame") -> dict[str, str]:
        """What is said of each target; a column of numbers that are not whole is a regression, however few differ."""
        targets = dict.fromkeys(labels, "") if self.targets is None else targets_of(self.targets, labels)
        return {name: text or (REGRESSION if _is_continuous(labels[name]) else "") for name, text in targets.items()}

    def _split(self, rows: int, random: Any) -> tuple[Tensor, Tensor]:
        """The rows for training and for validation."""
        share = number("validation", self.validation, above=0, below=1)
        if rows < _FEWEST:
            raise InputError(f"Expected at least {_FEWEST} rows; got n_samples = {rows}.")
        held_out = min(max(2, round(share * rows)), rows - 2)
        order = torch.as_tensor(random.permutation(rows))
        return order[held_out:].sort().values, order[:held_out].sort().values

    def _predicted(self, X: Any) -> "pd.DataFrame":  # noqa: N803
        check_is_fitted(self)
        return self.trained_.predict(self._inputs(X, reset=False))

    def _column(self, name: str, predicted: "pd.DataFrame") -> "NDArray[Any]":
        """A target's predictions as values of the type that `y` had."""
        if name not in self.classes_:
            return np.asarray(predicted[name])
        values = {label_text(value): value for value in self.classes_[name].tolist()}
        return np.array([values[label] for label in predicted[name]], dtype=self.classes_[name].dtype)


def _form(y: Any) -> str:
    """In which form the targets were given, and predictions are."""
    if isinstance(y, pd.DataFrame):
        return "frame"
    if isinstance(y, Mapping):
        return "dict"
    return "array" if np.ndim(y) == 2 else "one"


def _labels(y: Any) -> "pd.DataFrame":
    """The targets by name."""
    if y is None:
        raise InputError("MultiTaskEstimator requires y to be passed, but the target y is None.")
    if isinstance(y, pd.DataFrame | Mapping):
        labels = pd.DataFrame(y)
    elif isinstance(y, pd.Series):
        labels = y.to_frame(y.name if y.name is not None else _ONE)
    else:
        array = np.asarray(y)
        if array.ndim not in (1, 2):
            raise InputError(f"Expected y to have 1 or 2 dimensions; got {array.ndim}.")
        names = [_ONE] if array.ndim == 1 else [f"{_ONE} {number}" for number in range(array.shape[1])]
        labels = pd.DataFrame(array.reshape(len(array), -1), columns=names).infer_objects()
    return labels.set_axis([str(name) for name in labels.columns], axis=1).reset_index(drop=True)


def _is_continuous(labels: "pd.Series[Any]") -> bool:
    return bool(type_of_target(labels.dropna().to_numpy()) == "continuous")
