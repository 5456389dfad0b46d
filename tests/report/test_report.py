import html
import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from hardfirst import report
from hardfirst.errors import InputError
from hardfirst.report.figures import styles
from hardfirst.report.model.answer import answer
from hardfirst.report.sections.answer import answer_block
from hardfirst.report.sections.curves import curves_figure, relative_weight
from hardfirst.report.sections.curves import section as curves_section
from made_records import NINE, alone, case_of, diverged, many_tasks, run, static, study, text_of


def verdict(*found):
    return report.verdict(case_of(*found))


def summary(*found):
    return report.summary(case_of(*found))


def page(*found, **options):
    return report.page(case_of(*found), **options)


# The verdict


# Seven seeds; differences of 5, 6 and 7 points twice each and of 6 once: mean 6, s² = 2/3, half width
# t(.975, 6) · √(2/21) = 2.446912 · .308607 = .755; a third of it on the mean over tasks. The p-value is 2/2⁷ = .016.
LOW = [0.40, 0.42, 0.44, 0.42, 0.40, 0.42, 0.44]
HIGH = [0.45, 0.48, 0.51, 0.48, 0.45, 0.48, 0.51]


def test_a_clear_win_is_said_with_its_interval():
    assert verdict(study(equal=LOW, dtp=HIGH)) == [
        "dtp beats equal weights on the worst task by 6.0 points [5.2, 6.8], n = 7.",
        "dtp is above equal weights on the mean over tasks by 2.0 points [1.7, 2.3], n = 7.",
        "Differences from equal weights are paired by seed, with uncorrected 95% intervals; a sign-flip permutation test "
        "at p ≤ 0.05 decides.",
        "Under equal weights the worst task is hard with 42.0 points [40.5, 43.5], n = 7.",
    ]


def test_the_order_of_the_records_does_not_matter():
    records = study(equal=[0.40, 0.42, 0.44], dtp=[0.45, 0.48, 0.51])
    assert verdict(records[::-1]) == verdict(records)
    assert page(records[::-1], title="toy") == page(records, title="toy")


def test_a_loss_is_said_as_plainly():
    found = verdict(study(equal=HIGH, dtp=LOW))
    assert found[0] == "Equal weights was not beaten on the worst task."
    assert found[1] == "dtp is below equal weights on the worst task by 6.0 points [5.2, 6.8], n = 7."
    assert found[2] == "dtp is below equal weights on the mean over tasks by 2.0 points [1.7, 2.3], n = 7."


def test_no_difference_is_no_win():
    # six differences of ±1 point, s² = 6/5: half width t(.975, 5) · √(1/5) = 2.570582 · .447214
    found = verdict(study(equal=[0.42] * 6, dtp=[0.41, 0.43] * 3))
    assert found[:2] == [
        "Equal weights was not beaten on the worst task.",
        "dtp cannot be told apart from equal weights on the worst task: +0.0 points [−1.1, +1.1], n = 6.",
    ]


def test_runs_that_agree_to_the_bit_are_no_win():
    found = verdict(study(equal=[0.4] * 6, dtp=[0.4] * 6))
    assert "cannot be told apart from equal weights on the worst task: +0.0 points [+0.0, +0.0]" in found[1]


def test_a_win_on_the_worst_task_may_cost_the_mean():
    records = [run("equal", seed, (0.95, 0.7, 0.40 + seed / 100)) for seed in range(6)]
    records += [run("dtp", seed, (0.60 + seed / 500, 0.7, 0.44 + seed / 100)) for seed in range(6)]
    found = verdict(records)
    assert found[0].startswith("dtp beats equal weights on the worst task by 4.0 points")
    assert found[1].startswith("dtp is below equal weights on the mean over tasks by 10.2 points")


def test_more_methods_ask_for_more_though_the_interval_stays():
    # six gains of 3 and a loss of 1 point: 4 of the 128 ways to set the signs are as far from zero, p = .031, of two .062
    # mean 17/7, s² = 16/7: half width t(.975, 6) · √(16/49) = 2.446912 · .571429
    equal, dtp = [0.40] * 7, [0.43] * 6 + [0.39]
    alone = verdict(study(equal=equal, dtp=dtp))
    assert alone[0] == "dtp beats equal weights on the worst task by 2.4 points [1.0, 3.8], n = 7."
    found = verdict(study(equal=equal, dtp=dtp, stch=equal))
    assert found[0] == "Equal weights was not beaten on the worst task."
    assert "dtp cannot be told apart from equal weights on the worst task: +2.4 points [+1.0, +3.8], n = 7." in found
    assert any("Holm-corrected over 2 methods" in sentence for sentence in found)


def test_diverged_runs_are_left_out_pairwise_and_counted():
    found = verdict([*study(equal=[*LOW, 0.9], dtp=HIGH), diverged("dtp", 7)])
    assert found[0] == "dtp beats equal weights on the worst task by 6.0 points [5.2, 6.8], n = 7."
    assert found[-1] == "Of the 8 runs of dtp, 1 diverged; test figures leave out what did not finish."


def test_a_run_without_an_end_counts_for_nothing():
    records = study(equal=LOW[:6], dtp=HIGH[:6])
    assert verdict(records)[0].startswith("dtp beats equal weights")
    records[-1].outcome = None
    found = verdict(records)
    assert "With 5 seeds and 1 method no difference can be called significant; it takes at least 6." in found
    assert not any("beat" in sentence for sentence in found)


def test_too_few_seeds_give_differences_and_no_verdict():
    # differences of 5, 6 and 7 points: mean 6, s = 1, half width 4.303/√3 = 2.484; a third of it on the mean over tasks
    assert verdict(study(equal=LOW[:3], dtp=HIGH[:3], dwa=LOW[:3], stch=[0.35, 0.36, 0.37])) == [
        "dtp is 6.0 points above equal weights on the worst task [3.5, 8.5], n = 3.",
        "dwa is level with equal weights on the worst task: +0.0 points [+0.0, +0.0], n = 3.",
        "stch is 6.0 points below equal weights on the worst task [3.5, 8.5], n = 3.",
        "dtp is 2.0 points above equal weights on the mean over tasks [1.2, 2.8], n = 3.",
        "dwa is level with equal weights on the mean over tasks: +0.0 points [+0.0, +0.0], n = 3.",
        "stch is 2.0 points below equal weights on the mean over tasks [1.2, 2.8], n = 3.",
        "With 3 seeds and 3 methods no difference can be called significant; it takes at least 7.",
        "Differences from equal weights are paired by seed, with uncorrected 95% intervals.",
        "Under equal weights the worst task is hard with 42.0 points [37.0, 47.0], n = 3.",
    ]


def test_one_seed_gives_a_difference_without_interval():
    assert verdict(study(equal=[0.40], dtp=[0.80]))[:3] == [
        "dtp is 30.0 points above equal weights on the worst task, n = 1.",
        "dtp is 13.3 points above equal weights on the mean over tasks, n = 1.",
        "With 1 seed and 1 method no difference can be called significant; it takes at least 6.",
    ]


def test_one_method_may_lack_seeds_while_another_has_them():
    found = verdict([*study(equal=LOW, stch=LOW), diverged("dtp", 0)])
    assert found[0] == "Equal weights was not beaten on the worst task."
    assert "No seed has a worst-task KPI of both dtp and equal weights." in found
    found = verdict(study(equal=LOW, stch=LOW, dtp=HIGH[:4]))
    assert found[0] == "Equal weights was not beaten on the worst task."
    assert "With 4 seeds and 2 methods no difference of dtp can be called significant; it takes at least 7." in found
    assert not any(sentence.startswith("dtp beats") for sentence in found)


def test_a_report_is_made_without_loading_statistics_packages():
    code = "import sys, hardfirst.report; print(*sorted({'statsmodels', 'pandas'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_without_equal_weights_there_is_no_verdict():
    assert verdict(study(dtp=[0.4, 0.5, 0.6], stch=[0.1, 0.1, 0.1])) == ["There is nothing to compare dtp, stch with."]


def test_equal_weights_alone_have_no_verdict():
    assert verdict(study(equal=[0.4, 0.5, 0.6]))[0] == ("There is nothing to compare equal weights with.")


def test_a_single_run_is_no_comparison():
    assert verdict(study(dtp=[0.4])) == ["This is a single run, no comparison. There is nothing to compare dtp with."]


def test_the_worst_task_may_change_with_the_seed():
    records = [run("equal", seed, kpis) for seed, kpis in enumerate([(0.9, 0.5, 0.2), (0.9, 0.3, 0.4), (0.9, 0.5, 0.1)])]
    assert verdict(records)[-1].endswith("; it is the worst in 2 of 3 seeds.")


# The verdict against the baselines


FIXED = "fixed:hard=2"


def test_a_winner_is_held_against_the_static_weights():
    # the static weights are 3 points above equal ones in each seed, so dtp keeps 6 − 3 points, and the interval's width
    found = verdict(study(equal=LOW, dtp=HIGH), static(FIXED, [kpi + 0.03 for kpi in LOW]))
    assert "dtp beats static weights on the worst task by 3.0 points [2.2, 3.8], n = 7." in found
    found = verdict(study(equal=LOW, dtp=HIGH), static(FIXED, [kpi + 0.09 for kpi in LOW]))
    assert "dtp is below static weights on the worst task by 3.0 points [2.2, 3.8], n = 7." in found
    # differences of ±1 point and one of 0: s² = 1, half width t(.975, 6)/√7 = 2.446912 · .377964
    level = [kpi + sign / 100 for kpi, sign in zip(HIGH, (1, -1, 1, -1, 1, -1, 0), strict=True)]
    found = verdict(study(equal=LOW, dtp=HIGH), static(FIXED, level))
    assert "dtp cannot be told apart from static weights on the worst task: +0.0 points [−0.9, +0.9], n = 7." in found
    assert any(sentence.startswith("Differences from equal weights and to static weights are paired") for sentence in found)


def test_what_does_not_beat_equal_weights_is_compared_with_static_weights_that_beat_it():
    found = verdict(study(equal=LOW, dtp=LOW), static(FIXED, HIGH))
    assert found[0] == "Equal weights was not beaten on the worst task."
    assert "Static weights differ from equal weights on the worst task by +6.0 points [+5.2, +6.8], n = 7." in found
    assert "dtp is below static weights on the worst task by 6.0 points [5.2, 6.8], n = 7." in found
    level = verdict(study(equal=LOW, dtp=LOW), static(FIXED, LOW))
    assert not any("static weights" in sentence for sentence in level if sentence.startswith("dtp"))


def test_each_measure_has_its_own_static_weights():
    worst, mean = (f"static weights ({measure})" for measure in ("worst task", "mean"))
    found = verdict(study(equal=LOW, dtp=HIGH), static(FIXED, HIGH, worst), static("fixed:easy=2", LOW, mean))
    assert f"dtp cannot be told apart from {worst} on the worst task: +0.0 points [+0.0, +0.0], n = 7." in found
    assert f"dtp beats {mean} on the mean over tasks by 2.0 points [1.7, 2.3], n = 7." in found
    assert not any("of 2 methods" in sentence or f"{worst} beats" in sentence for sentence in found)
    equal = verdict(study(equal=LOW[:6], dtp=HIGH[:6]), static(FIXED, HIGH[:6], worst), static("equal", LOW[:6], mean))
    assert "Static weights (mean) are equal weights: no other grid point did better in validation." in equal
    assert not any(f"{mean} on" in sentence for sentence in equal)


def test_static_weights_are_held_against_all_methods_not_just_the_winner():
    # dtp is 6 points above equal weights in all 7 seeds: p = 2/2⁷, times 3 methods .047. It is 3 points above the static
    # weights six times, and 1 point below once: p = 4/2⁷, which is .031 for one method and .062 for two; dwa is told apart
    # from neither
    equal, dtp, dwa = [0.40] * 7, [0.46] * 7, [0.46] * 4 + [0.40, 0.40, 0.37]
    found = verdict(study(equal=equal, dtp=dtp, dwa=dwa), static(FIXED, [0.43] * 6 + [0.47]))
    assert "dtp beats equal weights on the worst task by 6.0 points [6.0, 6.0], n = 7." in found
    assert "dtp cannot be told apart from static weights on the worst task: +2.4 points [+1.0, +3.8], n = 7." in found
    assert found[-2].endswith("and over 2 methods against static weights.")


def test_a_winner_may_share_too_few_seeds_with_the_static_weights():
    found = verdict(study(equal=LOW, dtp=HIGH), static(FIXED, LOW[:3]))
    assert (
        "dtp cannot be told apart from static weights on the worst task: +6.0 points [+3.5, +8.5], n = 3; too few seeds "
        "to tell." in found
    )
    ended = [replace(item, record=diverged(FIXED, item.record.trial["seed"])) for item in static(FIXED, LOW)]
    found = verdict(study(equal=LOW, dtp=HIGH), ended)
    assert "No seed has a worst-task KPI of both dtp and static weights." in found


def test_static_weights_that_are_equal_ones_count_for_nothing():
    # of two methods it would take 7 seeds
    found = verdict(study(equal=LOW[:6], dtp=HIGH[:6]), static("equal", LOW[:6]))
    assert found[0].startswith("dtp beats equal weights on the worst task")
    assert [sentence for sentence in found if "tatic weights" in sentence] == [
        "Static weights are equal weights: no other grid point did better in validation."
    ]


def test_starved_tasks_are_named():
    singles = [alone(seed, kpis) for seed, kpis in enumerate([(0.9, 0.68, 0.45), (0.9, 0.69, 0.48), (0.9, 0.67, 0.51)])]
    found = verdict(study(equal=LOW[:3]), *singles)
    assert found[-1] == (
        "Under equal weights 1 of 3 tasks is starved, that is, its single-task network does better: hard; the gap is 6.0 "
        "points [3.5, 8.5], n = 3."
    )
    # easy is 1, 2 and 3 points ahead: 2 ± 2.484 holds 0; middle is 3, 4 and 5 ahead: 4 ± 2.484 does not
    singles = [alone(seed, kpis) for seed, kpis in enumerate([(0.91, 0.73, 0.45), (0.92, 0.74, 0.48), (0.93, 0.75, 0.51)])]
    assert verdict(study(equal=LOW[:3]), *singles)[-1] == (
        "Under equal weights 2 of 3 tasks are starved, that is, their single-task networks do better: hard, middle; the "
        "largest gap is 6.0 points [3.5, 8.5], n = 3."
    )


def test_where_no_task_is_starved_the_largest_gap_is_given():
    singles = [alone(seed, kpis) for seed, kpis in enumerate([(0.8, 0.7, 0.41), (0.8, 0.7, 0.42), (0.8, 0.7, 0.46)])]
    # gaps of hard of 1, 0 and 2 points: 1 ± 2.484
    assert verdict(study(equal=LOW[:3]), *singles)[-1] == (
        "No task is shown to be starved under equal weights: the largest gap to a single-task network is that of hard, +1.0 "
        "points [−1.5, +3.5], n = 3."
    )


def test_one_seed_shows_nobody_starved():
    assert not any("starved" in sentence for sentence in verdict(study(equal=[0.4]), alone(0, (0.9, 0.9, 0.9))))


def test_single_task_runs_that_did_not_finish_are_counted():
    singles = [*alone(0, (0.9, 0.7, 0.5)), *alone(1, (0.9, 0.7, 0.5), outcome="diverged")]
    assert verdict(study(equal=[0.4, 0.4]), singles)[-1] == (
        "Of the 6 single-task runs, 3 diverged; test figures leave out what did not finish."
    )


# The table


def test_the_table_holds_intervals_in_points():
    found = summary(study(equal=[0.40, 0.42, 0.44], dtp=[0.45, 0.48, 0.51]))
    assert found.methods == ("equal", "dtp")
    assert [(row.name, row.kind) for row in found.rows] == [
        ("easy", "task"),
        ("middle", "task"),
        ("hard", "task"),
        ("worst task", "worst"),
        ("mean over tasks", "mean"),
    ]
    hard, worst, mean = (row.cells for row in found.rows[2:])
    assert hard["dtp"].kpi == pytest.approx((48, 48 - 7.452413, 48 + 7.452413, 3))
    assert hard["dtp"].difference == pytest.approx((6, 6 - 2.484138, 6 + 2.484138, 3))
    assert hard["equal"].difference is None
    assert worst == hard
    assert mean["equal"].kpi.mean == pytest.approx((90 + 70 + 42) / 3)


def test_without_equal_weights_the_table_has_no_differences():
    found = summary(study(dtp=[0.4, 0.5], stch=[0.1, 0.2]))
    assert all(cell.difference is None for row in found.rows for cell in row.cells.values())


def test_the_table_counts_the_runs():
    found = summary([*study(equal=[0.4, 0.5], dtp=[0.4]), diverged("dtp", 1)])
    assert found.finished == {"equal": 2, "dtp": 1}
    assert found.started == {"equal": 2, "dtp": 2}


def test_single_task_networks_are_a_reference_and_give_delta_m():
    singles = [alone(seed, (0.9, 0.7, kpi)) for seed, kpi in enumerate([0.50, 0.40, 0.55])]
    found = summary(study(equal=[0.50, 0.40, 0.55], dtp=[0.45, 0.44, 0.55]), *singles)
    # dtp gains −10, 10 and 0 % on one task of three: mean 0, s = 10/3, half width 4.302653 · (10/3)/√3
    delta = next(row for row in found.rows if row.kind == "delta_m")
    assert delta.cells["dtp"].kpi == pytest.approx((0, -8.280458, 8.280458, 3))
    assert delta.cells["equal"].kpi == pytest.approx((0, 0, 0, 3))
    assert delta.cells["dtp"].difference is None
    assert [row.kind for row in found.rows] == ["task", "task", "task", "worst", "mean", "delta_m"]
    assert list(found.single) == ["easy", "middle", "hard", "worst task", "mean over tasks"]
    assert found.single["hard"].mean == pytest.approx(145 / 3)
    assert found.single["worst task"] == found.single["hard"]
    assert found.single["mean over tasks"].mean == pytest.approx((90 + 70 + 145 / 3) / 3)


def test_a_single_task_network_that_is_missing_takes_its_seed_with_it():
    found = summary(study(equal=[0.5, 0.4, 0.55]), alone(0, (0.9, 0.7, 0.5)), alone(1, (0.9, 0.7, 0.5))[:2])
    assert {name: interval.n for name, interval in found.single.items()} == {
        "easy": 2,
        "middle": 2,
        "hard": 1,
        "worst task": 1,
        "mean over tasks": 1,
    }
    assert found.single_n == 2
    assert next(row for row in found.rows if row.kind == "delta_m").cells["equal"].kpi.n == 1


def test_without_single_task_networks_the_table_has_no_reference():
    found = summary(study(equal=[0.4, 0.5], dtp=[0.5, 0.6]))
    assert found.single == {}
    assert found.single_n == 0
    assert not any(row.kind == "delta_m" for row in found.rows)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "at least one run record"),
        ([run("dtp", 0, (1, 1, 1)), run("dtp", 0, (1, 1, 1))], "two of dtp with seed 0, with the same settings"),
        (
            [run("dtp", 0, (1, 1, 1)), run("dtp", 0, (1, 1, 1), learning_rate=0.1)],
            "two of dtp with seed 0, which differ in learning_rate",
        ),
        ([run("dtp", 0, (1, 1, 1)), run("dtp", 1, (1, 1, 1), problem="other")], "'toy' and 'other'"),
        ([run("dtp", 0, (1, 1, 1)), run("dtp", 1, (1,), tasks=("a",))], "easy, middle, hard and a"),
    ],
)
def test_records_that_do_not_belong_together_are_refused(records, message):
    with pytest.raises(InputError, match=message):
        summary(records)


# The figures


def tradeoff(*found):
    facts = answer(case_of(*found))
    return answer_block(facts, styles(facts.case.methods), "").chart.figure


def curves(*found, tasks=("easy", "middle", "hard")):
    facts = answer(case_of(*found))
    return curves_figure(facts, tasks, facts.case.methods, styles(facts.case.methods))


def test_plotly_knows_every_property_of_the_figures():
    records = study(equal=[0.4, 0.5], dtp=[0.5, 0.7])
    for figure in (tradeoff(records), curves(records)):
        go.Figure({"data": figure["data"], "layout": figure["layout"]})


def test_a_method_is_a_cross_of_its_intervals():
    # HIGH − LOW is 6 ± .755, and a third of it on the mean, as in the verdict
    figure = tradeoff(study(equal=LOW, dtp=HIGH))
    origin, cross = figure["data"]
    assert (origin["x"], origin["y"]) == ([0], [0])
    assert (cross["x"], cross["y"], cross["name"]) == ([pytest.approx(2)], [pytest.approx(6)], "dtp")
    assert cross["error_y"]["array"] == pytest.approx([0.755], abs=1e-3)
    assert cross["error_x"]["arrayminus"] == pytest.approx([0.755 / 3], abs=1e-3)
    (better,) = (shape for shape in figure["layout"]["shapes"] if shape["type"] == "rect")
    assert better["x1"] > 2.3
    assert better["y1"] > 6.8
    texts = [text["text"] for text in figure["layout"]["annotations"]]
    assert texts == ["better on both", "dtp", "equal weights"]


def test_two_seeds_are_drawn_themselves():
    seeds, _, cross = tradeoff(study(equal=[0.4, 0.5], dtp=[0.5, 0.7]))["data"]
    assert sorted(seeds["y"]) == pytest.approx([10, 20])
    assert cross["y"] == pytest.approx([15])
    assert "error_y" not in cross


def test_curves_are_means_with_a_band_over_the_seeds():
    figure = curves(study(equal=[0.3, 0.6]))
    band, mean = (trace for trace in figure["data"] if trace["xaxis"] == "x5")  # the KPI of the third task
    assert mean["x"] == [1, 2, 3]
    assert mean["y"] == pytest.approx([15, 30, 45])
    assert band["y"] == pytest.approx([20, 40, 60, 30, 20, 10])
    (weight,) = (trace for trace in figure["data"] if trace["xaxis"] == "x6")
    assert weight["y"] == [1, 1, 1]
    assert (figure["panels"], figure["below"]) == (6, "weight")


def test_weights_are_relative_to_an_equal_share():
    record = run("dtp", 0, (0.9, 0.5, 0.4))
    for line in record.epochs:
        for task, weight in zip(record.tasks, (6.0, 1.0, 3.0), strict=True):
            line["tasks"][task]["weight"] = weight
    assert [list(relative_weight(record, task)) for task in record.tasks] == [[1.8] * 3, [0.3] * 3, [0.9] * 3]
    record.epochs[0]["tasks"][record.tasks[0]]["weight"] = math.nan
    assert math.isnan(relative_weight(record, record.tasks[0])[0])
    assert relative_weight(record, record.tasks[1])[0] == 0.75


def test_runs_that_did_not_finish_are_drawn_only_for_want_of_better():
    mixed = curves([*study(dtp=[0.3]), diverged("dtp", 1)])
    assert [len(trace["x"]) for trace in mixed["data"]] == [3] * 6
    alone = curves([diverged("dtp", 1)])
    assert [len(trace["x"]) for trace in alone["data"]] == [1] * 6


def test_the_tasks_that_moved_most_are_open():
    case = case_of(
        many_tasks()[2:],
        [run("equal", seed, [0.1 * task + 0.05 for task in range(1, 10)], tasks=NINE) for seed in (0, 1)],
    )
    section = curves_section(answer(case), styles(case.methods))
    shown, others = section.charts.values()
    titles = [[title["text"] for title in figure["layout"]["annotations"] if title["text"]] for figure in (shown, others)]
    assert (len(titles[0]), len(titles[1])) == (3, 6)
    assert section.heading == "Training curves: the 3 tasks that moved most"


def test_one_task_has_no_weight():
    figure = curves([run("equal", 0, (0.5,), tasks=("a",))], tasks=("a",))
    assert figure["panels"] == 1
    assert "below" not in figure


def test_methods_look_different_and_equal_weights_always_the_same():
    looks = styles(["equal", *(f"method{number}" for number in range(16))])
    assert len(set(looks.values())) == 17
    assert looks["equal"] == styles(["equal"])["equal"]
    neighbours = list(looks.values())[1:5]
    assert len({look.colour for look in neighbours}) == len({look.dash for look in neighbours}) == 4  # in grey too


# The page


def test_the_page_says_what_the_terminal_says():
    records = [*study(equal=[0.40, 0.42, 0.44], dtp=[0.45, 0.48, 0.51]), diverged("dtp", 3)]
    text = text_of(page(records, title="toy"))
    for sentence in verdict(records):
        assert re.sub(r"\s", "", sentence) in re.sub(r"\s", "", text)
    for fact in (
        "Does balancing help on toy?",
        "dtp lifts the worst task ( hard , 42.0 → 48.0) and raises the mean by 2.0 points.",
        "hard 42.0 42.0 42.0 [37.0, 47.0] +6.0 48.0 +6.0 [+3.5, +8.5]",
        "3 of 4 runs finished",
        "dtp 3 diverged 1 the loss of hard is NaN",
        "Single-task networks are not part of this comparison",
        "Tuned static weights are not part of this comparison",
        "equal tuning is not part of this comparison",
        "hardfirst compare toy",
        "learning_rate 0.01",
        "torch 2.13.0",
    ):
        assert fact in text


def test_the_page_of_a_single_run():
    text = text_of(page(study(dtp=[0.4]), title="dtp on toy"))
    assert "This is a single run, no comparison." in text
    assert "There is one seed, which shows no spread: no figure has an interval." in text
    assert "hard 40.0 worst task 40.0 mean over tasks 66.7" in text
    assert "lacks" not in text


def test_the_cost_is_relative_to_equal_weights_seed_by_seed():
    records = [run("equal", seed, (1, 1, 1), seconds=1 + seed) for seed in range(3)]
    records += [run("dtp", seed, (1, 1, 1), seconds=1.5 * (1 + seed)) for seed in range(3)]
    assert "1.50 [1.50, 1.50]" in text_of(page(records, title="toy"))


def test_settings_that_differ_name_their_methods():
    records = [run("equal", 0, (1, 1, 1)), run("dtp", 0, (1, 1, 1), learning_rate=0.1)]
    text = text_of(page(records, title="toy"))
    assert "learning_rate 0.01 (equal) 0.1 (dtp)" in text
    assert "Learning rates differ (equal at 0.01; dtp at 0.1)" in text


def test_static_weights_are_not_called_absent():
    text = text_of(page([run("equal", 0, (1, 1, 1)), run("fixed:hard=2", 0, (1, 1, 1))], title="toy"))
    assert "There are static weights (fixed:hard=2); whether they were tuned is not on record." in text


def test_a_given_command_stands_for_the_recorded_ones():
    text = text_of(page(study(dtp=[0.4]), title="toy", command="hardfirst train toy & more"))
    assert "hardfirst train toy & more" in text
    assert "hardfirst compare toy" not in text


def test_a_kpi_that_finished_runs_lack_is_named():
    records = [run("equal", seed, (0.9, math.nan, 0.4)) for seed in range(3)]
    text = text_of(page(records, title="toy"))
    assert "Finished runs lack a test KPI for middle" in text
    assert "is undefined there" not in text, "the runs do not say whether there is a label"
    assert "worst task –" in text
    for record in records:
        record.test["tasks"]["middle"]["examples"] = 8
    assert "The KPI of middle is undefined there, though the task has labels." in text_of(page(records, title="toy"))


def test_nothing_from_the_records_becomes_markup():
    hostile = "</script><b onmouseover=x>"
    records = [
        run(f"{name}{hostile}", 0, (0.5, 0.6), tasks=(hostile, "b"), problem=hostile, network=hostile)
        for name in ("dtp", "stch")
    ]
    records += [run(f"{hostile}", 1, (0.5, 0.6), tasks=(hostile, "b"), problem=hostile, outcome="failed", reason=hostile)]
    records[0].made_with = {"command": hostile, "versions": {hostile: hostile}}
    document = page(records, title=hostile)
    assert hostile not in document
    assert document.count("</script>") == 5
    written = document.partition('id="figures">')[2].partition("</script>")[0]
    assert "<" not in written
    data = json.loads(written)
    # plotly.js reads simple markup in text, so the names in the data have to be escaped too
    assert data["curves"]["layout"]["annotations"][0]["text"] == html.escape(hostile)
