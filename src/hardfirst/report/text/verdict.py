"""What the runs say, in sentences; the terminal and the page print the same ones."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from hardfirst.report.model.case import EQUAL, Case
from hardfirst.report.model.summary import mean_task
from hardfirst.report.sections import orders
from hardfirst.report.text.interval_text import bounds, negative, points_of
from hardfirst.statistics import (
    Difference,
    Interval,
    compare_to,
    fewest_seeds,
    mean_interval,
    starvation_gap,
    worst_task,
)

_WORST, _MEAN = "on the worst task", "on the mean over tasks"
STATIC_IS_EQUAL = "The static weights chosen from the grid are equal weights: no others on it did better in validation."
_OUTCOMES = {"diverged": "diverged", "failed": "failed", None: "did not come to an end"}


def verdict(case: Case) -> list[str]:
    """Whether any method beats the baseline, on the worst task and on the mean over tasks, or on the one task there is.

    Every method is held against the baseline, equal weights for instance, seed by seed, and `compare_to` decides: a
    sign-flip permutation test with Holm's correction over the methods. Where seeds are too few for any result to be
    significant, the sentences give differences with their intervals and say how many seeds it takes. A method that beats it
    on the worst task is then held against the static weights chosen from a grid. Where there are single-task networks, a
    sentence names the tasks that are starved under equal weights.
    """
    return [*decisions(case), *circumstances(case)]


def decisions(case: Case) -> list[str]:
    """How each method stands to the baseline, and how that was decided."""
    return _against_baseline(case) if case.compares else [_no_comparison(case)]


def circumstances(case: Case) -> list[str]:
    """What orders of tasks do, which task is the worst, which are starved, and what did not finish."""
    return [*orders.sentences(case), *_worst_under_equal(case), *_starved(case), *_left_out(case)]


def _no_comparison(case: Case) -> str:
    runs = "This is a single run, no comparison. " if len(case.runs) == 1 else ""
    if case.baseline in case.methods:
        return f"{runs}There is nothing to compare {case.against} with: add another method."
    return f"{runs}There is nothing to compare {', '.join(case.methods)} with: add `{case.baseline}` to the methods."


def _scopes(case: Case) -> tuple[str, ...]:
    """What is decided: on the worst task and on the mean over tasks, which are one thing where there is one task."""
    return (_WORST, _MEAN) if len(case.tasks) > 1 else (f"on {case.tasks[0]}",)


def _against_baseline(case: Case) -> list[str]:
    static_is_equal = _static_is_equal(case)
    methods = _contenders(case) if static_is_equal else list(case.others)
    worst, mean = _differences(case, case.baseline, methods)
    few = [method for method in methods if worst[method].decision == "too few seeds"]
    judged = [method for method in methods if method not in few]
    winners = [method for method in judged if worst[method].decision == "better"]
    static = [] if static_is_equal else _against_static(case, winners)
    sentences = [*_decided(case, worst, mean, judged), *_undecided(case, worst, mean, few), *static]
    if static_is_equal:
        sentences.append(STATIC_IS_EQUAL)
    if any(found.interval.n > 1 for found in worst.values()):
        sentences.append(_how(case, len(methods), decided=bool(judged), static=len(_contenders(case)) if static else 0))
    return sentences


def _differences(case: Case, base: str, methods: Iterable[str]) -> tuple[Mapping[str, Difference], Mapping[str, Difference]]:
    """What the methods are above the base on the worst task, and on the mean over tasks."""
    points = {method: case.points(method) for method in methods}
    worst = compare_to(worst_task(case.points(base)), {method: worst_task(found) for method, found in points.items()})
    mean = compare_to(mean_task(case.points(base)), {method: mean_task(found) for method, found in points.items()})
    return worst, mean


def _static_is_equal(case: Case) -> bool:
    """Whether the static weights chosen from the grid are equal ones, so that both are the same runs.

    The choice was made on the tuning seed, so leaving them out of the tests picks nothing by the seeds that are tested.
    """
    runs = case.of(case.static) if case.static else []
    return bool(runs) and all(record.trial["balancer"] == EQUAL for record in runs)


def _against_static(case: Case, winners: list[str]) -> list[str]:
    """How those that beat equal weights on the worst task stand against static weights.

    The correction is over all methods, not over the winners, whom the same seeds picked.
    """
    if case.static is None or not winners:
        return []
    worst, _ = _differences(case, case.static, _contenders(case))
    return [_decision(method, "beats", _WORST, worst[method], "the static weights") for method in winners if method in worst]


def _contenders(case: Case) -> list[str]:
    """The methods that static weights are held against."""
    return [method for method in case.others if method != case.static]


def _decided(case: Case, worst: Mapping[str, Difference], mean: Mapping[str, Difference], methods: list[str]) -> list[str]:
    first, *second = _scopes(case)
    sentences = [_decision(method, "beats", first, worst[method], case.against) for method in methods]
    if methods and not any(worst[method].decision == "better" for method in methods):
        sentences.insert(0, f"{case.against[0].upper()}{case.against[1:]} was not beaten {first}.")
    return sentences + [
        _decision(method, "is above", scope, mean[method], case.against) for scope in second for method in methods
    ]


def _decision(method: str, better: str, where: str, difference: Difference, base: str) -> str:
    interval = difference.interval
    if difference.decision == "better":
        return f"{method} {better} {base} {where} by {points_of(interval)}."
    if difference.decision == "worse":
        return f"{method} is below {base} {where} by {points_of(negative(interval))}."
    if not interval.n:
        return f"No seed has a worst-task KPI of both {method} and {base}."
    few = "; too few seeds to tell" if difference.decision == "too few seeds" else ""
    return f"{method} cannot be told apart from {base} {where}: {points_of(interval, '+')}{few}."


def _undecided(case: Case, worst: Mapping[str, Difference], mean: Mapping[str, Difference], methods: list[str]) -> list[str]:
    first, *second = _scopes(case)
    counts = {method: worst[method].interval.n for method in methods}
    some = [method for method, n in counts.items() if n]
    sentences = [_distance(method, first, worst[method].interval, case.against) for method in some]
    sentences += [_distance(method, scope, mean[method].interval, case.against) for scope in second for method in some]
    sentences += [
        f"No seed has a worst-task KPI of both {method} and {case.against}." for method, n in counts.items() if not n
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


def _distance(method: str, where: str, difference: Interval, base: str) -> str:
    if round(difference.mean, 1) == 0:
        return f"{method} is level with {base} {where}: {points_of(difference, '+')}."
    side, distance = ("above", difference) if difference.mean > 0 else ("below", negative(difference))
    return f"{method} is {distance.mean:.1f} points {side} {base} {where}{bounds(distance)}, n = {distance.n}."


def _how(case: Case, methods: int, *, decided: bool, static: int) -> str:
    """What differences and their tests are; `static` is how many methods were tested against static weights."""
    bases = f"{case.against} and to the static weights" if static else case.against
    paired = f"Differences to {bases} are paired by seed, and each interval is at 95% by itself"
    if not decided:
        return f"{paired}."
    twice = " for the worst task and again for the mean" if len(_scopes(case)) > 1 else ""
    holm = f", Holm-corrected over {methods} methods{twice}" if methods > 1 else ""
    if static > 1:
        holm += f", and over {static} methods against the static weights"
    return f"{paired}; what counts as a difference is decided by a sign-flip permutation test at p ≤ 0.05{holm}."


def _worst_under_equal(case: Case) -> list[str]:
    points = case.points(case.baseline)
    points = points[~np.isnan(points).any(axis=1)]
    if not len(points) or len(case.tasks) == 1:
        return []
    worst = int(points.mean(axis=0).argmin())
    times = int((points.argmin(axis=1) == worst).sum())
    often = "" if times == len(points) else f"; it is the worst in {times} of {len(points)} seeds"
    kpi = points_of(mean_interval(points[:, worst]))
    return [f"Under {case.against} the worst task is {case.tasks[worst]} with {kpi}{often}."]


def _starved(case: Case) -> list[str]:
    """Which tasks lose by sharing under equal weights; nothing where no gap has an interval."""
    if not case.single or EQUAL not in case.methods:
        return []
    gaps = starvation_gap(case.single_points(), case.points(EQUAL))
    known = {task: gap for task, gap in zip(case.tasks, gaps, strict=True) if gap.n > 1}
    if not known:
        return []
    starved = sorted((task for task, gap in known.items() if gap.low > 0), key=lambda task: -known[task].mean)
    if not starved:
        task = max(known, key=lambda task: known[task].mean)
        largest = f"the largest gap to a single-task network is that of {task}, {points_of(known[task], '+')}"
        return [f"No task is shown to be starved under equal weights: {largest}."]
    gap = f"the {'gap' if len(starved) == 1 else 'largest gap'} is {points_of(known[starved[0]])}"
    what = (
        "is starved, that is, its single-task network does"
        if len(starved) == 1
        else ("are starved, that is, their single-task networks do")
    )
    return [f"Under equal weights {len(starved)} of {len(known)} tasks {what} better: {', '.join(starved)}; {gap}."]


def _left_out(case: Case) -> list[str]:
    runs = {f"the {len(found)} runs of {method}": found for method in case.methods if (found := case.of(method))}
    if case.single:
        runs[f"the {len(case.single)} single-task runs"] = list(case.single.values())
    sentences = []
    for whose, found in runs.items():
        ends = Counter(_OUTCOMES[record.outcome] for record in found if record.outcome != "finished")
        if ends:
            what = " and ".join(f"{count} {end}" for end, count in ends.items())
            sentences.append(f"Of {whose}, {what}; test figures leave out what did not finish.")
    return sentences
