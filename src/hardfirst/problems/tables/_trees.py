"""Gradient-boosted trees on a table: the yardstick next to the single-task networks."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from hardfirst.problems._data import IGNORE
from hardfirst.problems._task import Task
from hardfirst.problems.tables._data import TableData
from hardfirst.problems.tables._problem import load, table_data
from hardfirst.problems.tables._targets import CLASSIFICATION, REGRESSION, TargetColumn


def tree_kpis(problem: str) -> dict[str, float]:
    """Train gradient-boosted trees for each target of a table, and measure them on the test split.

    They are scikit-learn's `HistGradientBoosting…` with its default settings: up to 100 trees (for each class), as many as
    are best by the KPI on the validation split. Rows and inputs are those of the networks.

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
    data, tasks = table_data(problem), load(problem).tasks
    targets = zip(tasks, data.transform.targets, data.choices, strict=True)
    return {task.name: _kpi(task, data, target, weighted=bool(choice.weights)) for task, target, choice in targets}


def _kpi(task: Task, data: TableData, target: TargetColumn, *, weighted: bool) -> float:
    inputs, labels = data.inputs, {split: table.targets[target.name] for split, table in data.tables.items()}
    known = labels["train"] != IGNORE if target.kind == CLASSIFICATION else ~labels["train"].isnan()
    trees = _fit(target, inputs["train"][known], labels["train"][known], weighted=weighted)
    if trees is None:
        return math.nan
    kpi = task.kpi_of_batch
    assert kpi is not None  # every target of a table has a KPI
    scores = [float(kpi(output, labels["validation"])) for output in _stages(trees, target, inputs["validation"])]
    best = max(range(len(scores)), key=lambda stage: (not math.isnan(scores[stage]), scores[stage]))
    (output,) = islice(_stages(trees, target, inputs["test"]), best, best + 1)
    return float(kpi(output, labels["test"]))


def _fit(target: TargetColumn, inputs: Tensor, labels: Tensor, *, weighted: bool) -> Any:
    """The trees; None where there is nothing to learn."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    options = {"early_stopping": False, "random_state": 0}  # the validation split decides instead
    if target.kind == REGRESSION:
        return HistGradientBoostingRegressor(**options).fit(inputs.numpy(), labels.numpy())
    if labels.min() == labels.max():
        return None
    weights = "balanced" if weighted else None
    return HistGradientBoostingClassifier(class_weight=weights, **options).fit(inputs.numpy(), labels.long().numpy())


def _stages(trees: Any, target: TargetColumn, inputs: Tensor) -> Iterator[Tensor]:
    """What a network's head would give, after each number of trees."""
    if target.kind == REGRESSION:
        for values in trees.staged_predict(inputs.numpy()):
            yield torch.as_tensor(values).float()
        return
    for shares in trees.staged_predict_proba(inputs.numpy()):
        probabilities = torch.zeros(len(inputs), len(target.classes), dtype=torch.float64)
        probabilities[:, torch.as_tensor(trees.classes_)] = torch.as_tensor(shares)
        yield _logits(probabilities, target)


def _logits(probabilities: Tensor, target: TargetColumn) -> Tensor:
    if target.kind == CLASSIFICATION:
        return probabilities.clamp(min=1e-12).log().float()
    above = probabilities.flip(1).cumsum(1).flip(1)[:, 1:]  # P(class > k), as an ordinal head has it
    return torch.logit(above, eps=1e-6).float()
