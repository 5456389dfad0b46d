"""Methods ranked over problems: Friedman's test and the critical difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hardfirst.report.model.case import Case
from hardfirst.report.model.scopes import Scope
from hardfirst.statistics import CriticalDifference, Friedman, critical_difference, friedman
from hardfirst.statistics.intervals import Array

FEWEST_CASES = 5
"""With fewer problems, ranks over problems show nothing."""

ALPHA = 0.05


@dataclass(frozen=True)
class Ranks:
    """Ranks of at least three methods over problems.

    Args:
        methods: their names.
        values: [problems, methods], higher is better; NaN where a method has no value.
        where: what the values are, such as "on the worst task".
    """

    methods: tuple[str, ...]
    values: Array
    where: str

    @cached_property
    def test(self) -> Friedman:
        """Friedman's test over the problems where every method has a value."""
        return friedman(self.values)

    @cached_property
    def critical(self) -> CriticalDifference:
        """The mean ranks, and the least distance at which they differ."""
        return critical_difference(self.values)

    @property
    def exist(self) -> bool:
        """Whether there are at least two problems."""
        return self.test.n > 1

    @property
    def differ(self) -> bool:
        """Whether there are enough problems, and Friedman's test rejects."""
        return self.test.n >= FEWEST_CASES and self.test.p <= ALPHA

    def groups(self) -> list[tuple[str, ...]]:
        """The groups of methods that are not told apart, from the best on, without groups that are part of another.

        Unless they `differ`, all methods are one group.
        """
        order = self.order()
        if not self.differ:
            return [tuple(self.methods[index] for index in order)]
        same, groups, last_grouped = self.critical.same, [], 0
        for first, method in enumerate(order):
            last = max(other for other in range(first, len(order)) if same[method, order[other]])
            if last > max(first, last_grouped):
                groups.append(tuple(self.methods[index] for index in order[first : last + 1]))
                last_grouped = last
        return groups

    def order(self) -> list[int]:
        """The methods' indices, from the best mean rank on."""
        return sorted(range(len(self.methods)), key=lambda index: (self.critical.mean_ranks[index], self.methods[index]))


def common_methods(cases: Sequence[Case]) -> tuple[str, ...]:
    """The methods that all cases have, in the first one's order."""
    return tuple(method for method in cases[0].methods if all(method in case.methods for case in cases))


def rank_cases(cases: Sequence[Case], scope: Scope) -> Ranks | None:
    """The common methods' ranks over the cases; None with fewer than three methods."""
    methods = common_methods(cases)
    if len(methods) < 3:
        return None
    values = [[scope.interval(case, method).mean for method in methods] for case in cases]
    return Ranks(methods, np.array(values), scope.where)
