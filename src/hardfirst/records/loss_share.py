"""Metrics of how a loss is distributed over examples."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class LossShare(NamedTuple):
    """The share of a loss that a metric gives: that of the hardest examples of one kind.

    Args:
        hardest: the percentage of the examples that count as the hardest.
        kind: the kind of example, such as "objects" or "background".
        under: the name of the loss; None for the loss that the network was trained with.

    Example:
        >>> LossShare(hardest=3, kind="background", under="focal_2")
        LossShare(hardest=3, kind='background', under='focal_2')
    """

    hardest: float
    kind: str
    under: str | None = None


LossShares = Mapping[str, Mapping[str, LossShare]]
"""By task and by the metric's name."""

_OLD_NAME = re.compile(r"loss in the hardest ([\d.]+) % of (.+?)(?: under (.+))?")


def from_old_names(metrics: Mapping[str, Iterable[str]]) -> LossShares:
    """Find the loss shares among metrics, by task, in a record written before records had the field `loss_shares`.

    Such a record has only the metric's name.

    >>> from_old_names({"boxes": ["AP", "loss in the hardest 3 % of background under focal_2"]})
    {'boxes': {'loss in the hardest 3 % of background under focal_2': LossShare(hardest=3.0, ...)}}
    """
    matches = {task: {name: _OLD_NAME.fullmatch(name) for name in names} for task, names in metrics.items()}
    return {
        task: {name: LossShare(float(match[1]), match[2], match[3]) for name, match in by_name.items() if match}
        for task, by_name in matches.items()
    }
