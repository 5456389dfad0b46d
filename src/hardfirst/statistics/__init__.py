"""Statistics over seeds, tasks and problems: deterministic functions of arrays.

A run that diverged is a NaN. It is left out (pairwise when two methods are compared), and `n` counts the rest, so reports
can state how many runs are behind an interval.
"""

from hardfirst.statistics.intervals import Interval, mean_interval, number_text, paired_interval
from hardfirst.statistics.order_effects import position_effects, position_test
from hardfirst.statistics.paired_tests import Decision, Difference, compare_to, fewest_seeds, holm, sign_flip
from hardfirst.statistics.rank_tests import CriticalDifference, Friedman, critical_difference, friedman
from hardfirst.statistics.rounding import differences, levels
from hardfirst.statistics.task_scores import (
    delta_m,
    gap_correlation,
    mean_task,
    pareto_front,
    starvation_gap,
    worst_task,
)

__all__ = [
    "CriticalDifference",
    "Decision",
    "Difference",
    "Friedman",
    "Interval",
    "compare_to",
    "critical_difference",
    "delta_m",
    "differences",
    "fewest_seeds",
    "friedman",
    "gap_correlation",
    "holm",
    "levels",
    "mean_interval",
    "mean_task",
    "number_text",
    "paired_interval",
    "pareto_front",
    "position_effects",
    "position_test",
    "sign_flip",
    "starvation_gap",
    "worst_task",
]
