"""The summary over tasks that adapters log agrees with the statistics of a report."""

import math

import pytest

from hardfirst.integrations._adapter import summarize_tasks
from hardfirst.statistics import delta_m, worst_task

TASKS = ("a", "b", "c")


@pytest.mark.parametrize("kpis", [(0.5, 0.8, 0.2), (0.5, math.nan, 0.2), (math.nan, 0.8, 0.2)])
@pytest.mark.parametrize("baselines", [(0.6, 0.7, 0.3), (0.6, 0.0, 0.3), (0.6, -0.1, 0.3), (0.6, math.nan, 0.3)])
def test_a_summary_over_tasks_is_that_of_the_statistics(kpis: tuple[float, ...], baselines: tuple[float, ...]) -> None:
    summary = summarize_tasks(dict(zip(TASKS, kpis, strict=True)), dict(zip(TASKS, baselines, strict=True)))
    expected = {
        "worst_task": float(worst_task([kpis])[0]),
        "mean_over_tasks": sum(kpis) / 3,
        "delta_m": float(delta_m([kpis], baselines)[0]),
    }
    assert summary == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_a_task_without_a_baseline_has_no_gain() -> None:
    assert math.isnan(summarize_tasks({"a": 0.5, "b": 0.8}, {"a": 0.5})["delta_m"])
