"""The measures over which published Δm averages."""

from collections.abc import Mapping
from typing import NamedTuple

KPI = "KPI"
"""The name that refers to the task's KPI."""


class PublishedMeasure(NamedTuple):
    """A measure over which published Δm averages.

    Args:
        name: one of the task's metrics, or "KPI" for its KPI.
        higher_is_better: False for errors.
        single_task: the published value of a single-task network, in the unit of the metric; None if there is none.

    Example:
        >>> PublishedMeasure("relative error", higher_is_better=False, single_task=0.278).name
        'relative error'
    """

    name: str
    higher_is_better: bool
    single_task: float | None = None


Measures = Mapping[str, tuple[PublishedMeasure, ...]]
"""By task."""
