"""KPIs: how well a task does, as one number in [0, 1], and the moving average of it.

A measure is a function (output, target) → 0-d tensor, float32 or better: 1 is best, NaN says that nothing was labelled.
It has no gradient. Options are bound with `functools.partial`:

>>> from functools import partial
>>> import torch
>>> kpi = partial(within, threshold=0.5)
>>> kpi(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.2, 2.9, torch.nan]))
tensor(0.5000)

Shares are masked sums, not boolean indexing: no host sync, one compiled graph, and 0/0 is the NaN of nothing labelled.
"""

from hardfirst.kpi._classification import accuracy, auc, balanced_accuracy, gini, mean_iou
from hardfirst.kpi._metrics import from_metric
from hardfirst.kpi._moving import MovingKPI
from hardfirst.kpi._regression import angle_within, delta, r2, within, within_relative

__all__ = [
    "MovingKPI",
    "accuracy",
    "angle_within",
    "auc",
    "balanced_accuracy",
    "delta",
    "from_metric",
    "gini",
    "mean_iou",
    "r2",
    "within",
    "within_relative",
]
