"""What is said of several problems and networks together."""

import itertools
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from hardfirst.report import Comparison, verdict
from hardfirst.report.blocks import Heading
from hardfirst.report.figures import styles
from hardfirst.report.model.overview import overview as across
from hardfirst.report.model.ranks import Ranks
from hardfirst.report.plotly_figure import plotly_figure
from hardfirst.report.sections import networks as networks_section
from hardfirst.report.sections import overview as overview_section
from hardfirst.report.sections.overview import rank_figure
from hardfirst.report.text import networks, overview
from hardfirst.report.text.overview import rank_sentence
from made_records import case_of, diverged, render_section, run, static, text_of

LOOKS = styles(["equal", "dtp", "dwa", "stch"])
LOW = [0.40, 0.42, 0.44, 0.42, 0.40, 0.42, 0.44]


def case(problem="toy", network="own", **hard):
    """A case, given the KPI of each method's hardest task for each seed; the other tasks stay the same."""
    return case_of(
        [
            run(method, seed, (0.9, 0.7, kpi), problem=problem, network=network)
            for method, kpis in hard.items()
            for seed, kpi in enumerate(kpis)
        ]
    )


def above(points):
    return [kpi + points / 100 for kpi in LOW]


def ranked(rows, methods=("equal", "dtp", "dwa", "stch")):
    return Ranks(methods[: len(rows[0])], np.array(rows, dtype=float), "on the worst task")


# One case in short


def test_a_headline_says_who_beats_equal_weights_and_by_how_much():
    # dtp gains 5, 6 and 7 points as in the tests of the verdict; a constant difference has an interval without width
    dtp = [kpi + gain / 100 for kpi, gain in zip(LOW, (5, 6, 7, 6, 5, 6, 7), strict=True)]
    assert overview.case_headline(case(equal=LOW, dtp=dtp, stch=above(-3), dwa=LOW)) == (
        "On the worst task equal weights was beaten by dtp (+6.0 [+5.2, +6.8]); below it: stch (−3.0 [−3.0, −3.0]); "
        "not told apart from it: dwa. "
        "On the mean over tasks equal weights was beaten by dtp (+2.0 [+1.7, +2.3]); below it: stch (−1.0 [−1.0, −1.0]); "
        "not told apart from it: dwa. Differences are in points with 95% intervals, n = 7."
    )


def test_a_headline_without_a_winner_says_so_first():
    found = overview.case_headline(case(equal=LOW, dtp=LOW))
    assert found == (
        "On the worst task equal weights was not beaten; not told apart from it: dtp. "
        "On the mean over tasks equal weights was not beaten; not told apart from it: dtp."
    )


def test_a_headline_of_few_seeds_says_how_many_it_takes():
    assert overview.case_headline(case(equal=LOW[:3], dtp=above(6)[:3])) == (
        "With 3 seeds and 1 method no difference to equal weights can be called significant; it takes at least 6."
    )


def test_each_difference_has_its_n_where_they_differ():
    found = overview.case_headline(case_of(run_all(equal=LOW, dtp=above(6), dwa=above(6)[:6]), diverged("dwa", 6)))
    assert "beaten by dtp (+6.0 [+6.0, +6.0], n = 7)" in found
    assert found.endswith("with 95% intervals. 1 of 21 runs did not finish; test figures leave them out.")


def run_all(**hard):
    return [run(method, seed, (0.9, 0.7, kpi)) for method, kpis in hard.items() for seed, kpi in enumerate(kpis)]


def test_a_headline_decides_over_the_same_methods_as_the_verdict():
    # static weights that are equal ones are no method of their own: of one method 6 seeds are enough, of two they are not
    found = case_of(run_all(equal=LOW[:6], dtp=above(6)[:6]), static("equal", LOW[:6]))
    assert any(sentence.startswith("dtp beats equal weights") for sentence in verdict(found))
    assert "On the worst task equal weights was beaten by dtp" in overview.case_headline(found)
    assert "not told apart" not in overview.case_headline(found)
    nothing_else = case_of(run_all(equal=LOW[:6]), static("equal", LOW[:6]))
    assert overview.case_headline(nothing_else) == verdict(nothing_else)[0]


def test_without_equal_weights_a_headline_is_the_verdicts():
    assert overview.case_headline(case(dtp=LOW)) == verdict(case(dtp=LOW))[0]


# Cases together


NO_GAIN = "is better than equal weights on any of the 2 problems, neither on the worst task nor on the mean."


def words(cases):
    return " ".join(overview.headline(across(cases)).sentences)


@pytest.mark.parametrize(
    ("hard", "expected"),
    [
        ((6, 6), "`dtp` lifts the worst task on both problems and raises the mean on both."),
        ((6, 0), "`dtp` lifts the worst task on 1 of 2 problems and raises the mean on 1."),
        ((6, -6), "`dtp` lifts the worst task on 1 of 2 problems, lowers it on 1, raises the mean on 1 and costs it on 1."),
        ((0, 0), f"No method {NO_GAIN}"),
        ((-6, -6), f"No method {NO_GAIN}"),
    ],
)
def test_one_sentence_weighs_all_problems(hard, expected):
    cases = [case(problem, equal=LOW, dtp=above(points)) for problem, points in zip(("one", "two"), hard, strict=True)]
    assert overview.headline(across(cases)).lead == expected


def test_a_loss_of_the_mean_is_weighed_against_a_gain_of_the_worst_task():
    trade = [
        case_of(
            [run("equal", seed, (0.9, 0.7, kpi), problem=problem) for seed, kpi in enumerate(LOW)],
            [run("dtp", seed, (0.7, 0.6, kpi + 0.06), problem=problem) for seed, kpi in enumerate(LOW)],
        )
        for problem in ("one", "two")
    ]
    assert words(trade).startswith("`dtp` lifts the worst task on both problems and costs the mean on both.")
    assert words([case("one", network, equal=LOW, dtp=above(6)) for network in ("own", "wide")]).startswith(
        "`dtp` lifts the worst task on both networks"
    )


def test_problems_of_one_task_have_one_measure():
    cases = [
        case_of(
            [
                run(method, seed, (kpi + gain,), tasks=("a",), problem=problem)
                for method, gain in (("equal", 0), ("dtp", 0.05))
                for seed, kpi in enumerate(LOW)
            ]
        )
        for problem in ("one", "two")
    ]
    assert words(cases) == "`dtp` is better on both problems."
    (section,) = overview_section.sections(across(cases), LOOKS)
    assert [block.text for block in section.blocks if isinstance(block, Heading)] == ["Test KPI"]
    assert overview_section.chart(across(cases), LOOKS) is None


def test_the_leading_method_is_compared_with_the_static_weights_of_each_problem():
    cases = [case_of(run_all(equal=LOW, dtp=above(6)), static("fixed:hard=2", above(points))) for points in (2, 6, 10)]
    cases = [replace(each, problem=problem) for each, problem in zip(cases, "abc", strict=True)]
    assert (
        "Against static weights chosen for the worst task, it is better on 1, worse on 1 and not told apart on 1."
        in words(cases)
    )


def test_what_limits_the_answer_is_said_once_for_all_problems():
    cases = [case("one", equal=LOW[:3], dtp=above(6)[:3]), case("two", equal=LOW, dtp=above(6))]
    found = across(cases, missing=4)
    sentences = overview.headline(found).sentences
    assert "Not yet tested on 1 problem: too few seeds." in sentences
    assert "20 of 24 runs have finished; these are the results so far." in sentences
    texts = {alert.text: alert.target for alert in overview.all_alerts(found, ["one", "two"])}
    assert texts["3 of 6 seeds: no test possible (one)"] == "one-measured"
    assert texts["No single-task networks"] == "one-measured"
    command = "hardfirst compare one two --seeds 3"
    assert overview.step(across(cases), command, {}).command == "hardfirst compare one two --seeds 6"
    worst, mean, cost = overview.tiles(found)
    assert (worst.value, worst.note) == ("2 · 0 · 0", "from +6.0 (one) to +6.0 (two)")
    assert (mean.value, cost.value) == ("2 · 0 · 0", "1.00")


def test_without_a_common_seed_there_is_no_answer():
    cases = [case("one", equal=LOW), case("two", dtp=LOW)]
    assert words(cases) == "No problem has a method and equal weights with a seed in common."
    assert Comparison(cases).html()


def test_every_case_has_its_sentence():
    cases = [
        case("one", equal=LOW, dtp=above(2), stch=above(1)),
        case("two", "wide", equal=LOW, dtp=above(2), stch=above(1)),
    ]
    found = Comparison(cases).verdict
    assert [sentence.partition(":")[0] for sentence in found] == ["one", "two, wide network"]


def test_ranks_over_problems_stand_from_five_on():
    cases = [case(problem, equal=LOW, dtp=above(2), stch=above(1)) for problem in "abcde"]
    few, enough = (overview_section.sections(across(each), LOOKS) for each in (cases[:4], cases))
    assert [section.heading for section in few] == ["By problem"]
    assert [section.heading for section in enough] == ["By problem", "Ranks over problems"]
    assert list(enough[1].charts) == ["ranks-worst", "ranks-mean"]
    assert overview.sentences(cases)[-1].startswith("The methods' ranks on the worst task differ")
    assert not any("ranks" in sentence for sentence in (*overview.sentences(cases[:4]), words(cases[:4])))
    two = [case(problem, equal=LOW, dtp=above(2)) for problem in "abcde"]
    assert len(overview_section.sections(across(two), LOOKS)) == 1


def test_cases_on_one_problem_are_said_not_to_be_independent():
    cases = [case("one", network, equal=LOW, dtp=above(2), stch=above(1)) for network in "abcde"]
    assert overview.sentences(cases)[-1].endswith(
        "They are of 1 problem, and cases on one problem are not independent, as the test supposes."
    )


def test_the_table_holds_the_changes_of_every_method_on_every_problem():
    cases = [
        case("one", equal=LOW, dtp=above(2), dwa=LOW),
        case("two", equal=LOW, dtp=above(-2), stch=above(1)[:3]),
        case("three", dtp=LOW),
    ]
    (section,) = overview_section.sections(across(cases), LOOKS)
    rows = re.findall(r"<tr.*?</tr>", render_section(section))
    rows = [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in rows]
    assert [row.split()[0] for row in rows[:4]] == ["Problem", "one", "two", "three"]
    one = "42.0 42.0 42.0 [40.5, 43.5]"  # change, KPI and interval; a toggle shows one of them
    assert rows[1] == f"one 7 seeds {one} equal 42.0 equal +2.0 44.0 +2.0 [+2.0, +2.0] – – –"
    assert rows[2] == f"two 7 seeds {one} – – – −2.0 40.0 −2.0 [−2.0, −2.0] +1.0 43.0 +1.0 [+1.0, +1.0]"
    assert 'class="better' in render_section(section)


# Ranks


AGREED = [[0.1, 0.4, 0.3, 0.2]] * 8


def test_ranks_that_agree_over_enough_cases_differ():
    # mean ranks 4, 1, 3 and 2 of 8 cases: statistic 24, p far below .001; the critical difference is
    # 2.569·√(4·5/(6·8)) = 1.66, so that each is told apart from all but its neighbours
    found = ranked([[0.1, 0.4, 0.2, 0.3]] * 8)
    assert rank_sentence(found) == (
        "The methods' ranks on the worst task differ (Friedman's test over 8 cases, p < 0.001); mean ranks 1.66 or more "
        "apart count as different (Nemenyi's test at 0.05). Ahead of equal weights: dtp, stch."
    )
    assert found.groups() == [("dtp", "stch"), ("stch", "dwa"), ("dwa", "equal")]


def test_what_lies_behind_equal_weights_is_said_too():
    assert rank_sentence(ranked([[0.4, 0.1, 0.3, 0.2]] * 8)).endswith("Behind equal weights: dtp, stch.")
    apart = ranked([[0.2, 0.1, 0.3, 0.4]] * 8)
    assert not apart.critical.same[1, 3]
    assert rank_sentence(apart).endswith("Ahead of equal weights: stch.")


def test_groups_hold_all_pairs_that_are_not_told_apart_and_no_other():
    rng = np.random.default_rng(1)
    found = ranked(np.array([0.0, 0.5, 0.9, 1.6]) + rng.normal(0, 0.4, (12, 4)))
    assert found.differ
    groups = found.groups()
    assert 1 < len(groups) < 4
    for one, other in itertools.combinations(range(4), 2):
        together = any({found.methods[one], found.methods[other]} <= set(group) for group in groups)
        assert together == found.critical.same[one, other]


def test_a_group_within_another_is_left_out():
    # three methods take turns, mean rank 2 each, and equal weights is always last: 2 apart, where 9 cases ask for 1.56
    found = ranked([[0.1, *np.roll([0.2, 0.3, 0.4], shift)] for shift in range(9)])
    assert found.groups() == [("dtp", "dwa", "stch")]


def test_few_cases_are_never_told_apart_however_much_they_agree():
    few, enough = ranked(AGREED[:4]), ranked(AGREED[:5])
    assert few.test.p < 0.05
    assert (few.differ, enough.differ) == (False, True)
    assert len(few.groups()) == 1
    assert len(few.groups()[0]) == 4


def test_ranks_that_contradict_each_other_tell_nothing_apart():
    found = ranked([np.roll([0.1, 0.2, 0.3, 0.4], shift) for shift in range(8)])
    assert rank_sentence(found) == (
        "By their ranks on the worst task no methods can be told apart (Friedman's test over 8 cases, p = 1)."
    )


def test_cases_with_a_missing_figure_are_left_out():
    assert ranked([*AGREED, [0.1, np.nan, 0.2, 0.3]]).test.n == 8
    alone = ranked([[0.1, 0.2, 0.3], [0.1, np.nan, 0.3]])
    assert not alone.exist
    assert rank_sentence(alone).startswith("Fewer than 2 cases have a figure")


def test_the_diagram_marks_mean_ranks_and_joins_groups():
    figure = rank_figure(ranked([[0.1, 0.4, 0.2, 0.3]] * 8), LOOKS)
    marks = {trace["name"]: trace["x"] for trace in figure["data"] if "name" in trace}
    assert marks == {"dtp": [1.0], "stch": [2.0], "dwa": [3.0], "equal": [4.0]}
    bars = [trace["x"] for trace in figure["data"] if trace["mode"] == "lines"]
    assert bars == [pytest.approx([rank - 0.04, rank + 1.04]) for rank in (1, 2, 3)]
    assert isinstance(plotly_figure(figure), go.Figure)


# Several networks


def test_networks_are_compared_under_the_same_balancer():
    wide = case("one", "wide", equal=above(5), dtp=LOW)
    cases = [case("one", equal=LOW, dtp=LOW), wide, case("two", equal=LOW, dtp=LOW)]
    worst, mean = networks.sentences(cases)
    assert worst == (
        "On the worst task, against the problem's own network under the same balancer, Holm-corrected over 2: above it: "
        "wide under equal (+5.0 points [+5.0, +5.0], n = 7); not told apart from it: wide under dtp."
    )
    assert "wide under equal (+1.7 points" in mean
    assert Comparison(cases).verdict[-2:] == [worst, mean]
    page = text_of(Comparison(cases).html())
    assert re.search(r"wide 47\.0 \[\S+ \S+\] \+5\.0 \[\+5\.0, \+5\.0\] 42\.0 \[\S+ \S+\] \+0\.0 \[\+0\.0, \+0\.0\]", page)


def test_networks_of_several_problems_are_told_by_problem():
    cases = [case(problem, network, equal=LOW) for problem in ("one", "two") for network in ("mmoe", "ple:width=3")]
    found = networks.sentences(cases)
    assert [sentence.partition(":")[0] for sentence in found] == ["one", "one", "two", "two"]
    assert "against the mmoe network under the same balancer: not told apart from it: ple:width=3 under equal" in found[0]
    assert [part.heading for part in networks_section.section(cases, LOOKS).parts] == ["one", "two"]


def test_networks_with_few_seeds_say_how_many_it_takes():
    cases = [case("one", network, equal=LOW[:2]) for network in ("own", "wide")]
    assert networks.sentences(cases)[0] == (
        "On the worst task, with 2 seeds and 1 pair of network and balancer, no difference to the problem's own network can "
        "be called significant; it takes at least 6."
    )


def test_networks_are_paired_by_seed():
    """A seed that one of them lacks is left out of the difference."""
    short = case_of(
        [run("equal", seed, (0.9, 0.7, LOW[seed] + 0.05), problem="one", network="wide") for seed in range(1, 7)]
    )
    worst, _ = networks.sentences([case("one", equal=LOW), short])
    assert "wide under equal (+5.0 points [+5.0, +5.0], n = 6)" in worst


def test_one_network_has_no_section():
    assert networks_section.section([case("one", equal=LOW), case("two", equal=LOW)], LOOKS) is None
    assert networks.sentences([case("one", equal=LOW), case("one", "wide", dtp=LOW)]) == []


def test_the_size_of_a_network_is_said():
    cases = []
    for network, size in (("own", 1000), ("wide", 4000)):
        records = [run("equal", seed, (0.9, 0.7, 0.4), problem="one", network=network) for seed in range(2)]
        for record in records:
            record.parameters = size
        cases.append(case_of(records))
    page = text_of(Comparison(cases).html())
    assert "the problem's own 1,000 parameters" in page
    assert "wide 4,000 parameters" in page
    assert "The network has 4,000 parameters." in page
