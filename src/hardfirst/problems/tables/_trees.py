"""Gradient-boosted trees on a table: the yardstick next to the single-task networks."""

import math

import torch
from torch import Tensor

from hardfirst.problems._base import Problem
from hardfirst.problems._data import IGNORE
from hardfirst.problems.tables._guess import FittedTarget
from hardfirst.problems.tables._problem import Prepared, load, prepare
from hardfirst.problems.tables._targets import CLASSIFICATION, REGRESSION


def tree_kpis(problem: str) -> dict[str, float]:
    """Train gradient-boosted trees for each target of a table, and measure them on the test split.

    They are scikit-learn's `HistGradientBoosting…` with its default settings, which see the same rows and inputs as the
    networks, the test split once, and the validation split never.

    Args:
        problem: a name from `table_name`.

    Returns:
        By target, the test KPI; NaN where the training rows have labels of one class only.

    Raises:
        InputError: as in `load_problem`.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> from hardfirst.problems import table_name
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = f"{folder}/squares.csv"
        ...     pd.DataFrame({"side": range(2, 300), "area": [side**2 for side in range(2, 300)]}).to_csv(file, index=False)
        ...     tree_kpis(table_name(file, "area"))["area"] > 0.9
        True
    """
    prepared, loaded = prepare(problem), load(problem)
    return {name: _kpi(loaded, prepared, name, target) for name, target in prepared.targets.items()}


def _kpi(problem: Problem, prepared: Prepared, name: str, target: FittedTarget) -> float:
    labels = {split: target.labels[rows] for split, rows in prepared.rows.items()}
    known = labels["train"] != IGNORE if target.column.kind == CLASSIFICATION else ~labels["train"].isnan()
    train = prepared.splits.train[known.nonzero().squeeze(1)][0]
    output = _output(target, train, labels["train"][known], prepared.splits.test[:][0])
    if output is None:
        return math.nan
    kpi = next(task.kpi for task in problem.tasks if task.name == name)
    return float(kpi(output, labels["test"]))


def _output(target: FittedTarget, inputs: Tensor, labels: Tensor, test: Tensor) -> Tensor | None:
    """What a network's head would give for the test rows; None where there is nothing to learn."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    if target.column.kind == REGRESSION:
        regressor = HistGradientBoostingRegressor(random_state=0).fit(inputs.numpy(), labels.numpy())
        return torch.as_tensor(regressor.predict(test.numpy())).float()
    if len(labels.unique()) < 2:
        return None
    weights = "balanced" if target.choice.weights else None
    trees = HistGradientBoostingClassifier(class_weight=weights, random_state=0).fit(inputs.numpy(), labels.long().numpy())
    probabilities = torch.zeros(len(test), len(target.column.classes), dtype=torch.float64)
    probabilities[:, torch.as_tensor(trees.classes_)] = torch.as_tensor(trees.predict_proba(test.numpy()))
    if target.column.kind == CLASSIFICATION:
        return probabilities.clamp(min=1e-12).log().float()
    above = probabilities.flip(1).cumsum(1).flip(1)[:, 1:]  # P(class > k), as an ordinal head has it
    return torch.logit(above, eps=1e-6).float()
