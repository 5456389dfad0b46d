import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hardfirst.errors import InputError
from hardfirst.statistics import (
    Interval,
    compare_to,
    critical_difference,
    delta_m,
    differences,
    fewest_seeds,
    friedman,
    gap_correlation,
    holm,
    levels,
    mean_interval,
    paired_interval,
    pareto_front,
    position_test,
    sign_flip,
    starvation_gap,
    worst_task,
)
from null_studies import covers, declares, study

NAN = math.nan
KPIS = st.lists(st.floats(0, 1), min_size=1, max_size=5)


# Intervals


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


@pytest.mark.parametrize("baseline", [[1], [1, 2], 1])
def test_a_pair_is_of_the_same_seeds(baseline):
    with pytest.raises(InputError, match="both as "):
        paired_interval([1, 2, 3], baseline)


def test_what_the_seed_does_to_both_cancels():
    seed = np.array([0.1, 0.9, 0.4])
    assert paired_interval(seed + 0.25, seed) == pytest.approx((0.25, 0.25, 0.25, 3))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=12), st.floats(-1, 1))
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


@pytest.mark.parametrize(
    ("interval", "spec", "text"),
    [
        (Interval(1.25, 0.5, 2.0, 4), ".2f", "1.25 [0.50, 2.00]"),
        (Interval(-0.04, -1.0, 0.92, 4), "+z.1f", "+0.0 [−1.0, +0.9]"),
        (Interval(1.25, NAN, NAN, 1), ".1f", "1.2"),
        (Interval(NAN, NAN, NAN, 0), ".1f", "–"),
    ],
)
def test_an_interval_as_text(interval, spec, text):
    assert format(interval, spec) == text


# Over tasks


def test_the_worst_task_is_found_seed_by_seed():
    assert worst_task([[0.9, 0.2, 0.5], [0.3, 0.4, 0.8]]).tolist() == [0.2, 0.3]


def test_the_worst_task_is_unknown_where_a_task_is():
    assert np.isnan(worst_task([[0.9, NAN], [0.3, 0.4]])).tolist() == [True, False]


def test_delta_m_by_hand():
    # accuracy .6 → .9 is +50%; an error of 2 → 3 is −50%, of 4 → 1 is +75%
    found = delta_m([[0.9, 3.0], [0.9, 1.0]], [[0.6, 2.0], [0.6, 4.0]], lower_is_better=[False, True])
    assert found == pytest.approx([0, 62.5])


def test_delta_m_of_metrics_that_are_all_lower_is_better():
    assert delta_m([[1.0, 3.0]], [2.0, 4.0], lower_is_better=True) == pytest.approx([37.5])


@pytest.mark.parametrize(
    ("values", "baselines"),
    [([[NAN, 0.5]], [0.5, 0.5]), ([[0.5, 0.5]], [NAN, 0.5]), ([[0.5, 0.5]], [0.0, 0.5]), ([[0.5, 0.5]], [-0.1, 0.5])],
)
def test_delta_m_is_unknown_where_a_task_has_no_gain(values, baselines):
    assert np.isnan(delta_m(values, baselines)).all()


@pytest.mark.parametrize(
    ("values", "baselines", "lower"),
    [([0.5, 0.5], [0.5, 0.5], False), ([[0.5, 0.5]], [0.5], False), ([[0.5, 0.5]], [0.5, 0.5], [True] * 3)],
)
def test_delta_m_refuses_shapes_that_do_not_fit(values, baselines, lower):
    with pytest.raises(InputError, match="Expected `"):
        delta_m(values, baselines, lower)


@given(KPIS, st.sampled_from([0.25, 8.0]), st.booleans())
def test_delta_m_does_not_depend_on_the_unit(kpis, unit, lower):
    values, baselines = np.array(kpis)[None] + 0.5, np.array(kpis)[::-1] + 0.5
    assert delta_m(values * unit, baselines * unit, lower) == pytest.approx(delta_m(values, baselines, lower))
    assert delta_m(baselines[None], baselines, lower) == pytest.approx([0])
    assert delta_m(values, baselines, not lower) == pytest.approx(-delta_m(values, baselines, lower))


@given(st.permutations(range(6)))
def test_seeds_may_come_in_any_order(order):
    values = np.random.default_rng(3).uniform(0.1, 1, (2, 6, 3))
    moved = values[:, order]
    assert delta_m(*moved).tolist() == delta_m(*values)[list(order)].tolist()
    same = zip(starvation_gap(*moved), starvation_gap(*values), strict=True)
    assert all(found == pytest.approx(before) for found, before in same)
    (found,), (before,) = (compare_to(worst_task(a), {"dtp": worst_task(b)}).values() for a, b in (moved, values))
    assert (found.p, found.holm_p, found.decision) == (before.p, before.holm_p, before.decision)
    assert found.interval == pytest.approx(before.interval)


def test_the_pareto_front_by_hand():
    points = [[1, 3], [3, 1], [2, 2], [2, 1], [1, 2], [0, 0]]
    assert pareto_front(points).tolist() == [True, True, True, False, False, False]


def test_equal_points_are_on_the_front_together_and_unknown_ones_are_not():
    assert pareto_front([[1, 1], [1, 1], [9, NAN]]).tolist() == [True, True, False]
    assert pareto_front(np.empty((0, 2))).tolist() == []


def test_a_front_is_one_of_points():
    with pytest.raises(InputError, match=r"\[n, tasks\]"):
        pareto_front([1, 2, 3])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_off_the_front_are_those_that_another_dominates(points):
    def dominates(one, other):
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    assert pareto_front(points).tolist() == [not any(dominates(other, point) for other in points) for point in points]


def test_the_starvation_gap_by_hand():
    alone = [[0.9, 0.5], [0.8, 0.5], [0.7, 0.5], [NAN, 0.5]]
    gap, none = starvation_gap(alone, [[0.6, 0.5], [0.7, 0.5], [0.5, 0.5], [0.1, 0.5]])
    # differences .3, .1 and .2: half width 4.302653 · .1 / √3
    assert gap == pytest.approx((0.2, 0.2 - 0.248414, 0.2 + 0.248414, 3), abs=1e-5)
    assert none == (0, 0, 0, 4)


def test_the_starvation_gap_wants_the_same_seeds_and_tasks():
    with pytest.raises(InputError, match=r"got \(1, 2\) and \(2, 2\)"):
        starvation_gap([[0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]])


def test_gap_correlation_by_hand():
    # deviations −4, −1, 5 and −2, 1, 1 (in thirds): 12 / √(42 · 6)
    assert gap_correlation([1, 2, 4], [0, 1, 1]) == pytest.approx(12 / math.sqrt(252))
    assert gap_correlation([1, 2, NAN, 4], [0, 1, 5, 1]) == pytest.approx(12 / math.sqrt(252))
    assert gap_correlation([3, 2, 1], [0.1, 0.2, 0.3]) == pytest.approx(-1)


@pytest.mark.parametrize(("weights", "gap"), [([1, 2], [0, 1]), ([1, 1, 1], [0, 1, 2]), ([1, 2, 3], [0, 0, 0]), ([], [])])
def test_weights_or_gaps_that_show_nothing_have_no_correlation(weights, gap):
    assert math.isnan(gap_correlation(weights, gap))


@pytest.mark.parametrize(("weights", "gap"), [([1, 2, 3], [0, 1]), ([[1, 2, 3]], [[0, 1, 2]])])
def test_gap_correlation_refuses_shapes_that_do_not_fit(weights, gap):
    with pytest.raises(InputError, match="`weights` and `gap` both as"):
        gap_correlation(weights, gap)


# Decisions


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3], 2 / 8),
        ([-1, -2, -3], 2 / 8),
        ([1, -2, 3], 6 / 8),  # the sums are ±6, ±4, ±2 and 0 twice
        ([1, NAN, 2, 3], 2 / 8),
        ([0.1, 0.1, -0.1], 1),  # ±0.3 twice and ±0.1 six times, though floats differ
        ([0, 0, 0], 1),
        ([5], 1),
    ],
)
def test_sign_flips_counted_by_hand(differences, p):
    assert sign_flip(differences) == p


@pytest.mark.parametrize("differences", [[], [NAN, NAN]])
def test_without_differences_there_is_no_p(differences):
    assert math.isnan(sign_flip(differences))


@pytest.mark.parametrize("seeds", [5, 10])
def test_sign_flips_agree_with_scipy(seeds):
    differences = np.random.default_rng(seeds).normal(0.5, 1, seeds)
    oracle = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=2**seeds, alternative="two-sided"
    )
    assert sign_flip(differences) == pytest.approx(oracle.pvalue)


def test_many_seeds_are_sampled_and_say_nearly_the_same_every_time():
    # 18 equal differences save k are as extreme as k or fewer (or n − k or more) signs: a binomial tail
    differences = np.array([1.0] * 13 + [-1.0] * 5)
    exact = stats.binomtest(5, 18).pvalue
    assert sign_flip(differences) == pytest.approx(exact, abs=4 * math.sqrt(exact / 99_999))
    assert sign_flip(differences) == sign_flip(differences[::-1])
    assert 1e-5 <= sign_flip(np.ones(60)) < 1e-4


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9), st.randoms())
def test_a_p_value_does_not_know_order_direction_or_unit(differences, random):
    found = sign_flip(differences)
    assert 2 / 2 ** len(differences) <= found <= 1
    shuffled = random.sample(differences, len(differences))
    assert sign_flip(-4 * np.array(shuffled)) == found


@pytest.mark.parametrize(("methods", "seeds"), [(1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (7, 9), (12, 9)])
def test_the_fewest_seeds_by_hand(methods, seeds):
    assert fewest_seeds(methods) == seeds
    assert 2 * methods / 2**seeds <= 0.05 < 2 * methods / 2 ** (seeds - 1)


@pytest.mark.parametrize(("methods", "alpha"), [(0, 0.05), (1.5, 0.05), (3, 0), (3, 1)])
def test_the_fewest_seeds_of_what(methods, alpha):
    with pytest.raises(InputError):
        fewest_seeds(methods, alpha)


def test_holm_by_hand():
    # sorted .01, .03, .04 times 3, 2, 1, and none below the one before it
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([0.04]) == pytest.approx([0.04])
    assert holm([]).size == 0


def test_a_test_that_could_not_be_made_still_counts():
    assert holm([0.01, NAN, 0.02]) == pytest.approx([0.03, NAN, 0.04], nan_ok=True)


@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_a_p_value_is_a_probability(value):
    with pytest.raises(InputError, match="`pvalues`"):
        holm([0.5, value])


def test_holm_is_that_of_statsmodels():
    from statsmodels.stats.multitest import multipletests

    for size in (1, 2, 5, 12):
        raw = np.random.default_rng(size).uniform(0, 0.3, size)
        assert holm(raw) == pytest.approx(multipletests(raw, method="holm")[1], rel=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_no_laxer_than_none_and_no_stricter_than_bonferroni(pvalues):
    raw, corrected = np.array(pvalues), holm(pvalues)
    assert (raw <= corrected + 1e-12).all()
    assert (corrected <= np.minimum(1, len(raw) * raw) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(raw, kind="stable")]) >= -1e-12).all()


def test_a_method_against_a_baseline_by_hand():
    baseline = np.arange(8.0)
    found = compare_to(
        baseline,
        {
            "up": baseline + np.tile([1, 2, 3, 4], 2),
            "down": baseline - 1,
            "alike": baseline + np.tile([1, -1], 4),
            "short": [NAN, NAN, *(baseline[2:] + 1)],
        },
    )
    assert {name: difference.decision for name, difference in found.items()} == {
        "up": "better",
        "down": "worse",
        "alike": "not told apart",
        "short": "too few seeds",
    }
    # two of 256; the smallest times 4, the next times 3 but no less than it
    assert (found["up"].p, found["up"].holm_p) == pytest.approx((2 / 256, 8 / 256))
    assert found["down"].holm_p == pytest.approx(8 / 256)
    assert (found["alike"].p, found["alike"].holm_p) == (1, 1)
    assert math.isnan(found["short"].p)
    assert math.isnan(found["short"].holm_p)
    assert found["short"].interval == (1, 1, 1, 6)
    # mean 2.5, s² = 10/7, t(.975, 7) = 2.364624: half width 2.364624 · √(10/56)
    assert found["up"].interval == pytest.approx((2.5, 2.5 - 0.999238, 2.5 + 0.999238, 8), abs=1e-5)


def test_differences_keep_their_seeds():
    found = compare_to([1, NAN, 3], {"dtp": [2, 5, NAN]})["dtp"]
    assert found.differences.tolist() == pytest.approx([1, NAN, NAN], nan_ok=True)
    assert (found.interval.mean, found.interval.n, found.decision) == (1, 1, "too few seeds")


def test_what_is_decided_depends_on_how_many_are_compared():
    baseline = np.zeros(7)
    assert compare_to(baseline, {"dtp": baseline + 1})["dtp"].decision == "better"
    three = dict.fromkeys(("dtp", "stch", "dwa"), baseline + 1)
    assert compare_to(baseline, three)["dtp"].decision == "better"
    assert compare_to(baseline, three | {"fixed": baseline})["dtp"].decision == "too few seeds"
    # six seeds decide at 10%, where 3 · 2/2⁶ = .094
    six = {name: values[:6] for name, values in three.items()}
    assert compare_to(baseline[:6], six, alpha=0.1)["dtp"].decision == "better"


def test_nothing_compared_is_nothing_found():
    assert compare_to([1, 2], {}) == {}


SEEDS = st.lists(st.integers(-5, 5), min_size=8, max_size=8)


@given(SEEDS, SEEDS, SEEDS)
def test_what_is_better_is_worse_the_other_way_round(baseline, one, other):
    found = compare_to(baseline, {"one": one, "other": other})
    mirrored = compare_to(-np.array(baseline), {"other": -np.array(other), "one": -np.array(one)})
    turned = {"better": "worse", "worse": "better", "not told apart": "not told apart"}
    assert {name: turned[difference.decision] for name, difference in found.items()} == {
        name: difference.decision for name, difference in mirrored.items()
    }


# Several problems

# Demšar 2006, Table 6: AUC of C4.5 as it is, with its parameter m tuned, with cf tuned, with both; on 14 data sets
DEMSAR = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.978, 0.975],
    [0.957, 0.978, 0.946, 0.970],
]


def test_friedman_by_hand():
    # rank sums 3, 6, 9: 12/(3·3·4) · (9 + 36 + 81) − 3·3·4 = 6, and with two degrees of freedom p = e^−3
    found = friedman([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4], [NAN, 0.1, 0.2], [0.9, 0.6, 0.3]])
    assert found == pytest.approx((6, math.exp(-3), 3))


def test_problems_that_rank_nothing_tell_no_methods_apart():
    assert friedman([[0.5] * 3, [0.7] * 3]) == (0, 1, 2)


def test_one_problem_is_too_few_for_friedman():
    statistic, p, n = friedman([[0.9, 0.8, 0.7], [NAN, 0.1, 0.2]])
    assert n == 1
    assert math.isnan(statistic)
    assert math.isnan(p)


@pytest.mark.parametrize(("test", "least"), [(friedman, 3), (critical_difference, 2)])
def test_problems_need_methods_to_compare(test, least):
    for values in ([0.1, 0.2, 0.3], np.ones((4, least - 1))):
        with pytest.raises(InputError, match=f"at least {least} methods"):
            test(values)


def test_the_critical_difference_as_published():
    found = critical_difference(DEMSAR)
    assert found.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert found.n == 14
    # at 5% no pair is told apart; at 10%, CD 1.12, plain C4.5 is worse than both with a tuned m
    assert found.same.all()
    at_ten = critical_difference(DEMSAR, alpha=0.1)
    assert at_ten.difference == pytest.approx(1.12, abs=5e-3)
    assert np.argwhere(~at_ten.same).tolist() == [[0, 1], [0, 3], [1, 0], [3, 0]]


def test_problems_that_lack_a_method_are_left_out_of_the_critical_difference():
    found = critical_difference([*DEMSAR, [0.5, NAN, 0.1, 0.2]])
    assert (found.n, found.difference) == (14, critical_difference(DEMSAR).difference)


def test_no_problem_has_no_critical_difference():
    found = critical_difference([[NAN, 0.5], [0.5, NAN]])
    assert found.n == 0
    assert math.isnan(found.difference)
    assert np.isnan(found.mean_ranks).all()
    assert found.same.all()


def test_nemenyis_p_values_as_scikit_posthocs_gives_them():
    """The pairs that differ at α are those whose p-value in scikit-posthocs 0.17 is at most α; the table has ties."""
    values = [
        [0.50, 0.56, 0.59, 0.61, 0.58],
        [0.45, 0.55, 0.67, 0.63, 0.57],
        [0.50, 0.50, 0.50, 0.50, 0.50],
        [0.53, 0.48, 0.58, 0.55, 0.54],
        [0.41, 0.54, 0.54, 0.66, 0.61],
        [0.49, 0.42, 0.57, 0.65, 0.61],
        [0.42, 0.53, 0.55, 0.61, 0.65],
        [0.46, 0.55, 0.64, 0.62, 0.59],
    ]
    p_values = np.ones((5, 5))
    p_values[np.triu_indices(5, k=1)] = (
        *(0.981551, 0.028417, 0.004589, 0.084101),
        *(0.123076, 0.028417, 0.277518),
        *(0.981551, 0.994856),
        0.87774,
    )
    p_values = np.minimum(p_values, p_values.T)
    for p in np.unique(p_values[p_values < 1]):
        for alpha in (p - 1e-5, p + 1e-5):
            assert (critical_difference(values, alpha=alpha).same == (p_values > alpha)).all()


def test_a_method_whose_interval_holds_zero_is_not_told_apart():
    """Seven small gains and a huge one: the signs alone would decide."""
    differences = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 9.0]
    found = compare_to(np.zeros(8), {"dtp": differences})["dtp"]
    assert found.p <= 0.05
    assert found.interval.low < 0 < found.interval.high
    assert found.decision == "not told apart"


# Rounding

BITS = [5.6e-17, 3e-9, 2.9e-8]  # of double precision, of a sum in another order, of single precision


@pytest.mark.parametrize("bit", BITS)
def test_differences_at_rounding_are_ties_in_every_statistic(bit):
    base = np.full(10, 0.5)
    other = base + 2 * bit
    assert (other != base).all()
    assert compare_to(base, {"other": other})["other"] == (
        pytest.approx(np.zeros(10)),
        (0, 0, 0, 10),
        1,
        1,
        "not told apart",
    )
    assert paired_interval(other, base) == (0, 0, 0, 10)
    assert [gap.mean for gap in starvation_gap(other[:, None], base[:, None])] == [0]
    assert pareto_front([[0.5, 0.5], [0.5 + 2 * bit, 0.5], [0.4, 0.4]]).tolist() == [True, True, False]
    assert friedman([[0.5, 0.5 + 2 * bit, 0.5 - 2 * bit]] * 8) == (0, 1, 8)
    assert critical_difference([[0.5, 0.5 + 2 * bit]] * 30).mean_ranks.tolist() == [1.5, 1.5]
    assert position_test([[0.5, 0.5 + 2 * bit]] * 10, [0, 1]) == 1


def test_what_is_above_rounding_is_a_difference():
    assert compare_to([0.5] * 8, {"other": [0.5 + 1e-6] * 8})["other"].decision == "better"
    assert differences([1.0, math.inf, math.inf, NAN, 0.0], [1.0 + 1e-8, 1.0, math.inf, 1.0, 1e-30])[:3].tolist() == [
        0,
        math.inf,
        0,
    ]
    assert np.isnan(differences([NAN], [1.0])).all()
    assert levels([[0.2, NAN, 0.2 + 1e-12, 0.1, math.inf]], axis=1)[0, [0, 2, 3, 4]].tolist() == [1, 1, 0, 2]


# Simulations


def test_where_nothing_differs_few_studies_say_that_something_does():
    """Without Holm's correction about 18% do, and this fails."""
    repeats = 200
    rng = np.random.default_rng(17)
    share = np.mean([declares(study(rng)) for _ in range(repeats)])
    assert share <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / repeats)


def test_a_real_difference_is_found_in_most_studies():
    rng = np.random.default_rng(18)
    found = 0
    for _ in range(50):
        equal, *others = (worst_task(points) for points in study(rng))
        others[0] = others[0] + 4
        methods = dict(zip("abcdef", others, strict=True))
        found += compare_to(equal, methods)["a"].decision == "better"
    assert found >= 40


@pytest.mark.parametrize("seeds", [5, 20])
def test_paired_intervals_of_the_worst_task_cover_as_they_say(seeds):
    repeats = 2000
    rng = np.random.default_rng(19)
    share = np.mean([covers(study(rng, methods=1, seeds=seeds), 0.0) for _ in range(repeats)])
    assert 0.93 <= share <= 0.97
