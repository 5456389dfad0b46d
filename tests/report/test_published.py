"""The field's Δm, published figures as a reference, the sentence on the published protocol, and exports."""

import io
import json
import re
from dataclasses import replace
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from hardfirst.records import PublishedMeasure
from hardfirst.records.names import STATIC_FOR
from hardfirst.report import Comparison, exports, page, summary, verdict
from hardfirst.report.figures import styles
from hardfirst.report.html.drawing import drawing, tick_values
from hardfirst.report.model.answer import answer
from hardfirst.report.model.field_delta import deltas, field_delta
from hardfirst.report.model.published import _read, published_table
from hardfirst.report.sections.answer import answer_block
from made_records import alone, as_run, case_of, diverged, run, static, study, text_of

NYUV2 = [  # (task, metric, whether higher is better, the published single-task value)
    ("segment", "mIoU", True, 38.30),
    ("segment", "pixel accuracy", True, 63.76),
    ("depth", "absolute error", False, 0.6754),
    ("depth", "relative error", False, 0.2780),
    ("normals", "mean angle", False, 25.01),
    ("normals", "median angle", False, 19.21),
    ("normals", "within 11.25°", True, 30.14),
    ("normals", "within 22.5°", True, 57.20),
    ("normals", "within 30°", True, 69.15),
]
STL = [value for *_, value in NYUV2]
NASH = [40.13, 65.93, 0.5261, 0.2171, 25.26, 20.08, 28.40, 55.47, 68.15]
TASKS = ("segment", "depth", "normals")


def measured(record, values):
    """The record with these metrics on the test split, in the order of `NYUV2`."""
    for (task, name, *_), value in zip(NYUV2, values, strict=True):
        if task in record.tasks:
            record.test["tasks"][task].setdefault("metrics", {})[name] = value
    record.measures = {
        task: tuple(PublishedMeasure(name, higher, single) for each, name, higher, single in NYUV2 if each == task)
        for task in record.tasks
    }
    return record


def nyuv2(*, single=True, averaged=10, problem="nyuv2", **settings):
    """Equal weights at the published single-task values, and Nash-MTL at its own."""
    runs = []
    for seed in (0, 1):
        runs += [measured(run("equal", seed, (0.3, 0.5, 0.6), tasks=TASKS, problem=problem, **settings), STL)]
        runs += [measured(run("nash_mtl", seed, (0.4, 0.6, 0.6), tasks=TASKS, problem=problem, **settings), NASH)]
        if single:
            ends = alone(seed, (0.3, 0.5, 0.6), tasks=TASKS, problem=problem, **settings)
            runs += [as_run(measured(each.record, [2 * value for value in STL]), "single-task", "single") for each in ends]
    if settings.get("protocol"):
        for each in runs:
            record = getattr(each, "record", each)
            record.test["averaged"] = averaged
    return case_of(runs)


# Δm


def test_delta_is_the_one_of_the_field():
    higher = [higher for *_, higher, _ in NYUV2]
    by_hand = [(40.13 - 38.30) / 38.30 * -1, (65.93 - 63.76) / 63.76 * -1, (0.5261 - 0.6754) / 0.6754]
    three = field_delta(np.array([NASH[:3]]), np.array(STL[:3]), higher[:3])
    assert three == pytest.approx([100 * sum(by_hand) / 3])
    assert field_delta(np.array([NASH]), np.array(STL), higher).round(2).tolist() == [-4.05]


@pytest.mark.parametrize(
    ("method", "delta"),
    [
        *(("LS", 5.59), ("DWA", 3.57), ("UW", 4.06), ("RLW", 7.78), ("MGDA", 1.38), ("PCGrad", 3.97), ("GradDrop", 3.58)),
        *(("CAGrad", 0.19), ("IMTL", -0.47), ("Nash-MTL", -4.05), ("MoCo", 0.17), ("Aligned-MTL", -4.77)),
    ],
)
def test_published_rows_have_the_delta_that_follows_from_them(method, delta):
    rows = {row.method: row for row in _read("nyuv2").rows if row.network.startswith("SegNet")}
    assert round(rows[method].delta, 2) == delta


def test_the_reference_is_the_studys_own_networks_or_the_published_ones():
    case = nyuv2()
    own = deltas(case)
    assert own["equal"].mean == pytest.approx(100 * (5 * 0.5 - 4 * 0.5) / 9)  # of twice the published values
    by_published = deltas(nyuv2_against_published())
    assert by_published["equal"].mean == pytest.approx(0.0)
    assert round(by_published["nash_mtl"].mean, 2) == -4.05
    assert deltas(nyuv2(single=False)) == {}


def nyuv2_against_published():
    return replace(nyuv2(single=False), reference="published")


def test_both_deltas_are_named_apart():
    names = [row.name for row in summary(nyuv2()).rows]
    assert "Δm over KPIs against single-task, %" in names
    assert "Δm over metrics against single-task, %, lower is better" in names
    names = [row.name for row in summary(nyuv2_against_published()).rows]
    assert "Δm over metrics against published single-task, %, lower is better" in names


def test_a_problem_without_such_measures_keeps_its_row():
    case = case_of(run("equal", 0, (0.9, 0.7, 0.5)), alone(0, (0.9, 0.8, 0.6)))
    assert [row.name for row in summary(case).rows if "Δm" in row.name] == ["Δm against single-task, %"]


def test_a_run_that_did_not_finish_has_no_delta():
    case = nyuv2()
    record = case.runs["nash_mtl", 1]
    record.outcome, record.test = "diverged", None
    assert deltas(case)["nash_mtl"].n == 1


# Published figures


def test_published_rows_stand_on_the_page_with_their_source():
    document = page(nyuv2(), title="NYUv2")
    text = text_of(document)
    assert "as published, collected in LibMTL's segnet_results.pdf" in text
    assert "no test or verdict counts them" in text
    rows = re.findall(r'<tr class="published">(.*?)</tr>', document, re.DOTALL)
    nash = next(row for row in rows if "Nash-MTL" in row and "SegNet" in row)
    assert re.findall(r"<td[^>]*>(.*?)</td>", nash)[:1] == ["40.13"]
    assert re.findall(r"<td[^>]*>(−.*?)</td>", nash) == ["−4.05", "−4.37"]
    assert len(rows) == 13


def test_no_sentence_of_the_verdict_knows_of_them():
    named = {"LS", "RLW", "MoCo", "Aligned-MTL", "CAGrad"}
    assert not any(name in sentence for name in named for sentence in verdict(nyuv2()))
    assert verdict(nyuv2()) == verdict(nyuv2(problem="mine"))


def test_other_problems_have_none():
    assert published_table(nyuv2(problem="mine")) is None
    assert published_table(case_of(run("equal", 0, (0.9, 0.7, 0.5), problem="nyuv2"))) is None
    assert published_table(nyuv2(problem="../published/nyuv2")) is None
    assert "Published figures" not in page(nyuv2(problem="mine"), title="mine")


@pytest.mark.parametrize("file", sorted(file.name for file in (resources.files("hardfirst.report") / "published").iterdir()))
def test_every_table_of_published_figures_is_whole(file):
    content = json.loads((resources.files("hardfirst.report") / "published" / file).read_text(encoding="utf-8"))
    count = len(content["columns"])
    assert count == len(content["higher_is_better"])
    for group in content["groups"]:
        assert group["source"]
        tables = [group.get("single_task"), *(row.get("values") for row in group["rows"])]
        assert {len(values) for values in tables if values is not None} <= {count}
        assert all("rerun" in group for row in group["rows"] if "rerun" in row)


def test_many_measures_have_one_column():
    tasks = [task for task, _ in _read("celeba").measures]
    record = run("equal", 0, [0.5] * 40, tasks=tasks, problem="celeba")
    record.measures = {task: (PublishedMeasure("KPI", True, 0.7),) for task in tasks}
    table = published_table(case_of(record))
    assert table.columns == ("mean over measures", "Δm, %")
    assert table.own["equal"][0].mean == 0.5
    assert [(row.method, numbers) for row, numbers in table.published][1] == ("FairGrad", (0.6905, 0.37))


# The protocol


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"protocol": "published", "last_epochs": 10},
            "Protocol published: nothing was held out, and test figures are means over the last 10 epochs, as the published "
            "ones are.",
        ),
        (
            {"protocol": "published", "last_epochs": 20},
            "Protocol published: nothing was held out, and test figures are means over the last 10 epochs; the published "
            "ones are over the last 20 epochs.",
        ),
        (
            {"protocol": "published"},
            "Protocol published: the splits are the published ones, and the epoch was chosen on their validation split.",
        ),
    ],
)
def test_the_answer_says_the_protocol(settings, sentence):
    case = nyuv2(**settings)
    assert Comparison([case]).verdict[0] == sentence
    document = page(case, title="NYUv2")
    answer = document.partition('class="lead"')[2]
    assert sentence in answer[: answer.index("</p>")]
    assert "best by the mean" not in text_of(document)
    both = Comparison([case, nyuv2(problem="mine")]).verdict
    assert both[0] == f"nyuv2: {sentence}"


def test_the_protocol_is_among_the_settings():
    text = text_of(page(nyuv2(protocol="published", last_epochs=10), title="NYUv2"))
    assert "Averaged epochs" in text
    assert re.search(r"protocol\s+published", text)
    assert re.search(r"last_epochs\s+10", text)


# LaTeX


def test_latex():
    text = exports.tex(Comparison([nyuv2(protocol="published", last_epochs=10)], title="50% & more"))
    lines = text.splitlines()
    assert lines[0] == "% 50% & more"
    assert lines[1].startswith("% Protocol published")
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert r"\toprule" in text
    assert r"\color{gray}Nash-MTL & \color{gray}40.13 & " in text
    assert r"nash\_mtl & 40.13 & " in text
    assert "% published: SegNet with MTAN's attention; as published, collected" in text
    for block in re.findall(r"\\begin{tabular}{(l)(r*)}\n(.*?)\\end{tabular}", text, re.DOTALL):
        rows = [line for line in block[2].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(block[1])}
    body = "\n".join(line for line in lines if not line.startswith("%"))
    assert body.isascii()


def test_latex_escapes_what_names_may_hold():
    case = case_of(run("dtp:a_b=1", 0, (0.9, 0.7), tasks=("100% & #1", "~x^{y}\\")))
    body = exports.tex(Comparison([case]))
    assert r"dtp:a\_b=1" in body
    assert r"100\% \& \#1" in body
    assert r"\textasciitilde{}x\textasciicircum{}\{y\}\textbackslash{}" in body


# Exports

LOW = [0.40, 0.42, 0.44, 0.42, 0.40, 0.42, 0.44]
HIGH = [0.45, 0.48, 0.51, 0.48, 0.45, 0.48, 0.51]
BETWEEN = [kpi + 0.03 for kpi in LOW]


def judged():
    """Two methods that can be told apart from equal weights, the static weights for each measure, and a control."""
    worst, mean = STATIC_FOR.values()
    singles = [alone(seed, (0.9, 0.7, kpi + 0.2)) for seed, kpi in enumerate(LOW)]
    chosen = [*static("fixed:hard=2", BETWEEN, worst), *static("equal", LOW, mean)]
    easy = [as_run(run("dtp", seed, (0.9, 0.7, 0.3)), "easy first", "control", control_of="dtp") for seed in range(7)]
    return case_of(study(equal=LOW, dtp=HIGH, **{"a|b": LOW}), chosen, *singles, easy)


def test_markdown_has_the_leaderboard_and_the_table_by_task():
    found = exports.md(Comparison([judged()]))
    assert "| Method | Worst task | Δ worst task | Mean over tasks | Δ mean over tasks | Better / worse | Δm, % |" in found
    assert "| dtp | 48.0 | +6.0 [+5.2, +6.8]\\* | 69.3 | +2.0 [+1.7, +2.3]\\* | 1 / 0 |" in found
    assert "| equal = a\\|b = static weights (mean) | 42.0 | – |" in found
    assert "| static weights (worst task) | 45.0 | +3.0 [+3.0, +3.0] |" in found
    assert "| hard | 62.0 | 42.0 | +20.0 [+20.0, +20.0] | +6.0 [+5.2, +6.8] |" in found
    assert found.index("| hard |") < found.index("| middle |"), "the task with the largest gap is first"
    assert "dtp beats equal weights on the worst task by 6.0 points [5.2, 6.8], n = 7." in found
    alone_in_it = exports.md(Comparison([case_of(study(dtp=[0.4]))]))
    assert "| Method | Worst task | Mean over tasks | Runs |" in alone_in_it
    assert "| hard | 40.0 |" in alone_in_it


def test_all_forms_have_the_same_numbers():
    """Those of the page: a mean, its difference to equal weights with the interval, and the decision."""
    comparison = Comparison([judged()], command="hardfirst compare toy", plan={"seeds": 7})
    frame = pd.read_csv(io.StringIO(exports.csv(comparison)))
    row = frame.query("method == 'dtp' and kind == 'worst'").squeeze()
    content = json.loads(exports.json(comparison))["cases"][0]
    standing = next(each for each in content["leaderboard"] if each["names"] == ["dtp"])
    interval = standing["worst"]["difference"]
    assert (row["mean"], row["difference"], row["difference_low"]) == pytest.approx((48, 6, 5.244), abs=1e-3)
    assert (interval["mean"], interval["low"], interval["high"]) == pytest.approx(
        (row["difference"], row["difference_low"], row["difference_high"])
    )
    assert row["decision"] == standing["worst"]["decision"] == "better"
    text = r"dtp & 48.0 & +6.0 [+5.2, +6.8]* & 69.3 & +2.0 [+1.7, +2.3]* & 1 / 0 &"
    assert text in exports.tex(comparison)
    roles = frame.drop_duplicates("method").set_index("method")["role"].to_dict()
    worst, mean = STATIC_FOR.values()
    expected = {"equal": "baseline", "dtp": "method", worst: "static", mean: "static", "single-task": "single-task"}
    assert expected.items() <= roles.items()


def test_json_has_what_the_page_shows():
    content = json.loads(exports.json(Comparison([judged()], command="hardfirst compare toy", plan={"seeds": 7})))
    (case,) = content["cases"]
    assert content["question"] == "Does balancing help on toy?"
    assert case["headline"][0].startswith("`dtp` lifts the worst task")
    assert {alert["text"] for alert in case["alerts"]} >= {"1 of 3 tasks do better alone", "No run failed"}
    assert case["tasks"][0]["task"] == "hard"
    assert case["tasks"][0]["gap"]["mean"] == pytest.approx(20)
    (control,) = case["controls"]
    assert (control["name"], control["of"], control["worst"]["decision"]) == ("easy first", "dtp", "worse")
    assert case["settings"]["learning_rate"] == "0.01"
    assert case["versions"] == {"torch": "2.13.0"}
    assert [each["name"] for each in case["references"]] == ["single-task"]
    assert case["references"][0]["worst"]["mean"] == pytest.approx(62)
    assert len(content["runs"]) == 3 * 7 * 6 + 7 * 3
    unfinished = json.loads(exports.json(Comparison([case_of(diverged("dtp", 0))])))["cases"][0]
    assert unfinished["leaderboard"][0]["worst"]["kpi"]["mean"] is None


def test_several_problems_are_exported_together_and_each():
    cases = [replace(judged(), problem=problem) for problem in ("one", "two")]
    comparison = Comparison(cases)
    found = exports.md(comparison)
    assert found.index("`dtp` lifts the worst task on both problems") < found.index("| Problem | equal | a\\|b |")
    assert "| one | 42.0 | equal | equal | +6.0 [+5.2, +6.8]\\* | +3.0 [+3.0, +3.0] |" in found
    assert found.count("| Method | Worst task |") == 2
    content = json.loads(exports.json(comparison))
    assert content["headline"][0].startswith("`dtp` lifts the worst task on both problems")
    assert [case["problem"] for case in content["cases"]] == ["one", "two"]
    frame = pd.read_csv(io.StringIO(exports.csv(comparison)))
    assert set(frame["problem"]) == {"one", "two"}
    assert exports.tex(comparison).count(r"\begin{tabular}") == 4


# Notebooks


@pytest.mark.parametrize("problems", [["toy"], ["one", "two"]])
def test_a_notebook_shows_the_answer_the_figure_and_a_table_without_a_script(problems):
    html = Comparison([replace(judged(), problem=problem) for problem in problems])._repr_html_()
    assert f"<h3>Does balancing help on {' and '.join(problems)}?</h3>" in html
    assert "<b><code>dtp</code> lifts the worst task" in html
    assert html.count("<svg viewBox") == html.count("</details>") + 1 == (1 if len(problems) == 1 else 3)
    assert "+6.0 [+5.2, +6.8]*" in html
    assert html.count("<details>") == (len(problems) if len(problems) > 1 else 0)
    assert not re.search(r"<script|<style|<link|https?:|url\(|#[0-9a-f]{3,6};|(?<![-\w])background", html)


def test_nothing_in_a_notebook_becomes_markup():
    hostile = "<img src=x onerror=alert(1)>"
    case = case_of(
        *(
            run(method, seed, (0.9, 0.4 + seed / 100), tasks=("a", hostile), problem=hostile)
            for seed in range(3)
            for method in ("equal", hostile)
        )
    )
    html = Comparison([case, case], title=hostile)._repr_html_()
    assert "<img" not in html
    assert "&lt;img" in html


def test_a_notebook_shows_what_has_no_figure():
    for records in (study(dtp=[0.4]), [run("equal", 0, (0.5,), tasks=("a",)), run("dtp", 0, (0.6,), tasks=("a",))]):
        html = Comparison([case_of(records)])._repr_html_()
        assert "<svg viewBox" not in html
        assert "<table" in html


def test_a_drawing_has_its_points_where_the_figure_has_them():
    chart = answer_block(answer(judged()), styles(judged().methods), "").chart
    found = drawing(chart.figure, "toy")
    (low, high), (left, right) = chart.figure["layout"]["xaxis"]["range"], (52, 548)
    cross = next(trace for trace in chart.figure["data"] if trace.get("name") == "dtp")
    x = left + (cross["x"][0] - low) / (high - low) * (right - left)
    assert any(mark.x + mark.size / 2 == pytest.approx(x, abs=0.1) for mark in found.marks)
    assert {"dtp", "better on both", "equal weights", "0"} <= {text.text for text in found.texts}
    assert all(0 <= text.x <= found.width and 0 <= text.y <= found.height for text in found.texts)
    assert tick_values([-1.0, 1.0]) == [-1.0, -0.5, 0.0, 0.5, 1.0]
