"""What the runs say, in sentences; the terminal and the page print the same ones."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from hardfirst.report.case import EQUAL, Case
from hardfirst.report.summary import mean_task
from hardfirst.studies.statistics import Difference, Interval, compare_to, fewest_seeds, mean_interval, worst_task

_WORST, _MEAN = "on the worst task", "on the mean over tasks"
_OUTCOMES = {"diverged": "diverged", "failed": "failed", None: "did not come to an end"}


def verdict(case: Case) -> list[str]:
    """Whether any method beats equal weights, on the worst task and on the mean over tasks.

    Every method is held against equal weights, seed by seed, and `compare_to` decides: a sign-flip permutation test with
    Holm's correction over the methods. Where seeds are too few for any result to be significant, the sentences give
    differences with their intervals and say how many seeds it takes.
    """
    sentences = _against_equal(case) if case.compares else [_no_comparison(case)]
    return [*sentences, *_worst_under_equal(case), *_left_out(case)]


def _no_comparison(case: Case) -> str:
    runs = "This is a single run, no comparison. " if len(case.runs) == 1 else ""
    if EQUAL in case.methods:
        return f"{runs}There is nothing to compare equal weights with: add another method."
    return f"{runs}There is nothing to compare {', '.join(case.methods)} with: add `equal` to the methods."


def _against_equal(case: Case) -> list[str]:
    equal = case.points(EQUAL)
    others = {method: case.points(method) for method in case.others}
    worst = compare_to(worst_task(equal), {method: worst_task(points) for method, points in others.items()})
    mean = compare_to(mean_task(equal), {method: mean_task(points) for method, points in others.items()})
    few = [method for method in others if worst[method].decision == "too few seeds"]
    judged = [method for method in others if method not in few]
    sentences = _decided(worst, mean, judged) + _undecided(worst, mean, few)
    if any(found.interval.n > 1 for found in worst.values()):
        sentences.append(_how(len(others), decided=bool(judged)))
    return sentences


def _decided(worst: Mapping[str, Difference], mean: Mapping[str, Difference], methods: list[str]) -> list[str]:
    sentences = [_decision(method, "beats", _WORST, worst[method]) for method in methods]
    if methods and not any(worst[method].decision == "better" for method in methods):
        sentences.insert(0, "Equal weights was not beaten on the worst task.")
    return sentences + [_decision(method, "is above", _MEAN, mean[method]) for method in methods]


def _decision(method: str, better: str, where: str, difference: Difference) -> str:
    if difference.decision == "better":
        return f"{method} {better} equal weights {where} by {_points(difference.interval)}."
    if difference.decision == "worse":
        return f"{method} is below equal weights {where} by {_points(_negative(difference.interval))}."
    return f"{method} cannot be told apart from equal weights {where}: {_points(difference.interval, '+')}."


def _undecided(worst: Mapping[str, Difference], mean: Mapping[str, Difference], methods: list[str]) -> list[str]:
    counts = {method: worst[method].interval.n for method in methods}
    some = [method for method, n in counts.items() if n]
    sentences = [_distance(method, _WORST, worst[method].interval) for method in some]
    sentences += [_distance(method, _MEAN, mean[method].interval) for method in some]
    sentences += [
        f"No seed has a worst-task KPI of both {method} and equal weights." for method, n in counts.items() if not n
    ]
    if some:
        most, same = max(counts.values()), len({counts[method] for method in some}) == 1
        n = f"{'' if same else 'at most '}{most} {'seed' if most == 1 else 'seeds'}"
        family = "1 method" if len(worst) == 1 else f"{len(worst)} methods"
        whose = f" of {' or '.join(some)}" if len(some) < len(worst) else ""
        sentences.append(
            f"With {n} and {family} no difference{whose} can be called significant; it takes at least "
            f"{fewest_seeds(len(worst))}."
        )
    return sentences


def _distance(method: str, where: str, difference: Interval) -> str:
    if round(difference.mean, 1) == 0:
        return f"{method} is level with equal weights {where}: {_points(difference, '+')}."
    side, distance = ("above", difference) if difference.mean > 0 else ("below", _negative(difference))
    return f"{method} is {distance.mean:.1f} points {side} equal weights {where}{_bounds(distance)}, n = {distance.n}."


def _negative(interval: Interval) -> Interval:
    return Interval(-interval.mean, -interval.high, -interval.low, interval.n)


def _points(interval: Interval, sign: str = "") -> str:
    return f"{interval.mean:{sign}z.1f} points{_bounds(interval, sign)}, n = {interval.n}"


def _bounds(interval: Interval, sign: str = "") -> str:
    spec = f"{sign}z.1f"
    return "" if np.isnan(interval.low) else f" [{interval.low:{spec}}, {interval.high:{spec}}]"


def _how(methods: int, *, decided: bool) -> str:
    paired = "Differences to equal weights are paired by seed, and each interval is at 95% by itself"
    if not decided:
        return f"{paired}."
    holm = f", Holm-corrected over {methods} methods for the worst task and again for the mean" if methods > 1 else ""
    return f"{paired}; what counts as a difference is decided by a sign-flip permutation test at p ≤ 0.05{holm}."


def _worst_under_equal(case: Case) -> list[str]:
    points = case.points(EQUAL)
    points = points[~np.isnan(points).any(axis=1)]
    if not len(points) or len(case.tasks) == 1:
        return []
    worst = int(points.mean(axis=0).argmin())
    times = int((points.argmin(axis=1) == worst).sum())
    often = "" if times == len(points) else f"; it is the worst in {times} of {len(points)} seeds"
    kpi = _points(mean_interval(points[:, worst]))
    return [f"Under equal weights the worst task is {case.tasks[worst]} with {kpi}{often}."]


def _left_out(case: Case) -> list[str]:
    sentences = []
    for method in case.methods:
        runs = case.of(method)
        ends = Counter(_OUTCOMES[record.outcome] for record in runs if record.outcome != "finished")
        if ends:
            what = " and ".join(f"{count} {end}" for end, count in ends.items())
            sentences.append(f"Of the {len(runs)} runs of {method}, {what}; test figures leave out what did not finish.")
    return sentences
