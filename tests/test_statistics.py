import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hardfirst.errors import InputError
from hardfirst.studies.statistics import Interval, mean_interval, paired_interval, worst_task

NAN = math.nan


def test_interval_by_hand():
    # s = 1, t(.975, 2) = 4.302653, so that the half width is 4.302653 / √3
    assert mean_interval([1, 2, 3]) == pytest.approx((2, 2 - 2.484138, 2 + 2.484138, 3), abs=1e-6)


def test_interval_at_another_level_by_hand():
    # s² = 8/3, t(.95, 3) = 2.353363, so that the half width is 2.353363 · √(8/3) / 2
    assert mean_interval([2, 4, 4, 6], level=0.9) == pytest.approx((4, 4 - 1.921513, 4 + 1.921513, 4), abs=1e-6)


def test_seeds_without_a_value_are_left_out_and_not_counted():
    assert mean_interval([1, NAN, 2, 3, NAN]) == mean_interval([1, 2, 3])


def test_one_seed_shows_no_spread():
    mean, low, high, n = mean_interval([NAN, 0.5])
    assert (mean, n) == (0.5, 1)
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_no_seed_has_no_mean(values):
    found = mean_interval(values)
    assert found.n == 0
    assert math.isnan(found.mean)
    assert math.isnan(found.low)


def test_seeds_that_agree_have_an_interval_without_width():
    assert mean_interval([0.25] * 4) == Interval(0.25, 0.25, 0.25, 4)


@pytest.mark.parametrize("level", [0, 1, 95, NAN])
def test_a_level_is_a_probability(level):
    with pytest.raises(InputError, match="`level`"):
        mean_interval([1, 2, 3], level=level)


def test_paired_differences_agree_with_scipy():
    rng = np.random.default_rng(5)
    values, baseline = rng.normal(size=(2, 8))
    oracle = stats.ttest_rel(values, baseline).confidence_interval(0.98)
    found = paired_interval(values, baseline, level=0.98)
    assert (found.low, found.high, found.n) == pytest.approx((oracle.low, oracle.high, 8))


def test_a_pair_needs_both_of_its_runs():
    found = paired_interval([1, NAN, 5, 4], [0, 1, NAN, 1])
    assert (found.mean, found.n) == (2, 2)


def test_what_the_seed_does_to_both_cancels():
    seed = np.array([0.1, 0.9, 0.4])
    assert paired_interval(seed + 0.25, seed) == pytest.approx((0.25, 0.25, 0.25, 3))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(-1, 1))
def test_an_interval_moves_with_its_values(values, shift):
    moved, found = mean_interval(np.array(values) + shift), mean_interval(values)
    assert moved == pytest.approx((found.mean + shift, found.low + shift, found.high + shift, found.n), abs=1e-9)


@pytest.mark.parametrize(("seeds", "level"), [(3, 0.95), (5, 0.95), (5, 0.99)])
def test_the_interval_covers_as_often_as_its_level_says(seeds, level):
    repeats = 4000
    rng = np.random.default_rng(11)
    found = [mean_interval(rng.normal(0.7, 0.05, seeds), level) for _ in range(repeats)]
    covered = np.mean([interval.low <= 0.7 <= interval.high for interval in found])
    sampling_error = math.sqrt(level * (1 - level) / repeats)
    assert abs(covered - level) < 4 * sampling_error


def test_the_worst_task_is_found_seed_by_seed():
    assert worst_task([[0.9, 0.2, 0.5], [0.3, 0.4, 0.8]]).tolist() == [0.2, 0.3]


def test_the_worst_task_is_unknown_where_a_task_is():
    assert np.isnan(worst_task([[0.9, NAN], [0.3, 0.4]])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("interval", "spec", "text"),
    [
        (Interval(1.25, 0.5, 2.0, 4), ".2f", "1.25 [0.50, 2.00]"),
        (Interval(-0.04, -1.0, 0.92, 4), "+z.1f", "+0.0 [-1.0, +0.9]"),
        (Interval(1.25, NAN, NAN, 1), ".1f", "1.2"),
        (Interval(NAN, NAN, NAN, 0), ".1f", "–"),
    ],
)
def test_an_interval_as_text(interval, spec, text):
    assert format(interval, spec) == text
