import math

import numpy as np
import pytest
from scipy import stats

from hardfirst.errors import InputError
from hardfirst.statistics.search import (
    Gain,
    Rung,
    Standing,
    chance_gain,
    replay,
    rungs,
    runs,
    standings,
    survivors,
    verdict,
    winner,
)
from null_searches import ALLOWED, PLAN, Effect, levels, measured, named, searches

NAN = math.nan
EQUAL = [[50.0, 52.0, 51.0], [80.0, 80.0, 81.0]]


def standing(gain, kept=1.0, *, seeds=6, error=1.0):
    """That of a candidate with one kept measure, of which nothing may be lost."""
    known = [Gain(gain, error), Gain(kept, error)]
    likely = float(stats.norm.cdf(kept / error))
    state = "loses" if kept < -2 * error else "in"
    return Standing(known[0], (known[1],), seeds, state, known[1].low >= 0, likely)


# Rungs


@pytest.mark.parametrize("candidates", range(1, 30))
def test_rungs_never_grow_and_cost_what_they_say(candidates):
    plan = rungs(candidates)
    counts = [rung.candidates for rung in plan]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == candidates
    assert counts[-1] == min(2, candidates) or candidates > 12
    # by listing the runs
    listed = {(number, seed) for rung in plan for number in range(rung.candidates) for seed in range(rung.seeds)}
    assert runs(plan) == len(listed) + plan[-1].seeds


def test_twelve_candidates_cost_less_than_forty_runs():
    assert runs(rungs(12)) == 34


# Standings


def test_gains_are_paired_by_seed():
    found = standings({"dtp": [[53, 54, 55], [79, 80, 80]]}, EQUAL, [0.5])["dtp"]
    gains = np.array([[3, 2, 4], [-1, 0, -1]])
    assert [gain.mean for gain in (found.objective, *found.kept)] == pytest.approx(gains.mean(axis=1))
    # one candidate is its own pool
    assert [gain.error for gain in (found.objective, *found.kept)] == pytest.approx(stats.sem(gains, axis=1))
    left = gains[1].mean() + 0.5
    assert found.likely == pytest.approx(stats.norm.cdf(left / stats.sem(gains[1])))


def test_errors_are_averaged_with_those_of_all_candidates():
    steady, noisy = [[51, 53, 52]], [[50, 56, 51]]  # gains 1 1 1 and 0 4 0
    found = standings({"steady": steady, "noisy": noisy, "once": [[51]]}, EQUAL[:1], [])
    own, pooled = 16 / 3, 8 / 3
    errors = {name: each.objective.error for name, each in found.items()}
    assert errors == pytest.approx(
        {
            "steady": math.sqrt(4 * pooled / 6 / 3),
            "noisy": math.sqrt((4 * pooled + 2 * own) / 6 / 3),
            "once": math.sqrt(pooled),
        }
    )


def test_one_seed_has_the_noise_of_two_runs_of_equal_weights():
    found = standings({"dtp": [[60]]}, EQUAL[:1], [])["dtp"]
    assert found.objective == Gain(10.0, pytest.approx(math.sqrt(2 * 1.0)))
    alone = standings({"dtp": [[60]]}, [[50]], [])["dtp"]
    assert math.isnan(alone.objective.error)
    assert winner({"dtp": alone}) == "dtp"


def test_runs_that_diverged():
    found = standings({"dtp": [[60, NAN, 60], [80, 80, 81]], "famo": [[51, 53, 52], [80, 80, 81]]}, EQUAL, [0.5])
    assert {name: each.state for name, each in found.items()} == {"dtp": "diverged", "famo": "in"}
    assert survivors(found, 2) == ("famo",)
    # a seed without a run of equal weights counts for none
    unmeasured = standings({"dtp": [[60, NAN, 60], [80, 80, 81]]}, [[50, NAN, 51], [80, 80, 81]], [0.5])["dtp"]
    assert (unmeasured.state, unmeasured.objective.mean) == ("in", 9.5)
    alone = standings({"dtp": [[60], [80]]}, [[NAN, 52, 51], [NAN, 80, 81]], [0.5])
    assert (alone["dtp"].state, survivors(alone, 1), winner(alone)) == ("unmeasured", (), None)


def test_a_candidate_that_was_dropped_stays_out_if_equal_weights_diverge_with_later_seeds():
    dropped, stays = [[70], [80]], [[60, 60, 60], [80, 80, 81]]
    found = standings({"dropped": dropped, "stays": stays}, [[50, NAN, NAN], [80, NAN, NAN]], [0.5])
    assert survivors(found, 2) == ("stays",)


def test_standings_do_not_depend_on_the_order_of_candidates():
    rng = np.random.default_rng(0)
    equal, *others = rng.normal(size=(5, 2, 6))
    found = standings(named(others), equal, [0.5])
    reverse = standings(dict(reversed(named(others).items())), equal, [0.5])
    assert survivors(found, 4) == survivors(reverse, 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([50, 51], r"figures of dtp as \[2 measures, seeds\]; got \(2,\)"),
        ([[50, 51]], r"figures of dtp as \[2 measures, seeds\]; got \(1, 2\)"),
        ([[50] * 4] * 2, "each of the 4 seeds of dtp; got 3"),
    ],
)
def test_figures_of_other_shapes_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        standings({"dtp": values}, EQUAL, [0.5])


# Who stays and who wins


def test_a_gain_that_what_is_kept_pays_for_ranks_below_one_that_can_win():
    found = {"dear": standing(10.0, kept=-1.9), "good": standing(3.0)}
    assert survivors(found, 2) == ("good", "dear")
    assert winner(found) == "good"


@pytest.mark.parametrize(
    ("found", "best"),
    [
        ({"a": standing(3.0), "b": standing(4.0)}, "b"),
        ({"a": standing(3.0), "b": standing(4.0, seeds=3)}, "a"),  # not of the last rung
        ({"a": standing(3.0), "b": standing(4.0, kept=-2.1)}, "a"),
        ({"a": standing(0.4)}, None),  # the lower bound is below 0
        ({"a": standing(4.0, kept=0.4)}, None),  # that of what is kept is
        ({}, None),
    ],
)
def test_winner(found, best):
    assert winner(found) == best


def test_replay_decides_as_rung_by_rung():
    rng = np.random.default_rng(3)
    equal, *others = measured(rng, levels("mixed", "hard"), "hard", 6)
    every = named(others)
    first = standings({name: other[:, :1] for name, other in every.items()}, equal, [ALLOWED])
    second = survivors(first, 5)
    figures = {name: other[:, : 3 if name in second else 1] for name, other in every.items()}
    third = survivors(standings(figures, equal, [ALLOWED]), 2)
    figures |= {name: every[name] for name in third}
    best, last = replay(every, equal, [ALLOWED], PLAN)
    assert {name: each.seeds for name, each in last.items()} == {name: each.shape[1] for name, each in figures.items()}
    assert best == winner(standings(figures, equal, [ALLOWED]))


# The verdict


BASE = np.array([[50.0, 51, 49, 52, 50, 48, 51], [80.0, 81, 79, 80, 80, 81, 80]])
RAISED = np.array([4.0, 5, 4, 6, 3, 5, 4])


@pytest.mark.parametrize(
    ("gains", "kept", "reason"),
    [
        (RAISED, [0.0] * 7, "better"),
        (RAISED, [-0.5] * 7, "better"),
        (RAISED, [-0.5] * 6 + [-0.6], "loses"),
        (RAISED, [NAN, *[0.0] * 6], "diverged"),
        (RAISED - 5, [0.0] * 7, "not better"),
        (-RAISED, [0.0] * 7, "not better"),
        (-RAISED, [-0.6] * 7, "not better"),
        ([*[1.0] * 6, -8.0], [0.0] * 7, "not better"),
    ],
)
def test_verdict(gains, kept, reason):
    found = verdict(BASE + np.array([gains, kept]), BASE, [0.5])
    assert (found.reason, found.recommended) == (reason, reason == "better")
    assert found.objective.interval.mean == pytest.approx(np.mean(gains))
    assert found.kept[0].mean == pytest.approx(np.nanmean(kept))


def test_a_verdict_takes_seven_seeds():
    values = BASE + np.array([RAISED, np.zeros(7)])
    assert verdict(values[:, :6], BASE[:, :6], [0.5]).reason == "too few seeds"
    nothing_to_keep = np.array([[0.0] * 7, [NAN] * 7])  # a task without a label in the test split
    assert verdict(values + nothing_to_keep, BASE + nothing_to_keep, [0.5]).reason == "too few seeds"


# Simulated searches


def test_alike_candidates_are_seldom_recommended():
    results = list(searches(200, "alike"))
    assert sum(result.verdict is not None for result in results) > 20  # else there is nothing to refuse
    assert sum(result.recommends() for result in results) <= 10


def test_a_better_candidate_is_found_and_a_losing_one_refused():
    found = list(searches(40, "better by 10"))
    assert sum(result.recommends() and result.effect.right for result in found) >= 20
    assert not any(result.recommends() and result.effect != Effect() for result in searches(40, "loses 2"))


def test_chance_gain_of_one_candidate_by_hand():
    # a gain of √6·(±1, six seeds) has variance 36/5, so that the mean of six is m ~ N(0, 6/5); equal weights stay unless
    # m > s/(2√6): E[m; m > s/(2√6)] = √(6/5)·E[φ(√(χ²/5)/2)] = √(6/5)·1.05^(−5/2)/√(2π), with χ² of 5 degrees of freedom
    gains = math.sqrt(6) * np.array([[1, -1, 1, -1, 1, -1]])
    found = chance_gain({"dtp": 50 + gains}, np.full((1, 6), 50.0), [], (Rung(1, 6),), repeats=1000)
    assert found == pytest.approx(math.sqrt(6 / 5) * 1.05**-2.5 / math.sqrt(2 * math.pi), rel=0.1)


def test_chance_gain_without_noise():
    plan = (Rung(1, 1),)
    assert math.isnan(chance_gain({"dtp": [[60]]}, [[50]], [], plan))
    assert chance_gain({"dtp": [[60, 60]]}, [[50, 50]], [], (Rung(1, 2),)) == pytest.approx(0, abs=1e-9)
