"""What the page says of starvation, controls, tuning, cost and of what a comparison lacks, by hand-made runs."""

import math
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from hardfirst.errors import InputError
from hardfirst.records.cost import StepCost
from hardfirst.records.names import GRID, STATIC_FOR
from hardfirst.report import summary
from hardfirst.report.blocks import Section
from hardfirst.report.figures import styles
from hardfirst.report.model import frames
from hardfirst.report.model.answer import answer
from hardfirst.report.sections import controls, curves, metrics, tuning, why
from hardfirst.report.sections.kpis import kpi_table
from hardfirst.report.sections.reproduction import settings_table
from hardfirst.report.sections.runs import cost_table, unfinished_table
from hardfirst.report.text import notes
from made_records import alone, as_run, case_of, control, diverged, render_blocks, run, static, study, text_of, tried

FIXED = "fixed:hard=2"
# six or seven seeds are what it takes to tell a difference of one or two methods
LOW = [0.40, 0.42, 0.44, 0.42, 0.40, 0.42, 0.44]
HIGH = [0.45, 0.48, 0.51, 0.48, 0.45, 0.48, 0.51]
BETWEEN = [kpi + 0.03 for kpi in LOW]


def looks(case):
    return styles(case.methods)


def text(block):
    """The visible text of a block, or of a section's blocks, as one line."""
    blocks = block.blocks if isinstance(block, Section) else (block,)
    return text_of(f"<main>{render_blocks(*blocks)}</main>")


def check(figure):
    """The figure, which plotly has to know every property of."""
    go.Figure({"data": figure["data"], "layout": figure["layout"]})
    return figure


# Who is starved?


def starved():
    """Gaps of easy 0, 2 and 4, of middle 3, 4 and 5, and of hard 5, 6 and 7 points."""
    singles = [alone(seed, kpis) for seed, kpis in enumerate([(0.90, 0.73, 0.45), (0.92, 0.74, 0.48), (0.94, 0.75, 0.51)])]
    return [*study(equal=LOW[:3]), *singles]


def weighing(balancer, *weights):
    """A run of each seed with these weights."""
    return [run(balancer, seed, (0.9, 0.7, 0.4), weights=each) for seed, each in enumerate(weights)]


def reasons(*found):
    case = case_of(*found)
    return why.section(answer(case), looks(case))


def test_the_starved_tasks_and_their_weights_are_said():
    # hard: a gap of 6 ± 2.484138; 2, 4 and 6 are half, once and one and a half of their mean
    found = text(reasons(*starved(), weighing("dtp", (2.0, 4.0, 6.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))))
    assert "2 of 3 tasks are starved: a network of their own does better, for hard by 6.0 [3.5, 8.5] points." in found
    assert "dtp gives hard 1.2 times an equal share; its weights follow the starvation gap (correlation +1.00)." in found
    assert "easy +2.0 [−3.0, +7.0] 1.00 0.83" in found  # equal weights, and (.5 + 1 + 1) / 3
    none = reasons(study(equal=LOW[:3]), *[alone(seed, (0.9, 0.7, kpi)) for seed, kpi in enumerate((0.41, 0.42, 0.46))])
    assert "No task is shown to be starved; the largest gap is that of hard , +1.0 [−1.5, +3.5] points." in text(none)


def test_the_correlation_says_where_the_weight_goes():
    # gaps 2, 4 and 6 against weights 3, 2 and 1, and against 1, 4 and 1: −1 and 0
    found = text(
        reasons(*starved(), weighing("dtp", (3.0, 2.0, 1.0)), weighing("dwa", (1.0, 4.0, 1.0)), weighing("stch", None))
    )
    assert "correlation with the gap – −1.00 +0.00 – " in f"{found} "
    assert "its weights go against the starvation gap (correlation −1.00)" in found


def test_the_chart_sets_weights_against_gaps_and_names_the_tasks():
    section = reasons(*starved(), weighing("dtp", (2.0, 4.0, 6.0)), weighing("stch", None))
    figure = check(section.charts["starvation"])
    assert figure["panels"] == 1  # the weights of stch are all the same
    (points,) = figure["data"]
    assert points["x"] == pytest.approx([6, 4, 2])
    assert points["y"] == pytest.approx([1.5, 1, 0.5])
    assert points["error_x"]["array"] == pytest.approx([2.484138, 2.484138, 2 * 2.484138])
    assert [text["text"] for text in figure["layout"]["annotations"]] == ["dtp", "hard", "middle", "easy"]


def test_two_tasks_have_no_correlation():
    tasks = ("a", "b")
    found = [run("equal", 0, (0.5, 0.6), tasks=tasks), run("dtp", 0, (0.5, 0.6), tasks=tasks, weights=(0.5, 1.5))]
    shown = text(reasons(found, alone(0, (0.6, 0.6), tasks=tasks)))
    assert "dtp gives b 1.5 times an equal share." in shown
    assert "b +0.0 1.00 1.50" in shown
    assert not any(word in shown for word in ("correlation", "starved"))


def test_without_a_reference_nobody_can_be_starved():
    without_single, without_equal = [study(equal=[0.4], dtp=[0.5])], [study(dtp=[0.4]), alone(0, (1, 1, 1))]
    for found in (without_single, without_equal, [study(equal=[0.4]), alone(1, (1, 1, 1))]):  # no seed in common
        assert reasons(*found) is None


# Is it the dynamics?


def controlled(*found):
    return " ".join(text(block) for block in controls.blocks(case_of(*found)))


def test_controls_are_set_against_their_dtp():
    # dtp is 1 point above and below raw weights by turns, and at last 2 above: mean 2/7, s² = 11/7
    raw = [kpi - ahead / 100 for kpi, ahead in zip(HIGH, (1, -1, 1, -1, 1, -1, 2), strict=True)]
    found = controlled(
        study(equal=LOW, dtp=HIGH),
        control("easy first", "dtp:priority=easy", LOW),
        control("raw weights", "dtp:normalize=false", raw),
        control("frozen average", "fixed:hard=2", [kpi + 0.06 for kpi in HIGH]),
    )
    # over the three controls the p-values 1/64, .77 and 1/64 become 3/64, .77 and 3/64
    assert "easy first −6.0 [−6.8, −5.2] −2.0 [−2.3, −1.7] It matters which tasks get the weight." in found
    assert "raw weights −0.3 [−1.4, +0.9] −0.1 [−0.5, +0.3] Normalising is not shown to matter to the worst task." in found
    assert "frozen average +6.0 [+6.0, +6.0] +2.0 [+2.0, +2.0] The change of weights over time does harm here." in found
    assert "decided on the worst task by a sign-flip test at p ≤ 0.05, Holm-corrected over 3 controls." in found


def test_controls_of_hard_first():
    found = controlled(
        study(equal=LOW, hard_first=HIGH),
        [as_run(each, "no restart", "control", control_of="hard_first") for each in singly("hard_first:restart=false", LOW)],
    )
    assert "no restart −6.0 [−6.8, −5.2] −2.0 [−2.3, −1.7] Training from the start with the weights helps." in found


def singly(balancer, hard):
    return [run(balancer, seed, (0.9, 0.7, kpi)) for seed, kpi in enumerate(hard)]


def test_curves_say_when_a_network_goes_back_to_step_0():
    (restarted,) = singly("hard_first", [0.5])
    restarted.epochs[1]["restarted"] = 9
    case = case_of(study(equal=[0.4]), as_run(restarted))
    assert "The network of hard_first goes back to step 0 in epoch 2." in text(curves.section(answer(case), looks(case)))


def test_with_few_seeds_controls_are_not_judged():
    found = controlled(study(equal=LOW[:3], dtp=HIGH[:3]), control("easy first", "dtp:priority=easy", LOW[:3]))
    assert "easy first −6.0 [−8.5, −3.5] −2.0 [−2.8, −1.2] Too few seeds to test." in found
    assert "sign-flip" not in found


def test_a_control_that_never_finished_has_no_difference():
    found = controlled(study(dtp=HIGH[:2]), as_run(diverged("dtp:priority=easy", 0), "easy first", "control"))
    assert "easy first – – No seed has a worst-task KPI of both." in found


def test_controls_belong_to_the_method_that_the_study_names():
    easy = control("easy first", "mine.py:Own:easy=true", LOW)
    named = [replace(each, entry=each.entry.model_copy(update={"control_of": "mine.py:Own"})) for each in easy]
    assert "Differences are control − mine.py:Own" in controlled(
        study(**{"equal": LOW, "mine.py:Own": HIGH, "dtp": LOW}), named
    )


def test_without_controls_or_their_dtp_there_is_nothing_to_show():
    assert controlled(study(equal=[0.4], dtp=[0.5])) == ""
    assert controlled(study(equal=[0.4], dwa=[0.5]), control("easy first", "dtp:priority=easy", [0.5])) == ""


# Tuning


def tuned(*found):
    case = case_of(study(equal=[0.4], dtp=[0.5]), *found)
    return tuning.section(case, looks(case))


def test_what_was_tried_and_what_was_taken():
    found = text(
        tuned(
            tried("dtp", "dtp:gamma=2", 0.001, 0.5),
            tried("dtp", "dtp", 0.01, 0.6),
            tried("dtp", "dtp:alpha=0.2,gamma=3", 0.1, 0.65, seconds=2.0),
            tried("dtp", "dtp", 1.0, 0.9, outcome="diverged"),
        )
    )
    # four runs of 3 epochs at 1, 1, 2 and 1 seconds
    assert "dtp 4 0.001 to 1 0.1 alpha=0.2, gamma=3 65.0 50.0 to 65.0 12 15 1" in found
    assert "best may lie beyond" not in found


def test_what_was_taken_of_a_recipe():
    recipes = [{"clip": clip, "schedule": "cosine"} for clip in (0.1, 10.0)]
    runs = [tried("dtp", "dtp", 0.01, kpi, recipe=recipe) for kpi, recipe in zip((0.5, 0.6), recipes, strict=True)]
    assert " 0.01 clip 10.0 60.0 " in text(tuned(runs))


def test_options_that_were_left_as_they_are():
    assert " 0.01 its defaults 60.0 " in text(tuned(tried("dtp", "dtp:gamma=2", 0.1, 0.5), tried("dtp", "dtp", 0.01, 0.6)))
    spec = "dtp:gamma=2,potential.easy=0.9,potential.hard=0.5"
    found = text(tuned(tried("dtp", spec, 0.1, 0.6), tried("dtp", "dtp", 0.01, 0.5)))
    assert " 0.1 gamma=2, potentials by task 60.0 " in found
    assert " 0.01 – 60.0 " in text(tuned(tried("equal", "equal", 0.1, 0.5), tried("equal", "equal", 0.01, 0.6)))


def test_a_choice_at_the_edge_of_the_grid_is_pointed_out():
    lowest = [tried("equal", "equal", rate, kpi) for rate, kpi in ((0.001, 0.6), (0.01, 0.5))]
    highest = [tried("dtp", "dtp", rate, kpi) for rate, kpi in ((0.001, 0.5), (0.01, 0.6))]
    single = [
        tried("single-task", "equal", rate, kpi, role="single", tasks=(task,))
        for task in ("easy", "hard")
        for rate, kpi in ((0.001, 0.5), (0.01, 0.6))
    ]
    found = text(tuned(lowest, highest, single))
    assert "The learning rate chosen for equal is the lowest tried: the best may lie beyond." in found
    assert (
        "The learning rate chosen for dtp, the single-task networks of easy, hard is the highest tried: the best may lie "
        "beyond." in found
    )
    assert "single-task, hard 2 0.001 to 0.01 0.01 – 60.0 50.0 to 60.0 6 6 0" in found


def test_where_nothing_finished_there_is_no_choice():
    found = text(tuned([tried("dtp", "dtp", rate, 0.5, outcome="diverged") for rate in (0.001, 0.01, 0.1)]))
    assert "dtp 3 0.001 to 0.1 0.01 – – – 9 9 3" in found
    assert "No tuning run of dtp finished: the middle of what was tried was taken." in found
    assert "Learning-rate curves" not in found


@pytest.mark.parametrize(
    ("balancer", "weights"),
    [
        ("equal", "equal weights"),
        ("fixed:normalize=true,weights.easy=0.5,weights.hard=2.0,weights.middle=0.5", "hard 2, others 0.5"),
        ("fixed:normalize=true,weights.easy=0.5,weights.hard=1.5,weights.middle=1.0", "easy 0.5, hard 1.5, middle 1"),
    ],
)
def test_static_weights_are_grid_points_and_have_no_curve(balancer, weights):
    grid = [tried("static weights", spec, 0.01, kpi, role="static") for spec, kpi in (("dwa", 0.5), (balancer, 0.6))]
    case = case_of(study(equal=[0.4]), static(balancer, [0.4]), grid)
    section = tuning.section(case, looks(case))
    assert f"static weights 2 grid points 0.01 0.01 {weights} 60.0 50.0 to 60.0 6 6 0" in text(section)
    assert section.charts == {}


def test_each_measure_chooses_its_static_weights_from_the_same_grid():
    grid = [
        as_run(replace(tried("", spec, 0.01, 0).record, epochs=run("", 0, kpis).epochs), GRID, "static", tuning=True)
        for spec, kpis in (("equal", (0.5, 0.5, 0.5)), (FIXED, (0.9, 0.9, 0.3)))
    ]
    worst, mean = STATIC_FOR.values()
    case = case_of(study(equal=[0.4]), static("equal", [0.4], worst), static(FIXED, [0.4], mean), grid)
    found = text(tuning.section(case, looks(case)))
    assert f"{mean} 2 grid points 0.01 0.01 hard=2 70.0 50.0 to 70.0" in found
    assert f"{worst} 2 grid points 0.01 0.01 equal weights 50.0 30.0 to 50.0" in found
    assert frames.tuning([case]).query("chosen").set_index("method")["balancer"].to_dict() == {worst: "equal", mean: FIXED}


def test_curves_go_over_the_learning_rate():
    figure = check(
        tuned(
            [tried("dtp", spec, rate, kpi) for spec, rate, kpi in (("dtp:gamma=2", 0.1, 0.5), ("dtp", 0.001, 0.6))],
            [tried("equal", "equal", rate, kpi) for rate, kpi in ((0.001, 0.5), (0.01, 0.7), (0.1, 0.6))],
            tried("equal", "equal", 1.0, 0.9, outcome="diverged"),
        ).charts["learning-rates"]
    )
    assert figure["panels"] == 2
    ring, curve, dtp_ring, dtp = figure["data"]
    assert (ring["x"], ring["y"]) == ([0.01], pytest.approx([70]))
    assert (curve["x"], curve["y"], curve["mode"]) == ([0.001, 0.01, 0.1], pytest.approx([50, 70, 60]), "lines+markers")
    assert (dtp_ring["x"], dtp["x"], dtp["mode"]) == ([0.001], [0.001, 0.1], "markers")
    assert dtp["text"] == ["dtp", "dtp:gamma=2"]
    low, high = figure["layout"]["xaxis"]["range"]
    assert low < -3
    assert high > 0  # the rate that diverged is within reach


def test_without_tuning_there_is_nothing_to_show():
    assert tuned() is None


# The table of KPIs, here and in the terminal


def with_singles(**settings):
    singles = [alone(seed, (0.9, 0.7, kpi)) for seed, kpi in enumerate([0.50, 0.40, 0.55])]
    return case_of(study(equal=[0.50, 0.40, 0.55], dtp=[0.45, 0.44, 0.55], **settings), *singles)


def test_the_table_begins_with_the_single_task_networks():
    # hard: mean 145/3, s = 7.637626, half width 4.302653 · s/√3; Δm as in the test of the summary
    case = with_singles()
    found = text(kpi_table(summary(case), looks(case)))
    assert "Task single-task n = 3 equal n = 3 dtp n = 3" in found
    assert "hard 48.3 [29.4, 67.3] 48.3 [29.4, 67.3] 48.0 [32.9, 63.1] −0.3 [−11.5, +10.9]" in found
    assert "Δm against single-task, % – +0.0 [+0.0, +0.0] +0.0 [−8.3, +8.3]" in found


# Runs, cost and settings


def test_the_cost_of_a_step_is_shown_where_it_was_measured():
    costs = {"equal": StepCost(0.008, 1.0, 1.0, 1.0, 21), "dtp": StepCost(0.01, 1.254, 1.2, 1.3, 21)}
    case = replace(case_of(study(equal=[0.4], dtp=[0.5], dwa=[0.5])), costs=costs)
    found = text(cost_table(case, looks(case)))
    assert "over 21 rounds" in found
    assert "equal 1 of 1 3 3 1.00 1 dtp" in found
    assert "dtp 1 of 1 3 3 1.00 1.25 [1.20 to 1.30] dwa" in found
    assert "dwa 1 of 1 3 3 1.00 –" in found


def test_peak_memory_is_a_mean_over_seeds():
    megabytes = [run("equal", seed, (1, 1, 1), memory=size * 2**20) for seed, size in enumerate((1400, 1500))]
    case = case_of(megabytes, study(dtp=[0.5]))
    found = text(cost_table(case, looks(case)))
    assert "Peak memory, MiB" in found
    assert "1 1,450 dtp" in found
    assert "Peak memory" not in text(cost_table(case_of(study(equal=[0.4])), looks(case)))


def test_whatever_did_not_finish_is_listed_under_its_own_name():
    case = case_of(
        study(equal=[0.4], dtp=[0.5]),
        as_run(diverged("dtp:priority=easy", 0), "easy first", "control"),
        as_run(diverged(FIXED, 0), "static weights", "static"),
        alone(0, (0.5, 0.6, 0.7), outcome="failed", reason="no room left"),
    )
    found = text(unfinished_table(case))
    assert "easy first 0 diverged 1 the loss of hard is NaN" in found
    assert "static weights 0 diverged 1" in found
    assert "single-task, middle 0 failed 3 no room left" in found


def test_settings_say_what_ran_in_place_of_what_was_asked_for():
    case = case_of(
        [as_run(run("dtp:alpha=0.2", 0, (1, 1, 1), learning_rate=0.1, only=None, test=True, problem_sha256=None), "dtp")],
        study(equal=[0.4]),
        [as_run(run(f"dwa:temperature={seed}", seed, (1, 1, 1)), "dwa") for seed in (1, 2)],
        alone(0, (1, 1, 1), learning_rate=0.5)[:2],
        alone(0, (1, 1, 1), learning_rate=0.7)[2:],
    )
    found = text(settings_table(case))
    assert "learning_rate 0.01 (equal, dwa) 0.1 (dtp) problem" in found
    assert "learning_rate of single-task networks 0.5 (easy, middle) 0.7 (hard) seed" in found
    assert (
        "balancer equal dtp ran as dtp:alpha=0.2 dwa ran with options of each seed's own, such as dwa:temperature=1" in found
    )
    assert not any(word in found for word in ("only", "problem_sha256", "null", "test"))


def test_equal_weights_may_be_a_method_and_on_the_grid_in_one():
    shared = run("equal", 0, (0.5, 0.6), tasks=("a", "b"))
    roles = [as_run(shared, "equal"), as_run(shared, "equal", "grid"), as_run(shared, "static weights", "static")]
    assert case_of(roles).of("equal") == [shared]
    again = as_run(run("equal", 0, (0.5, 0.6), tasks=("a", "b")), "equal", "grid")
    with pytest.raises(InputError, match="two of equal with seed 0"):
        case_of(roles, again)


# What the comparison lacks


def lacking(*found):
    return " ".join(notes.lacking(case_of(*found)))


def enough(method, count=5):
    return [tried(method, method, 10.0**-power, 0.5) for power in range(1, count + 1)]


def complete(**methods):
    """A comparison with everything but the tuning of its methods."""
    singles = [item for seed in range(10) for item in alone(seed, (1, 1, 1))]
    return [*study(**{method: [0.4] * 10 for method in ("equal", "dtp")}), *static(FIXED, [0.4] * 10), *singles]


def test_a_comparison_with_everything_lacks_nothing():
    assert lacking(complete(), enough("equal"), enough("dtp")) == ""


def test_what_is_lacking_is_said_and_nothing_else():
    assert lacking(complete()).startswith("All methods ran at learning rate 0.01, and no tuning of it is on record")
    assert lacking(complete(), enough("dtp")) == "Nothing was tuned for equal, unlike the other methods."
    assert lacking(complete(), enough("equal"), enough("dtp", 6)) == (
        "The methods did not get the same number of tuning runs: equal 5, dtp 6."
    )
    assert lacking(complete(), enough("equal", 4), enough("dtp", 4)) == (
        "Tuning tried no more than 4 learning rates; with fewer than 5 a method's best may lie between those tried."
    )
    assert lacking(complete()[:-3], enough("equal"), enough("dtp")) == ""


def test_a_grid_of_static_weights_is_no_tuning_of_methods():
    grid = [tried("static weights", FIXED, 0.01, 0.5, role="static")]
    assert "equal tuning is not part of this comparison" in lacking(complete(), grid)


def test_single_task_networks_and_static_weights_are_missed_only_where_they_are_missing():
    bare = lacking(study(equal=[0.4] * 10, dtp=[0.4] * 10))
    assert "Single-task networks are not part" in bare
    assert "Tuned static weights are not part" in bare
    one_task = [run(method, 0, (0.5,), tasks=("a",)) for method in ("equal", "dtp")]
    assert "Single-task" not in lacking(one_task)
    assert "static weights" not in lacking(one_task)


def test_how_the_baselines_were_made_is_told_where_there_are_any():
    found = " ".join(notes.how_measured(case_of(complete(), enough("dtp"))))
    assert "Tuning used a separate seed and the validation split only: tuning runs never read the test split." in found
    assert "A single-task network has the same architecture" in found
    assert "from a grid on the simplex that includes equal weights: static weights by the mean over tasks." in found
    each = [item for name in STATIC_FOR.values() for item in static(FIXED, [0.4], name)]
    assert "static weights (worst task) by the worst task, static weights (mean) by the mean over tasks." in (
        " ".join(notes.how_measured(case_of(study(equal=[0.4]), each)))
    )
    bare = " ".join(notes.how_measured(case_of(study(equal=[0.4]))))
    assert not any(word in bare for word in ("Tuning", "single-task", "static"))


@pytest.mark.parametrize(
    ("criterion", "what"),
    [("mean", "the mean over tasks"), ("worst", "the worst task"), ("easy,middle", "the mean over easy, middle")],
)
def test_what_was_chosen_by_is_said(criterion, what):
    case = case_of([run("equal", 0, (1, 1, 1), criterion=criterion)], enough("equal"))
    assert f"the epoch that was best by {what} on the validation split" in " ".join(notes.how_measured(case))
    assert text(tuning.section(case, looks(case))).count(what) == 2
    measuring = as_run(run("equal", 1_000_000, (1, 1, 1)), "hard tasks", "order", tuning=True)
    for runs, said in (([], False), ([measuring], True)):
        told = " ".join(notes.how_measured(case_of(study(equal=[0.4]), runs)))
        assert ("The tasks to choose by were the hard ones" in told) == said
    old = case_of(study(equal=[0.4]))  # of before there was a choice
    assert "best by the mean over tasks" in " ".join(notes.how_measured(old))


def test_no_number_of_a_section_is_nan():
    """Whatever did not finish is a dash."""
    ended = [run("dwa", seed, (0.9, math.nan, 0.4)) for seed in range(2)]
    case = case_of(*starved(), ended, diverged("dtp", 0), control("easy first", "dtp:priority=easy", [0.4, math.nan]))
    assert "nan" not in text(why.section(answer(case), looks(case)))


# Metrics


def test_metrics_stand_in_their_own_units():
    records = [run(method, seed, (0.9, 0.7, 0.4)) for method in ("equal", "dtp") for seed in range(3)]
    for record, mae in zip(records, (1.0, 2.0, 3.0, 0.25, 0.25, 0.25), strict=True):
        record.test["tasks"]["hard"]["metrics"] = {"MAE": mae}
    case = case_of(records)
    # 1, 2, 3: mean 2, half width t(.975, 2) · 1/√3 = 4.3027 · .57735 = 2.484
    assert "hard MAE 2 [−0.484, 4.48] 0.25 [0.25, 0.25]" in text(metrics.section(case, looks(case)))
    del records[0].test["tasks"]["hard"]["metrics"]
    assert "hard MAE 2.5, n = 2 0.25" in text(metrics.section(case, looks(case)))
    assert metrics.section(case_of(study(equal=LOW)), looks(case)) is None
