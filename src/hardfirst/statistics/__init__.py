"""Statistics over seeds, tasks and problems: plain functions of arrays; the same records give the same numbers.

A run that diverged is a NaN. It is left out (pairwise, where two methods are compared), and `n` counts what was left, so
that whoever prints an interval can say how many runs stand behind it.
"""

from hardfirst.statistics.intervals import Interval, mean_interval, paired_interval
from hardfirst.statistics.order_effects import position_effects, position_test
from hardfirst.statistics.paired_tests import Decision, Difference, compare_to, fewest_seeds, holm, sign_flip
from hardfirst.statistics.rank_tests import CriticalDifference, Friedman, critical_difference, friedman
from hardfirst.statistics.task_scores import (
    delta_m,
    gap_correlation,
    mean_rank,
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
    "fewest_seeds",
    "friedman",
    "gap_correlation",
    "holm",
    "mean_interval",
    "mean_rank",
    "paired_interval",
    "pareto_front",
    "position_effects",
    "position_test",
    "sign_flip",
    "starvation_gap",
    "worst_task",
]
