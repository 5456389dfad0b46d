"""The leaderboard and the answer: what is ranked, and the words for every situation."""

import math
from dataclasses import replace

import pytest

from hardfirst.report.model.answer import answer
from hardfirst.report.model.leaderboard import leaderboard
from hardfirst.report.text.alerts import alerts
from hardfirst.report.text.headline import headline, question
from hardfirst.report.text.next_step import next_step
from made_records import alone, as_run, case_of, diverged, run, static, study, tried

SEEDS = range(7)
COMMAND = "hardfirst compare toy"


def runs(method, *, mean=0.0, worst=0.0, seeds=SEEDS, **settings):
    """Runs whose worst task and whose easiest differ from those of `runs("equal")` by this much, give or take a little.

    `worst` is what the worst task, `hard`, gains; `mean` is what the mean over the three tasks gains.
    """
    noise = 0 if method == "equal" else 0.002
    return [
        run(
            method,
            seed,
            (0.9 + 3 * mean - worst, 0.7 + noise * (-1) ** seed, 0.4 + seed / 100 + worst + noise * (seed % 3 - 1)),
            **settings,
        )
        for seed in seeds
    ]


def words(*found, missing=0):
    return " ".join(headline(answer(case_of(*found), missing)).sentences)


LIFT = "`dtp` lifts the worst task (`hard`, 43.0 → 53.0)"

SITUATIONS = {
    "a gain at a cost": (
        [runs("equal"), runs("dtp", worst=0.1, mean=-0.04)],
        f"{LIFT} and costs 4.0 points of the mean.",
    ),
    "a gain at no cost": ([runs("equal"), runs("dtp", worst=0.1)], f"{LIFT} at no measurable cost of the mean."),
    "better on both": (
        [runs("equal"), runs("dtp", worst=0.1, mean=0.05)],
        f"{LIFT} and raises the mean by 5.0 points.",
    ),
    "the mean alone": (
        [runs("equal"), runs("dtp", mean=0.02)],
        "`dtp` raises the mean by 2.0 points, and its effect on the worst task is unclear.",
    ),
    "the mean at the worst task's cost": (
        [runs("equal"), runs("dtp", worst=-0.1, mean=0.02)],
        "`dtp` raises the mean by 2.0 points and costs 10.0 points of the worst task (`hard`, 43.0 → 33.0).",
    ),
    "an alternative": (
        [runs("equal"), runs("dtp", worst=0.1, mean=-0.04), runs("dtp:uniform=0.8", worst=0.08), runs("stch", worst=-0.1)],
        f"{LIFT} and costs 4.0 points of the mean. `dtp:uniform=0.8` keeps 8.0 of these 10.0 points at no measurable cost "
        "of the mean.",
    ),
    "the best on both leads, even if another lifts more": (
        [runs("equal"), runs("dtp", worst=0.1, mean=0.05), runs("stch", worst=0.2, mean=-0.1)],
        f"{LIFT} and raises the mean by 5.0 points.",
    ),
    "another worst task": (
        [runs("equal"), runs("dtp", worst=0.35)],
        "`dtp` lifts the worst task (`hard` 43.0 → `easy` 55.0)",
    ),
    "a loss": (
        [runs("equal"), runs("dtp", worst=-0.1, mean=-0.04)],
        "`dtp` is worse than equal weights on the worst task and on the mean.",
    ),
    "losses all over": (
        [runs("equal"), runs("dtp", worst=-0.1, mean=-0.04), runs("stch", worst=-0.2, mean=-0.1)],
        "Both methods are worse than equal weights on the worst task and on the mean.",
    ),
    "no gain": (
        [runs("equal"), runs("dtp", mean=-0.04), runs("stch", worst=-0.1, mean=-0.1)],
        "No method is better than equal weights. `stch` is worse than equal weights on both measures. `dtp` is worse on the "
        "mean.",
    ),
    "all unclear": (
        [runs("equal"), runs("dtp"), runs("stch", weights=[1, 2, 1])],
        "No method can be told apart from equal weights on the worst task or on the mean.",
    ),
    "one task": (
        [[run(m, s, (0.4 + s / 100 + g,), tasks=("a",)) for s in SEEDS] for m, g in (("equal", 0), ("dtp", 0.1))],
        "`dtp` raises `a` by 10.0 points (43.0 → 53.0).",
    ),
    "static weights do as well and lose elsewhere": (
        [
            runs("equal"),
            runs("dtp", worst=0.1),
            [as_run(run("fixed:hard=4", seed, (0.7, 0.6, 0.5 + seed / 100)), "static weights", "static") for seed in SEEDS],
        ],
        "Static weights chosen for the worst task do as well, and cost 6.7 points of the mean.",
    ),
    "static weights do as well": (
        [runs("equal"), runs("dtp", worst=0.1), static("fixed:hard=2", [0.5 + s / 100 for s in SEEDS])],
        "at no measurable cost of the mean. Static weights chosen for the worst task do as well.",
    ),
    "static weights do better": (
        [runs("equal"), runs("dtp", worst=0.1), static("fixed:hard=2", [0.6 + s / 100 for s in SEEDS])],
        "Static weights chosen for the worst task do better still, by 10.0 points.",
    ),
    "static weights do worse": (
        [runs("equal"), runs("dtp", worst=0.1), static("fixed:hard=2", [0.45 + s / 100 for s in SEEDS])],
        "It is 5.0 points above static weights chosen for the worst task.",
    ),
    "too few seeds for a test": (
        [runs("equal", seeds=range(5)), runs("dtp", worst=0.1, seeds=range(5))],
        "`dtp` lifts the worst task (`hard`, 42.0 → 52.0) at no measurable cost of the mean. Not yet tested: 5 of 6 seeds.",
    ),
    "two seeds": (
        [study(equal=[0.4, 0.42], dtp=[0.5, 0.5])],
        "With 2 seeds, `dtp` is 9.0 points above equal weights on the worst task (`hard`, 41.0 → 50.0) and 3.0 above on the "
        "mean. Two seeds are too few for an interval. Not yet tested: 2 of 6 seeds.",
    ),
    "one seed": (
        [study(equal=[0.4], dtp=[0.37])],
        "With 1 seed, `dtp` is 3.0 points below equal weights on the worst task (`hard`, 40.0 → 37.0) and 1.0 below on the "
        "mean. One seed shows no spread. Not yet tested: 1 of 6 seeds.",
    ),
    "nothing finished": ([diverged("equal", 0), diverged("dtp", 0)], "No run has finished: 2 diverged."),
    "no seed in common": (
        [runs("equal"), diverged("dtp", 0)],
        "No seed has finished under both a method and equal weights.",
    ),
    "only equal weights": (
        [runs("equal")],
        "Equal weights reach 43.0 points on the worst task (`hard`) and 67.7 on the mean; there is no method to compare",
    ),
    "no equal weights": (
        [runs("dtp"), runs("stch", worst=0.1, mean=0.05)],
        "Of these methods `stch` reaches the most, 53.0 points on the worst task (`hard`) and 72.7 on the mean.",
    ),
    "a single run": (
        [study(dtp=[0.4])],
        "`dtp` reaches 40.0 points on the worst task (`hard`) and 66.7 on the mean, in one run.",
    ),
    "the same as equal weights": (
        [study(equal=[0.4, 0.5], dtp=[0.4, 0.5])],
        "`dtp` gave the same results as equal weights.",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_headline_of_every_situation(situation):
    found, expected = SITUATIONS[situation]
    assert expected in words(*found)


def test_runs_that_are_missing_are_counted():
    assert words(runs("equal"), missing=2).endswith("7 of 9 runs have finished; these are the results so far.")
    assert "no method has finished yet" in words(runs("equal"), missing=2)
    partly = [runs("equal"), runs("dtp", worst=0.1, seeds=[0])]  # 43.0 is the mean over all seven seeds
    assert "(`hard`, 40.0 → 49.8)" in words(*partly, missing=6)
    assert texts(*partly, missing=6)[0] == "1 of 6 seeds so far"


def test_the_question_names_what_is_compared():
    case = case_of(study(equal=[0.4], dtp=[0.5]))
    assert question([case]) == "Does balancing help on toy?"
    assert question([case_of(study(dtp=[0.5]))]) == ""
    wide = case_of([run(method, 0, (1, 1, 1), network="wide") for method in ("equal", "dtp")])
    assert question([wide]) == "Does balancing help on toy with the wide network?"
    others = [case_of([run(method, 0, (1, 1, 1), problem=name) for method in ("equal", "dtp")]) for name in ("a", "b")]
    assert question(others) == "Does balancing help on a and b?"


def test_rows_are_ranked_with_equal_weights_first():
    case = case_of(runs("equal"), runs("dtp", worst=0.1, mean=-0.04), runs("stch", mean=0.02), diverged("dwa", 0))
    board = leaderboard(case)
    assert [row.name for row in board.rows] == ["equal", "stch", "dtp", "dwa"]
    assert [row.role for row in board.rows] == ["baseline", "method", "method", "method"]
    dtp = board.rows[2]
    assert (dtp.better, dtp.worse, dtp.unclear) == (1, 1, 1)
    assert dtp.decisions == {"worst": "better", "mean": "worse"}
    assert dtp.worst.difference.mean == pytest.approx(10, abs=0.1)
    assert (board.tested, board.fewest, board.can_test, board.cost_of) == (3, 7, True, "epoch")
    assert (board.rows[3].finished, board.rows[3].started) == (0, 1)
    worst = leaderboard(case_of(*(runs(m, worst=w, mean=-w, criterion="worst") for m, w in (("dtp", 0.1), ("stch", 0)))))
    assert [row.name for row in worst.rows] == ["dtp", "stch"]


def test_another_criterion_has_a_column_and_sorts():
    """Its static weights are a baseline, as those for the worst task and the mean are."""
    methods = (("equal", 0.0, 0.0), ("dtp", 0.1, -0.02), ("stch", -0.1, 0.0))
    chosen = {"criterion": '0.75*"hard"+0.25*easy'}
    found = [runs(method, worst=worst, mean=mean, **chosen) for method, worst, mean in methods]
    names = ("static weights (criterion)", "static weights (mean)")
    weights = [static(f"fixed:hard={number}.0", [0.5] * 7, name, **chosen) for number, name in enumerate(names, 2)]
    board = leaderboard(case_of(*found, *weights))
    assert [row.name for row in board.methods] == ["dtp", "stch"], "by the mean it is the other way round"
    assert {row.role for row in board.rows if row.name.startswith("static")} == {"static"}
    dtp = board.methods[0]
    assert dtp.criterion.difference.mean == pytest.approx(0.75 * 10 - 0.25 * 16, abs=0.2)
    assert dtp.decisions == {"criterion": "better", "worst": "better", "mean": "worse"}
    assert board.scopes[0].title == '0.75·"hard" + 0.25·easy'


def test_identical_methods_are_one_row():
    same = static("equal", [0.4 + seed / 100 for seed in SEEDS])
    board = leaderboard(case_of(runs("equal"), same, runs("dtp", worst=0.1)))
    assert [row.names for row in board.rows] == [("equal", "static weights"), ("dtp",)]
    other = leaderboard(case_of(runs("equal"), static("fixed:hard=2", [0.5] * 7), runs("dtp", worst=0.1)))
    assert [(row.name, row.role) for row in other.rows][1:] == [("static weights", "static"), ("dtp", "method")]
    assert other.tested == 1


def test_two_seeds_have_no_interval_and_bounds_are_possible():
    two = leaderboard(case_of(study(equal=[0.4, 0.5], dtp=[0.5, 0.7])))
    assert not two.rows[0].worst.kpi.bounded
    assert (two.rows[0].better, two.rows[0].unclear) == (0, 3)
    wide = leaderboard(case_of(study(equal=[0.01, 0.3, 0.6], dtp=[0.99, 0.02, 0.5])))
    assert wide.baseline.worst.kpi[1:3] == (0, pytest.approx(100, abs=30))
    assert all(row.worst.kpi.low >= 0 and row.worst.kpi.high <= 100 for row in wide.rows)


def texts(*found, missing=0):
    return [alert.text for alert in alerts(answer(case_of(*found), missing))]


def test_alerts_say_what_limits_the_answer():
    few = [runs("equal", seeds=range(5)), runs("dtp", worst=0.1, seeds=range(5))]
    assert texts(*few) == [
        "5 of 6 seeds: no test possible",
        "Not tuned: one learning rate for all",
        "No single-task networks",
        "No static weights to compare with",
        "No run failed",
    ]
    singles = [alone(seed, (0.95, 0.7, 0.5 + seed / 100)) for seed in SEEDS]
    tuned = [tried(method, method, rate, 0.5) for method in ("equal", "dtp") for rate in (0.01, 0.1)]
    full = [runs("equal"), runs("dtp"), diverged("dtp", 7), *singles, static("fixed:hard=2", [0.5] * 7), *tuned]
    assert texts(*full) == ["1 run diverged", "Every method was tuned", "2 of 3 tasks do better alone"]
    assert texts(runs("equal"), runs("dtp"), tried("dtp", "dtp", 0.01, 0.5))[0] == "Not tuned: equal"
    lacking = [run("equal", seed, (0.9, math.nan, 0.4)) for seed in SEEDS]
    assert "No test KPI for middle" in texts(lacking)


def next_of(*found, missing=0, command=COMMAND, plan=None):
    return next_step(answer(case_of(*found), missing), command, plan)


def test_the_next_command_makes_the_answer_firmer():
    few = [runs("equal", seeds=range(5), seconds=10), runs("dtp", worst=0.1, seeds=range(5), seconds=10)]
    found = next_of(*few)
    assert found.command == "hardfirst compare toy --seeds 6"
    assert found.why == "1 more seed makes a test possible; finished runs are kept, about 60 seconds of computing."
    assert (
        next_of(*few, command="hardfirst compare toy --seeds 5 --tune 3").command
        == "hardfirst compare toy --seeds 6 --tune 3"
    )
    assert next_of(*few, command=None).command is None
    assert next_of(*few, missing=2).command == COMMAND
    assert next_of(runs("equal")).command == "hardfirst compare toy --balancers equal,dtp"
    assert next_of(runs("dtp")).command == "hardfirst compare toy --balancers equal,dtp"
    assert next_of(study(equal=[0.4, 0.5], dtp=[0.4, 0.5])) is None
    clear = [runs("equal"), runs("dtp", worst=0.1)]
    assert next_of(*clear).command == "hardfirst compare toy --tune 10"
    assert next_of(*clear, plan={"tune": 5}) is None
    assert next_of(runs("equal"), runs("dtp")).command == "hardfirst compare toy --seeds 10"
    assert "runs again what failed" in next_of(*clear, [run("dtp", 7, (1, 1, 1), outcome="failed")]).why


def test_trees_are_a_reference_without_an_interval() -> None:
    case = replace(case_of(runs("equal"), runs("dtp")), trees={"easy": 0.95, "middle": 0.8, "hard": 0.5})
    (trees,) = leaderboard(case).references
    assert (trees.name, trees.worst.mean, trees.mean.mean) == ("gradient-boosted trees", 50.0, pytest.approx(75.0))
    assert not trees.tasks["easy"].bounded
    assert leaderboard(replace(case, trees={"easy": 0.95})).references == ()  # of other targets
