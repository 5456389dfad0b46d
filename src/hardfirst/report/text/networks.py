"""Networks compared under the same balancer, in sentences."""

from collections.abc import Sequence

import numpy as np

from hardfirst.records.names import OWN
from hardfirst.report.model.case import Case
from hardfirst.report.model.ranks import common_methods
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text.interval_text import by_decision, capitalized, count_text, points_text
from hardfirst.statistics import compare_to, fewest_seeds
from hardfirst.statistics.intervals import Array

_DECISIONS = {
    "better": "above it",
    "worse": "below it",
    "not told apart": "not told apart from it",
    "too few seeds": "with too few seeds",
}


def sentences(cases: Sequence[Case]) -> list[str]:
    """For each problem with several networks, which of them differ from the first under the same balancer."""
    groups = comparable_networks(cases)
    return [
        f"{f'{group[0].problem}: ' if len(groups) > 1 else ''}{network_sentence(group, scope)}"
        for group in groups
        for scope in (WORST, MEAN)
    ]


def comparable_networks(cases: Sequence[Case]) -> list[list[Case]]:
    """The cases of each problem that has several networks with a method in common."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.problem, []).append(case)
    return [group for group in groups.values() if len(group) > 1 and common_methods(group)]


def network_name(case: Case) -> str:
    """The case's network in words."""
    return "the problem's own" if case.network == OWN else case.network


def base_name(case: Case) -> str:
    """The network that others are compared with, in words."""
    return f"{'' if case.network == OWN else 'the '}{network_name(case)} network"


def network_difference(case: Case, first: Case, method: str, scope: Scope, seeds: Sequence[int]) -> Array:
    """[seeds]: what the method reaches on the case's network minus what it reaches on the first; NaN if either lacks it."""
    own, base = (dict(zip(each.seeds, scope.points(each, method), strict=True)) for each in (case, first))
    return np.array([own.get(seed, np.nan) - base.get(seed, np.nan) for seed in seeds])


def network_sentence(group: Sequence[Case], scope: Scope) -> str:
    """What differs from the first network under the same balancer; networks × balancers are one family of tests."""
    first, methods = group[0], common_methods(group)
    seeds = sorted({seed for case in group for seed in case.seeds})
    values = {
        f"{network_name(case)} under {method}": network_difference(case, first, method, scope, seeds)
        for case in group[1:]
        for method in methods
    }
    differences = compare_to(np.zeros(len(seeds)), values)
    where, base = capitalized(scope.where), base_name(first)
    if all(difference.decision == "too few seeds" for difference in differences.values()):
        n = max(difference.interval.n for difference in differences.values())
        return (
            f"{where}, with {count_text(n, 'seed')} and {count_text(len(values), 'pair')} of network and balancer, no "
            f"difference to {base} can be called significant; it takes at least {fewest_seeds(len(values))}."
        )
    names = by_decision(differences, lambda difference: points_text(difference.interval, "+"))
    clauses = [f"{text}: {', '.join(names[decision])}" for decision, text in _DECISIONS.items() if decision in names]
    holm = f", Holm-corrected over {len(values)}" if len(values) > 1 else ""
    return f"{where}, against {base} under the same balancer{holm}: {'; '.join(clauses)}."
