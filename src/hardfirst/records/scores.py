"""Scores: what epochs and runs are compared by on the validation split."""

import math
from collections.abc import Mapping
from typing import Any

from hardfirst.records.objective import Objective


def score(figures: Mapping[str, Mapping[str, Any]], criterion: str, prefix: str = "") -> float:
    """Compute the score for choosing runs and epochs, an objective of the KPIs.

    Args:
        figures: by task that has a KPI, as in a record.
        criterion: the text of an `Objective` over these tasks. It says what becomes of NaN: it is left out where a task has
            no labels, and counts as 0 where it has.
        prefix: of the figures' names: "" or `"validation_"`.

    Raises:
        InputError: the criterion is not an objective over these tasks.

    >>> figures = {"a": {"kpi": 0.5}, "b": {"kpi": 1.0}, "c": {"kpi": math.nan}}
    >>> score(figures, "mean"), score(figures, "worst"), score({**figures, "c": {"kpi": math.nan, "examples": 80}}, "mean")
    (0.75, 0.5, 0.5)
    """
    kpis = {task: float(values.get(f"{prefix}kpi", math.nan)) for task, values in figures.items()}
    undefined = [task for task, values in figures.items() if is_undefined(values, prefix)]
    return Objective.parse(criterion, kpis).value(kpis, undefined)


def is_undefined(figures: Mapping[str, Any], prefix: str = "") -> bool:
    """Return whether a task has labels but no KPI, like a correlation with a constant output.

    Args:
        figures: the task's, as in a record; the result is False for records that do not count examples.
        prefix: "" on the test split, `"validation_"` on the validation split.

    >>> is_undefined({"kpi": math.nan, "examples": 80}), is_undefined({"kpi": math.nan, "examples": 0})
    (True, False)
    """
    return math.isnan(figures.get(f"{prefix}kpi", 0.0)) and bool(figures.get(f"{prefix}examples", 0) > 0)
