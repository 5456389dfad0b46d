"""A yardstick for the networks of a table: gradient-boosted trees with scikit-learn's default settings."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from hardfirst.kpi._accumulators import of_batch
from hardfirst.problems._data import TensorTable
from hardfirst.problems.tables._measures import task
from hardfirst.problems.tables._name import is_table
from hardfirst.problems.tables._problem import prepare
from hardfirst.problems.tables._targets import CLASSIFICATION, ORDINAL, REGRESSION, TargetColumn
from hardfirst.records.table_card import TableCard

_MOST_CLASSES = 50  # each costs as much as a regression
_SURE = 20.0  # a logit


def with_trees(cards: Mapping[str, TableCard], problems: Mapping[str, str]) -> dict[str, TableCard]:
    """The cards with the test KPIs of gradient-boosted trees.

    Args:
        cards: by the problems' own names.
        problems: what each was loaded by.
    """
    return {name: _with_trees(card, tree_kpis(problems[name])) for name, card in cards.items()}


def _with_trees(card: TableCard, kpis: Mapping[str, float]) -> TableCard:
    targets = [target.model_copy(update={"trees": kpis.get(target.name)}) for target in card.targets]
    return card.model_copy(update={"targets": targets})


def tree_kpis(problem: str) -> dict[str, float]:
    """The test KPI of trees by target: one model for each, fitted to the training rows that have a label.

    Args:
        problem: a name from `table_name`.

    Returns:
        By target; one is missing if it has more than 50 classes, or its KPI is not defined.
    """
    assert is_table(problem)
    prepared = prepare(problem)
    train, test = prepared.splits.train, prepared.splits.test
    assert isinstance(train, TensorTable)
    assert isinstance(test, TensorTable)
    found = {}
    for name, target in prepared.targets.items():
        if len(target.column.classes) > _MOST_CLASSES:
            continue
        output = _output(target.column, train, test)
        measure = task(target.column, target.choice, target.counts).kpi
        value = math.nan if output is None or measure is None else float(of_batch(measure)(output, test.targets[name]))
        if not math.isnan(value):
            found[name] = value
    return found


def _output(target: TargetColumn, train: TensorTable, test: TensorTable) -> Tensor | None:
    """What a network would return for the test rows, by trees; None if the training labels are all alike."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    labels = train.targets[target.name]
    labelled = ~labels.isnan() if labels.is_floating_point() else labels >= 0
    if len(set(labels[labelled].tolist())) < 2:
        return None
    assert isinstance(train.inputs, Tensor)
    assert isinstance(test.inputs, Tensor)
    kind = HistGradientBoostingRegressor if target.kind == REGRESSION else HistGradientBoostingClassifier
    model = kind(random_state=0).fit(train.inputs[labelled].numpy(), labels[labelled].numpy())
    if target.kind == REGRESSION:
        return torch.as_tensor(model.predict(test.inputs.numpy())).float()
    classes = torch.as_tensor(model.classes_).long()
    chances = torch.zeros(len(test), len(target.classes), dtype=torch.float64)
    chances[:, classes] = torch.as_tensor(model.predict_proba(test.inputs.numpy()))
    if target.kind == ORDINAL:
        above = chances.argmax(1, keepdim=True) > torch.arange(target.outputs)
        return torch.where(above, _SURE, -_SURE)
    assert target.kind == CLASSIFICATION
    return chances.clamp(min=1e-12).log().float()
