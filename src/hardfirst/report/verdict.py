"""What the runs say, in sentences; the terminal and the page print the same ones."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from hardfirst.record import Record
from hardfirst.report.comparison import EQUAL, Comparison, arrange
from hardfirst.report.summary import mean_task
from hardfirst.studies.statistics import Interval, mean_interval, paired_interval, worst_task

FEWEST_SEEDS = 3
_OUTCOMES = {"diverged": "diverged", "failed": "failed", None: "did not come to an end"}


def verdict(records: Iterable[Record]) -> list[str]:
    """Whether any method beats equal weights, on the worst task and on the mean over tasks.

    Every method is held against equal weights, seed by seed. With m methods each interval of a difference is at level
    1 − 0.05/m (Bonferroni), and only an interval that leaves out zero decides anything.

    Raises:
        InputError: the records do not belong into one comparison.
    """
    comparison = arrange(records)
    sentences = _against_equal(comparison) if comparison.compares else [_no_comparison(comparison)]
    return [*sentences, *_worst_under_equal(comparison), *_left_out(comparison)]


def _no_comparison(comparison: Comparison) -> str:
    runs = "This is a single run, no comparison. " if len(comparison.runs) == 1 else ""
    if EQUAL in comparison.methods:
        return f"{runs}There is nothing to compare equal weights with: add another method."
    return f"{runs}There is nothing to compare {', '.join(comparison.methods)} with: add `equal` to the methods."


def _against_equal(comparison: Comparison) -> list[str]:
    level = 1 - 0.05 / len(comparison.others)
    equal = comparison.points(EQUAL)
    worst, mean = {}, {}
    for method in comparison.others:
        points = comparison.points(method)
        worst[method] = paired_interval(worst_task(points), worst_task(equal), level)
        mean[method] = paired_interval(mean_task(points), mean_task(equal), level)
    judged = [method for method in comparison.others if worst[method].n >= FEWEST_SEEDS]
    sentences = [_sentence(method, "beats", "on the worst task", worst[method]) for method in judged]
    if judged and not any(worst[method].low > 0 for method in judged):
        sentences.insert(0, "Equal weights was not beaten on the worst task.")
    sentences += [_sentence(method, "is above", "on the mean over tasks", mean[method]) for method in judged]
    if judged:
        sentences.append(_level(level, len(comparison.others)))
    return [*sentences, *_too_few(worst)]


def _sentence(method: str, better: str, where: str, difference: Interval) -> str:
    if difference.low > 0:
        return f"{method} {better} equal weights {where} by {_points(difference)}."
    if difference.high < 0:
        loss = Interval(-difference.mean, -difference.high, -difference.low, difference.n)
        return f"{method} is below equal weights {where} by {_points(loss)}."
    return f"{method} cannot be told apart from equal weights {where}: {_points(difference, '+')}."


def _points(interval: Interval, sign: str = "") -> str:
    spec = f"{sign}z.1f"
    bounds = "" if np.isnan(interval.low) else f" [{interval.low:{spec}}, {interval.high:{spec}}]"
    return f"{interval.mean:{spec}} points{bounds}, n = {interval.n}"


def _level(level: float, methods: int) -> str:
    paired = "Differences to equal weights are paired by seed; their intervals are at"
    if methods == 1:
        return f"{paired} 95%."
    return (
        f"{paired} {100 * level:.4g}% each, so that for the worst task, and again for the mean, those of all {methods} "
        "methods hold together at 95% (Bonferroni)."
    )


def _too_few(differences: dict[str, Interval]) -> list[str]:
    few = [f"{method} (n = {found.n})" for method, found in differences.items() if found.n < FEWEST_SEEDS]
    if not few:
        return []
    return [
        f"Too few seeds for a verdict on {', '.join(few)}: it takes at least {FEWEST_SEEDS} with which both the method and "
        "equal weights finished."
    ]


def _worst_under_equal(comparison: Comparison) -> list[str]:
    points = comparison.points(EQUAL)
    points = points[~np.isnan(points).any(axis=1)]
    if not len(points) or len(comparison.tasks) == 1:
        return []
    worst = int(points.mean(axis=0).argmin())
    times = int((points.argmin(axis=1) == worst).sum())
    often = "" if times == len(points) else f"; it is the worst in {times} of {len(points)} seeds"
    kpi = _points(mean_interval(points[:, worst]))
    return [f"Under equal weights the worst task is {comparison.tasks[worst]} with {kpi}{often}."]


def _left_out(comparison: Comparison) -> list[str]:
    sentences = []
    for method in comparison.methods:
        runs = comparison.of(method)
        ends = Counter(_OUTCOMES[record.outcome] for record in runs if record.outcome != "finished")
        if ends:
            what = " and ".join(f"{count} {end}" for end, count in ends.items())
            sentences.append(f"Of the {len(runs)} runs of {method}, {what}; test figures leave out what did not finish.")
    return sentences
