"""KPIs: measures of a task's performance as a number in [0, 1], and their moving average.

A measure is a function (output, target) → 0-d tensor, float32 or better. 1 is best; NaN means that nothing is labelled or
that the measure is undefined, and does not count as an observation. NaN or `ignore_index` marks a missing label, as in
`hardfirst.losses`. A measure has no gradient. Bind options with `functools.partial`:

>>> from functools import partial
>>> import torch
>>> kpi = partial(within, threshold=0.5)
>>> kpi(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.2, 2.9, torch.nan]))
tensor(0.5000)

Shares are masked sums rather than boolean indexing: no host sync, one compiled graph, and 0/0 is NaN if nothing is labelled.
"""

from hardfirst.kpi._accumulators import Accumulator
from hardfirst.kpi._classification import accuracy, auc, average_precision, balanced_accuracy, f1, gini, mean_iou
from hardfirst.kpi._metrics import from_metric
from hardfirst.kpi._moving import MovingKPI
from hardfirst.kpi._regression import angle_within, delta, r2, within, within_relative
from hardfirst.kpi._skipping import skipping, skips
from hardfirst.kpi._streaming import Streaming, streaming, streams

__all__ = [
    "Accumulator",
    "MovingKPI",
    "Streaming",
    "accuracy",
    "angle_within",
    "auc",
    "average_precision",
    "balanced_accuracy",
    "delta",
    "f1",
    "from_metric",
    "gini",
    "mean_iou",
    "r2",
    "skipping",
    "skips",
    "streaming",
    "streams",
    "within",
    "within_relative",
]
