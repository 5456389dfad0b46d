"""The verdict on a case, in sentences; the terminal and the page print the same ones."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from hardfirst.records.names import EQUAL
from hardfirst.report.model.case import Case
from hardfirst.report.model.scopes import Scope, rivals, scopes, static_for, static_is_equal
from hardfirst.report.text import orders
from hardfirst.report.text.interval_text import bounds_text, capitalized, count_text, negative, points_text
from hardfirst.statistics import Difference, Interval, fewest_seeds, mean_interval, paired_interval, starvation_gap

Differences = Mapping[str, Difference]
"""By method."""


def verdict(case: Case) -> list[str]:
    """Whether any method beats the baseline, on the worst task and on the mean over tasks, or on the only task.

    Every method is compared with the baseline, equal weights for instance, seed by seed, and `compare_to` decides: a
    sign-flip permutation test with Holm's correction over the methods. If no result could be significant with so few seeds,
    the sentences give differences with their intervals and say how many seeds are needed. Methods are also compared with the
    static weights that were chosen from a grid for the same measure, which is a second family of tests. If there are
    single-task networks, a sentence names the tasks that are starved under equal weights.
    """
    decisions = _against_baseline(case) if case.compares else [_no_comparison(case)]
    return [*decisions, *orders.sentences(case), *_worst_under_equal(case), *_starved(case), *_left_out(case)]


def _no_comparison(case: Case) -> str:
    runs = "This is a single run, no comparison. " if len(case.runs) == 1 else ""
    if case.baseline in case.methods:
        return f"{runs}There is nothing to compare {case.against} with."
    return f"{runs}There is nothing to compare {', '.join(case.methods)} with."


def _against_baseline(case: Case) -> list[str]:
    methods = rivals(case)
    by_scope = {scope: scope.differences(case, case.baseline, methods) for scope in scopes(case)}
    worst = next(iter(by_scope.values()))
    few = [method for method in methods if worst[method].decision == "too few seeds"]
    judged = [method for method in methods if method not in few]
    static = [sentence for scope, found in by_scope.items() for sentence in _against_static(case, scope, found)]
    sentences = [*_decided(case, by_scope, judged), *_undecided(case, by_scope, few), *_static_weights(case), *static]
    if not methods:
        sentences.insert(0, _no_comparison(case))
    if any(difference.interval.bounded for difference in worst.values()):
        tested = len(methods) if static else 0
        sentences.append(_how_decided(case, len(methods), decided=bool(judged), static=tested))
    return sentences


def _static_weights(case: Case) -> list[str]:
    """For each measure, how the static weights that were chosen for it differ from equal weights, or that they are these."""
    sentences = []
    for scope in scopes(case):
        static = static_for(case, scope)
        if static is None:
            continue
        difference = paired_interval(scope.points(case, static), scope.points(case, case.baseline))
        if static_is_equal(case, scope):
            sentences.append(f"{capitalized(static)} are equal weights: no other grid point did better in validation.")
        elif difference.n:
            size = points_text(difference, "+")
            sentences.append(f"{capitalized(static)} differ from {case.against} {scope.where} by {size}.")
    return list(dict.fromkeys(sentences))


def _against_static(case: Case, scope: Scope, found: Differences) -> list[str]:
    """How methods compare with the static weights for this measure: those that differ, and those that beat equal weights.

    The correction is over all methods, not over those that are named, which were selected by the same seeds.
    """
    static = static_for(case, scope)
    if static is None or static_is_equal(case, scope):
        return []
    return [
        _decision(method, "beats", scope.where, difference, static)
        for method, difference in scope.differences(case, static, found).items()
        if found[method].decision == "better" or difference.decision in ("better", "worse")
    ]


def _decided(case: Case, by_scope: Mapping[Scope, Differences], methods: Sequence[str]) -> list[str]:
    (first, worst), *others = by_scope.items()
    sentences = [_decision(method, "beats", first.where, worst[method], case.against) for method in methods]
    if methods and not any(worst[method].decision == "better" for method in methods):
        sentences.insert(0, f"{capitalized(case.against)} was not beaten {first.where}.")
    return sentences + [
        _decision(method, "is above", scope.where, differences[method], case.against)
        for scope, differences in others
        for method in methods
    ]


def _decision(method: str, better: str, where: str, difference: Difference, base: str) -> str:
    interval = difference.interval
    if difference.decision == "better":
        return f"{method} {better} {base} {where} by {points_text(interval)}."
    if difference.decision == "worse":
        return f"{method} is below {base} {where} by {points_text(negative(interval))}."
    if not interval.n:
        return f"No seed has a worst-task KPI of both {method} and {base}."
    few = "; too few seeds to tell" if difference.decision == "too few seeds" else ""
    return f"{method} cannot be told apart from {base} {where}: {points_text(interval, '+')}{few}."


def _undecided(case: Case, by_scope: Mapping[Scope, Differences], methods: Sequence[str]) -> list[str]:
    worst = next(iter(by_scope.values()))
    counts = {method: worst[method].interval.n for method in methods}
    paired = [method for method, n in counts.items() if n]
    sentences = [
        _distance(method, scope.where, differences[method].interval, case.against)
        for scope, differences in by_scope.items()
        for method in paired
    ]
    sentences += [
        f"No seed has a worst-task KPI of both {method} and {case.against}." for method, n in counts.items() if not n
    ]
    if paired:
        at_most = "" if len({counts[method] for method in paired}) == 1 else "at most "
        whose = f" of {' or '.join(paired)}" if len(paired) < len(worst) else ""
        sentences.append(
            f"With {at_most}{count_text(max(counts.values()), 'seed')} and {count_text(len(worst), 'method')} no "
            f"difference{whose} can be called significant; it takes at least {fewest_seeds(len(worst))}."
        )
    return sentences


def _distance(method: str, where: str, difference: Interval, base: str) -> str:
    if round(difference.mean, 1) == 0:
        return f"{method} is level with {base} {where}: {points_text(difference, '+')}."
    side, distance = ("above", difference) if difference.mean > 0 else ("below", negative(difference))
    return f"{method} is {distance.mean:.1f} points {side} {base} {where}{bounds_text(distance)}, n = {distance.n}."


def _how_decided(case: Case, methods: int, *, decided: bool, static: int) -> str:
    """How differences are tested; `static` is the number of methods that were tested against static weights."""
    bases = f"{case.against} and to static weights" if static else case.against
    paired = f"Differences from {bases} are paired by seed, with uncorrected 95% intervals"
    if not decided:
        return f"{paired}."
    twice = " for the worst task and again for the mean" if len(scopes(case)) > 1 else ""
    holm = f", Holm-corrected over {methods} methods{twice}" if methods > 1 else ""
    if static > 1:
        holm += f", and over {static} methods against static weights"
    return f"{paired}; a sign-flip permutation test at p ≤ 0.05 decides{holm}."


def _worst_under_equal(case: Case) -> list[str]:
    points = case.points(case.baseline)
    points = points[~np.isnan(points).any(axis=1)]
    if not len(points) or len(case.tasks) == 1:
        return []
    worst = int(points.mean(axis=0).argmin())
    times = int((points.argmin(axis=1) == worst).sum())
    often = "" if times == len(points) else f"; it is the worst in {times} of {len(points)} seeds"
    kpi = points_text(mean_interval(points[:, worst]))
    return [f"Under {case.against} the worst task is {case.tasks[worst]} with {kpi}{often}."]


def _starved(case: Case) -> list[str]:
    """Which tasks are starved under equal weights; empty if no gap has an interval."""
    if not case.single or EQUAL not in case.methods:
        return []
    gaps = starvation_gap(case.single_points(), case.points(EQUAL))
    measured = {task: gap for task, gap in zip(case.tasks, gaps, strict=True) if gap.bounded}
    if not measured:
        return []
    starved = sorted((task for task, gap in measured.items() if gap.low > 0), key=lambda task: -measured[task].mean)
    if not starved:
        task = max(measured, key=lambda task: measured[task].mean)
        largest = f"the largest gap to a single-task network is that of {task}, {points_text(measured[task], '+')}"
        return [f"No task is shown to be starved under equal weights: {largest}."]
    gap = f"the {'gap' if len(starved) == 1 else 'largest gap'} is {points_text(measured[starved[0]])}"
    what = (
        "is starved, that is, its single-task network does"
        if len(starved) == 1
        else ("are starved, that is, their single-task networks do")
    )
    return [f"Under equal weights {len(starved)} of {len(measured)} tasks {what} better: {', '.join(starved)}; {gap}."]


def _left_out(case: Case) -> list[str]:
    runs = {f"the {len(records)} runs of {method}": records for method in case.methods if (records := case.of(method))}
    if case.single:
        runs[f"the {len(case.single)} single-task runs"] = list(case.single.values())
    sentences = []
    for whose, records in runs.items():
        outcomes = Counter(record.outcome or "did not come to an end" for record in records if record.outcome != "finished")
        if outcomes:
            what = " and ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
            sentences.append(f"Of {whose}, {what}; test figures leave out what did not finish.")
    return sentences
