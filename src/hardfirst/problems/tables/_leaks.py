"""Input columns that give a target away: a decision tree predicts it nearly perfectly from one column alone."""

from collections.abc import Iterator

import torch
from torch import Tensor

from hardfirst.problems.tables._guess import FittedTarget
from hardfirst.problems.tables._problem import Prepared
from hardfirst.problems.tables._targets import REGRESSION

_PERFECT = 0.99  # R², or the share of what the most frequent class leaves to be explained
_MOST_ROWS = 1000
_CELLS = 400_000  # rows × inputs that are looked at, for each target


def giveaways(prepared: Prepared) -> Iterator[str]:
    """Warn of each column from which alone half of the training rows tell a target of the others nearly perfectly."""
    inputs = prepared.data.inputs["train"]
    train = prepared.rows["train"]
    sampled = min(_MOST_ROWS, max(_CELLS // inputs.shape[1], 100))
    for found in prepared.targets.values():
        labels = found.labels[train]
        rows = (labels >= 0 if found.counts else ~labels.isnan()).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:sampled]]
        if len(rows) < 20:
            continue
        start, names = 0, []
        for column in prepared.data.transform.inputs:
            values = inputs[rows, start : start + column.width]
            start += column.width
            if _score(found, values, labels[rows]) >= _PERFECT:
                names.append(column.name)
        if names:
            target, listed = found.column.name, ", ".join(names)
            gives, it_is = ("gives", "it is") if len(names) == 1 else ("each give", "they are")
            yield (
                f"{listed} {gives} {target} away: a single column tells nearly all of it. If {it_is} not known yet when "
                f"{target} is to be predicted, leave out such columns by --drop."
            )


def _score(found: FittedTarget, values: Tensor, labels: Tensor) -> float:
    """How well a tree tells the second half of the rows, 1 at best.

    It is R² of the labels' ranks, or the share that the tree avoids of the errors of always saying the most frequent class.
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    half = len(labels) // 2
    regression = found.column.kind == REGRESSION
    tree = DecisionTreeRegressor(random_state=0) if regression else DecisionTreeClassifier(random_state=0)
    if regression:
        labels = labels.argsort().argsort()  # ranks: far labels would decide R² alone
    inputs, target = values.numpy(), labels.double().numpy()
    tree.fit(inputs[:half], target[:half])
    if regression:
        return float(tree.score(inputs[half:], target[half:]))  # R²
    rest, common = target[half:], torch.as_tensor(target[:half]).mode().values.item()
    errors = int((rest != common).sum())
    return 1 - int((rest != tree.predict(inputs[half:])).sum()) / errors if errors else 0.0
