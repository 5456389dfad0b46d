"""What the runs of a search measured, as the search itself and its page read it."""

import math
from collections.abc import Iterable, Sequence

from hardfirst.records.objective import Objective, hard_tasks
from hardfirst.records.run_record import Record
from hardfirst.records.scores import is_undefined


def figures(record: Record, measures: Sequence[Objective], *, test: bool = False) -> list[float]:
    """Return the value of each measure in points; NaN for a run that did not finish.

    Args:
        record: the run.
        measures: the objective and what is kept, without unknown hard tasks.
        test: read the test split in place of the validation split, both at the selected epoch.
    """
    if record.outcome != "finished":
        return [math.nan] * len(measures)
    kpis = {task: _test_kpi(record, task) if test else record.validation_kpi(task, undefined=0.0) for task in record.tasks}
    return [100 * measure.value(kpis) for measure in measures]


def measured_hard_tasks(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the tasks that the runs with equal weights find hard, by the mean of their validation KPIs over the runs.

    Runs that did not finish are left out; no task is hard if none finished.
    """
    finished = [record for record in records if record.outcome == "finished"]
    if not finished:
        return ()
    tasks = finished[0].tasks
    return hard_tasks({task: _mean([record.validation_kpi(task, undefined=0.0) for record in finished]) for task in tasks})


def _test_kpi(record: Record, task: str) -> float:
    undefined = record.test is not None and is_undefined(record.test["tasks"][task])
    return 0.0 if undefined else record.test_kpi(task)


def _mean(values: Sequence[float]) -> float:
    measured = [value for value in values if not math.isnan(value)]
    return sum(measured) / len(measured) if measured else math.nan
