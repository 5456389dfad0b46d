"""The page as a whole: its parts, its charts, and what can be done with them in a browser."""

import html
import itertools
import json
import re
from importlib import resources

import numpy as np
import plotly.graph_objects as go
import pytest
import yaml

from hardfirst.report import Comparison, page, summary
from hardfirst.report.blocks import Answer, Chart, Fold, Paragraphs, Section, Table
from hardfirst.report.figures import styles
from hardfirst.report.html.page import Live
from hardfirst.report.model.answer import answer
from hardfirst.report.plotly_figure import plotly_figure
from hardfirst.report.sections import by_task, leaderboard, pareto
from hardfirst.report.sections.kpis import kpi_table
from hardfirst.report.sections.runs import cost_table, unfinished_table
from hardfirst.studies import Plan
from made_records import (
    alone,
    as_run,
    case_of,
    control,
    diverged,
    drawn,
    many_tasks,
    render_blocks,
    render_section,
    run,
    search_case,
    static,
    study,
    text_of,
    tried,
)

LOW, HIGH = [0.40, 0.42, 0.44], [0.45, 0.48, 0.51]
METHODS = ("equal", "dtp", "stch")


def several(names=("one", "two"), **settings):
    """Cases with three methods and two seeds; nothing differs but their names."""
    kpis = {"equal": 0.4, "dtp": 0.5, "stch": 0.45}
    return [
        case_of(
            [run(m, seed, (0.9, 0.7, kpis[m] + seed / 100), problem=name, **settings) for m in METHODS for seed in (0, 1)]
        )
        for name in names
    ]


def two_tasks(grid=(), **methods):
    """A case with two tasks, given each method's KPIs for each seed."""
    found = [
        run(method, seed, pair, tasks=("a", "b")) for method, pairs in methods.items() for seed, pair in enumerate(pairs)
    ]
    for name, pairs in grid:
        found += [as_run(run(name, seed, pair, tasks=("a", "b")), name, "grid") for seed, pair in enumerate(pairs)]
    return case_of(found)


def charts_in(document):
    return json.loads(document.partition('id="figures">')[2].partition("</script>")[0])


# Parts


def test_one_case_alone_is_the_same_page_as_a_list_of_it():
    (case,) = several(["one"])
    assert page(case, title="toy") == page([case], title="toy")
    assert "Overview" not in text_of(page(case, title="toy"))


def test_the_plan_stands_on_the_page_as_a_file_that_can_be_run():
    plan = {"problems": ["digits"], "balancers": ["equal", "dtp:alpha=0.05,gamma=2"], "seeds": 3}
    document = page(several(["one"]), title="toy", command="hardfirst compare digits", plan=plan)
    command, file = (html.unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", document, re.DOTALL))
    assert command == "hardfirst compare digits"
    assert yaml.safe_load(file) == plan
    assert Plan(**yaml.safe_load(file)).seeds == 3
    assert "hardfirst compare study.yaml" in document


def test_without_a_plan_there_is_no_file():
    assert "study.yaml" not in page(several(["one"]), title="toy")


def bar_of(document):
    """The text of the bar at the top."""
    header = document.partition("<header")[2].partition("</header>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", f"<{header}")).split())


def test_the_bar_says_how_far_the_study_is():
    document = page(several(["one"]), title="toy", missing=3, live=Live("1", 1000, remaining=40.0))
    assert "toy 6 of 9 runs · 3 to go, about 40 seconds · 2 seeds · 3 tasks" in bar_of(document)
    assert "6 of 9 runs have finished; these are the results so far." in text_of(document)
    whole = page(several(["one"]), title="toy")
    assert "toy 6 of 6 runs · 2 seeds · 3 tasks Leaderboard By task Curves Method Reproduce" in bar_of(whole)
    assert "so far" not in text_of(whole)


def test_records_that_were_left_out_are_named():
    assert "Left out: a.jsonl is not a run record: line 3" in text_of(
        page(several(["one"]), title="toy", damaged=["a.jsonl is not a run record: line 3"])
    )


def test_several_cases_have_an_answer_an_overview_and_a_folded_section_each():
    cases = several(["one", "two", "three"])
    document = page(cases, title="toy")
    assert "toy 3 cases · 18 of 18 runs · 2 seeds" in bar_of(document)
    assert re.findall("<h1>(.*?)</h1>", document) == ["Does balancing help on one, two and three?"]
    assert re.findall("<h2>(.*?)</h2>", document)[-4:] == ["one", "two", "three", "Reproduce"]
    assert document.count("<h3>Leaderboard</h3>") == 3
    links, anchors = (
        re.findall('<a [^>]*href="#(.*?)">', document),
        re.findall('<(?:section|details)[^>]* id="(.*?)"', document),
    )
    assert {"one-case", "one-measured", "reproduce"} <= set(links) <= set(anchors)
    assert len(document) < len(page(cases[:1], title="toy")) + 500_000  # plotly.js stands there once


@pytest.mark.parametrize("names", [("one", "two"), ("same name", "same name"), ("same name", "same-name"), ("!", "?")])
def test_no_two_elements_have_the_same_id(names):
    document = page(several(names), title="toy")
    body = document.partition("<main>")[2].partition("</main>")[0]
    ids = re.findall(r'\bid="(.*?)"', body)
    assert len(ids) == len(set(ids))
    places = re.findall('class="plotly-graph-div" id="(.*?)"', body)
    assert sorted(places) == sorted(charts_in(document))
    assert len(places) == 1 + 2 * 2


def test_nothing_in_several_cases_becomes_markup():
    hostile = '</script><b id="weights" onmouseover=x>'
    document = page(several([f"one {hostile}", f"two {hostile}"], network=hostile), title=hostile, plan={"a": hostile})
    assert hostile not in document
    assert "<b id" not in document.partition("<main>")[2].partition("</main>")[0]
    assert document.count("</script>") == 5
    assert "<" not in document.partition('id="figures">')[2].partition("</script>")[0]


def test_a_prefix_stands_before_names_and_anchors_and_nowhere_else():
    def section(before):
        chart = Chart(f"{before}weights", "weights", "weights", {})
        first = Answer("weights", "weights", chart=chart, prefix=before)
        table = Table("weights", "", (), (), ("weights",), f"{before}weights")
        inner = Section("weights", (Paragraphs(("weights",)), Fold("weights", (chart, table))), anchor=f"{before}weights")
        return Section("Outer", (first,), (inner,), folded=True)

    assert section("").with_prefix("one") == section("one-")
    assert list(section("one-").charts) == ["one-weights"]


def large_study(epochs=50):
    """10 methods × 10 seeds × 7 tasks with all that a tuned study has beside them; the numbers are noise."""
    rng, tasks = np.random.default_rng(0), tuple(f"task {number}" for number in range(7))

    def noisy(found):
        for line in found.epochs:
            for figures in line["tasks"].values():
                figures |= {"weight": rng.uniform(0.5, 2), "validation_kpi": rng.random()}
        for figures in found.test["tasks"].values() if found.test else ():
            figures["metrics"] = {"MAE": rng.random(), "RMSE": rng.random()}
        return found

    def ran(spec, seed, **settings):
        return noisy(run(spec, seed, rng.random(7).tolist(), tasks=tasks, epochs=epochs, memory=1e8, **settings))

    def searched(name, spec, role="method", only=tasks):
        kpis = zip((0.0001, 0.0003, 0.001, 0.003, 0.01), rng.random(5).tolist(), strict=True)
        return [tried(name, spec, rate, kpi, role=role, tasks=only, epochs=epochs) for rate, kpi in kpis]

    methods = ["equal", *(f"dtp:gamma={number}" for number in range(1, 9))]
    others = {"static weights": ("fixed:task=2", "static"), "easy first": ("dtp:gamma=1,priority=easy", "control")}
    found = [ran(method, seed) for method in methods for seed in range(10)]
    found += [as_run(ran(spec, seed), name, role) for name, (spec, role) in others.items() for seed in range(10)]
    found += [one for seed in range(10) for one in alone(seed, rng.random(7).tolist(), tasks=tasks, epochs=epochs)]
    found += [one for method in methods for one in searched(method, method)]
    found += [one for task in tasks for one in searched("single-task", "equal", "single", (task,))]
    return case_of(found)


def test_a_large_study_stays_below_8_mb():
    case = large_study()
    document = page(case, title="toy")
    assert (len(case.methods), len(case.seeds), len(case.tasks)) == (10, 10, 7)
    assert {"tradeoff", "curves", "more-curves", "starvation", "learning-rates"} == set(charts_in(document))
    assert 5e6 < len(document.encode()) < 8e6


def test_charts_have_no_more_digits_than_they_show():
    figures = charts_in(page(case_of(study(equal=[1 / 3, 2 / 3], dtp=HIGH[:2])), title="toy"))
    values = [value for trace in figures["curves"]["data"] for value in trace["y"]]
    assert 33.3333 in values


def cell_values(block):
    """The numbers that a block's cells are sorted by, each with the cell's text."""
    cells = re.findall(r'<td data-value="(.*?)">([^<]*)', render_blocks(block))
    return [(value, html.unescape(text)) for value, text in cells]


def test_cells_carry_the_numbers_that_they_are_sorted_by():
    case = case_of(study(equal=LOW, dtp=HIGH), diverged("stch", 0))
    values = cell_values(kpi_table(summary(case), looks(case)))
    assert {("42", "42.0 [37.0, 47.0]"), ("48", "48.0 [40.5, 55.5]")} <= set(values)
    assert not any(text.startswith("–") for _, text in values)
    equal = [run("equal", seed, (1, 1, 1), memory=1400 * 2**20) for seed in range(2)]
    case = case_of(equal, run("dtp", 0, (1, 1, 1), epochs=5), run("dtp", 1, (1, 1, 1), outcome="failed", reason="1 reason"))
    assert {("2", "2 of 2"), ("1400", "1,400"), ("5", "5")} <= set(cell_values(cost_table(case, looks(case))))
    assert cell_values(unfinished_table(case)) == [("1", "1"), ("3", "3")]


# Charts


def test_the_looks_of_a_method_are_those_of_the_whole_comparison():
    cases = [case_of(study(equal=LOW, stch=HIGH)), case_of(study(equal=LOW, dtp=HIGH[::-1], stch=HIGH))]
    figures = charts_in(page(cases, title="toy"))
    colours = [
        {trace["name"]: trace["line"]["color"] for trace in figures[name]["data"] if "name" in trace}
        for name in ("toy-curves", "toy-again-curves")
    ]
    assert colours[0]["stch"] == colours[1]["stch"] != colours[1]["dtp"]


def test_figures_for_notebooks_are_those_of_the_page():
    comparison = Comparison(several())
    figures = comparison.figures
    assert sorted(figures) == sorted(charts_in(comparison.html()))
    assert {"tradeoff", "one-tradeoff", "two-curves"} <= set(figures)
    assert all(isinstance(figure, go.Figure) for figure in figures.values())


def test_figures_for_notebooks_lay_out_their_panels():
    figure = Comparison(several(["one"])).figures["curves"]
    grid = figure.layout.grid
    assert (grid.rows, grid.columns) == (2, 3)  # the weight of each task is below its KPI
    assert grid.subplots == (("xy", "x3y3", "x5y5"), ("x2y2", "x4y4", "x6y6"))
    assert [figure.layout[f"xaxis{number}"].title.text for number in ("", "2", "4", "6")] == [
        None,
        "epoch",
        "epoch",
        "epoch",
    ]
    assert [figure.layout[f"yaxis{number}"].title.text for number in ("", "2", "3", "4")] == ["KPI", "weight", None, None]
    assert [trace.name for trace in figure.data if trace.showlegend] == ["equal", "dtp", "stch"]
    assert [title.text for title in figure.layout.annotations] == ["easy", "", "middle", "", "hard", ""]


# Tables


def full(*, tuned=False):
    """A case with all that a study has: static weights, single-task networks, a control and a run that diverged."""
    singles = [item for seed in range(7) for item in alone(seed, (0.91, 0.8, 0.55 + seed / 100))]
    chosen = [*static("equal", [0.4 + seed / 100 for seed in range(7)], "static weights (mean)")]
    kpis = {"equal": 0.4, "dtp": 0.5, "stch": 0.3}
    methods = [
        run(
            method,
            seed,
            (0.9 - (method == "dtp") * 0.05, 0.7, kpi + seed / 100),
            weights=(1.0, 1.0, 1.0 + (method == "dtp")),
        )
        for method, kpi in kpis.items()
        for seed in range(7)
    ]
    rates = {0.001: 0.5, 0.01: 0.7, 0.1: 0.6} if tuned else {}
    tuning = [tried(method, method, rate, kpi) for method in ("equal", "dtp") for rate, kpi in rates.items()]
    controls = control("easy first", "dtp:priority=easy", [0.3] * 7)
    return case_of(methods, chosen, singles, diverged("dtp", 7), controls, tuning)


def test_the_leaderboard_ranks_and_marks_what_is_significant():
    case = full()
    document = render_section(leaderboard.section(answer(case), looks(case)))
    rows = [
        re.sub(r"<[^>]*>", " ", row)
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", document.partition("<tbody>")[2], re.DOTALL)
    ]
    texts = [" ".join(html.unescape(row).split()) for row in rows]
    assert texts[0] == "equal = static weights (mean) 7 runs 43.0 – 67.7 – – −13.2 1"
    assert texts[1] == "dtp 7 of 8 runs finished 53.0 +10.0 [+10.0, +10.0] 69.3 +1.7 [+1.7, +1.7] 1 / 1 −9.2 1.00"
    assert texts[3] == "single-task networks a reference: one network for each task 58.0 76.3"
    assert document.count("tested") == 4  # both methods, on both measures
    assert document.count('class="baseline"') == document.count('class="reference"') == 1


def test_the_leaderboard_of_methods_with_the_same_runs_has_no_differences():
    case = case_of(study(equal=LOW, dtp=LOW), *(alone(seed, (0.9, 0.7, 0.5)) for seed in range(3)))
    (table,) = leaderboard.section(answer(case), looks(case)).blocks
    assert [cell.text for cell in table.head] == ["Method", "Worst task", "Mean", "Δm, %", "Epoch, ×"]
    assert {len(row.cells) for row in table.rows} == {len(table.head)}


def test_the_heat_table_begins_with_the_most_starved_and_has_three_views():
    case = full()
    document = render_section(by_task.section(answer(case), looks(case)))
    rows = re.findall(r'<tr><th scope="row">(\w+)', document)
    assert rows == ["hard", "middle", "easy"]
    cell = re.search(r'<td data-value="10" class="better shaded"[^>]*>(.*?)</td>', document)[1]
    assert re.findall(r'view-(\d)">(.*?)<', cell) == [("0", "+10.0"), ("1", "53.0"), ("2", "+10.0 [+10.0, +10.0]")]
    assert document.count('type="radio"') == 3
    for record in case.runs.values():
        record.kpis = {"easy": "accuracy", "hard": "within one", "middle": "accuracy"}
    named = render_section(by_task.section(answer(case), looks(case)))
    assert '<th scope="row">hard (within one)</th>' in named
    assert "▲ and ▼ mark changes whose 95% interval excludes 0" in document


# The Pareto front


def looks(case):
    return styles(case.methods)


GRID = [("fixed:weights.a=0.5,weights.b=1.5", [(0.5, 0.8)] * 2), ("fixed:weights.a=1.5,weights.b=0.5", [(0.8, 0.5)] * 2)]


def test_methods_are_held_against_static_weights_on_two_tasks():
    methods = {
        "equal": [(0.7, 0.7)] * 2,
        "dtp": [(0.7, 0.8)] * 2,  # dominates equal weights
        "dwa": [(0.6, 0.7)] * 2,  # dominated by equal weights
        "famo": [(0.65, 0.75)] * 2,  # dominated by dtp alone
        "stch": [(0.8, 0.5)] * 2,  # the same as a point of the grid
    }
    text = render_section(pareto.section(case := two_tasks(GRID, **methods), looks(case)))
    assert "On the Pareto front of all means: dtp, stch, 1 of the 2 unequal static weights from the grid." in text
    assert "Dominated by static weights: dwa.</p>" in text
    assert "Dominated by other methods alone: famo.</p>" in text


def test_without_a_winner_no_method_is_called_dominated():
    case = two_tasks(GRID, equal=[(0.7, 0.7)] * 2, dtp=[(0.75, 0.65)] * 2)
    assert "Dominated by static weights: no method." in render_section(pareto.section(case, looks(case)))


def test_the_front_is_drawn_with_intervals_and_its_reference():
    case = two_tasks(GRID, equal=[(0.69, 0.7), (0.71, 0.7), (0.7, 0.7)], dtp=[(0.6, 0.6)] * 3)
    figure = pareto.section(case, looks(case)).charts["pareto"]
    line, ring, *points = figure["data"]
    assert line["x"] == pytest.approx([50, 70, 80])  # along the first task, equal weights in the middle
    assert line["text"] == ["a=0.5, b=1.5", "equal", "a=1.5, b=0.5"]
    assert sorted(ring["x"]) == pytest.approx([50, 70, 80])
    assert [point["name"] for point in points] == ["equal", "dtp"]
    # seeds one point either side of 70, and one at it: t(.975, 2)/√3 = 2.484
    assert points[0]["error_x"]["array"] == pytest.approx([2.484], abs=1e-3)
    assert points[0]["error_y"]["array"] == pytest.approx([0])
    assert isinstance(plotly_figure(figure), go.Figure)


def test_the_front_of_one_seed_has_no_intervals():
    case = two_tasks(equal=[(0.7, 0.7)], dtp=[(0.6, 0.8)])
    section = pareto.section(case, looks(case))
    assert not any("error_x" in trace for trace in section.charts["pareto"]["data"])
    assert "There is no grid of static weights in this comparison" in render_section(section)


def test_there_is_a_front_of_two_tasks_only():
    one, three = two_tasks(equal=[(0.7, 0.7)]), case_of(study(equal=LOW, dtp=HIGH))
    assert pareto.section(one, looks(one)) is None
    assert pareto.section(three, looks(three)) is None


def test_a_method_that_never_finished_has_no_place_on_the_front():
    found = [run("equal", 0, (0.7, 0.7), tasks=("a", "b")), run("dtp", 0, (0.6, 0.8), tasks=("a", "b"))]
    lost = run("dwa", 0, (1, 1), tasks=("a", "b"), outcome="diverged", reason="NaN")
    case = case_of(found, lost)
    assert "On the Pareto front of all means: equal, dtp." in render_section(pareto.section(case, looks(case)))


# Colours


def luminance(colour):
    channels = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG's, from 1 to 21."""
    lower, higher = sorted((luminance(one), luminance(other)))
    return (higher + 0.05) / (lower + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out_from_the_page(scheme):
    css = resources.files("hardfirst.report.html").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r"{([^{}]*--page:[^{}]*)}", css))
    colours = {"light": light, "dark": dark}[scheme]
    for text in ("ink", "quiet", "accent", "better", "worse"):  # of words and numbers, in charts too
        for ground in ("page", "tint"):
            assert contrast(colours[text], colours[ground]) >= 4.5
    for look in styles(["equal", *"abcd"]).values():
        assert contrast(look.colour, colours["page"]) >= 3


# In a browser


EXPORTS = {"csv": "problem,method\ntoy,dtp\n", "md": "| Δ |", "tex": "\\toprule", "json": '{"title": "</script>"}'}


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the cases' page; fails if it complains or asks the network for anything, then or later."""
    contexts, complaints, requests = [], [], []

    def open_page(cases, width=1280, title="A toy, twice", **settings):
        path = tmp_path / "report.html"
        path.write_text(page(cases, title=title, exports=EXPORTS), encoding="utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **settings))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        drawn(tab)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith(("file:", "blob:", "data:")) for url in requests)


def column(tab, number, table="#tasks table"):
    """The first lines of a column's cells, from top to bottom."""
    rows = tab.locator(f"{table} tbody tr")
    return [cells.strip().splitlines()[0] for cells in rows.locator(f":scope > :nth-child({number})").all_inner_texts()]


def unfold(tab):
    tab.evaluate("for (const details of document.querySelectorAll('details:not(.menu)')) details.open = true")
    drawn(tab)


def unsorted():
    """Tasks whose order by name, by number and as they come is a different one each time; one has no KPI."""
    tasks = ("task 10", "unmeasured", "task 9", "alpha")
    return case_of([run("dtp", seed, (0.7 + seed / 100, np.nan, 0.05, 0.3), tasks=tasks) for seed in (0, 1)])


@pytest.fixture(scope="module")
def shared(browser, tmp_path_factory):
    """One tab with the page of a full study, for tests that leave it as it is."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(full(), title="A toy", command="hardfirst compare toy"), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    tab.goto(path.as_uri())
    drawn(tab)
    yield tab
    context.close()


def searched():
    """A search that ended with a recommendation."""
    spec = "fixed:anneal=0.6+0.8,normalize=true,weights.easy=0.5,weights.hard=2.0,weights.middle=0.5"
    return search_case(
        {"dtp": (0.15, -0.04), spec: (0.1, 0.0), "famo": (0.01, 0.0)}, {"dtp": (0.15, -0.04), spec: (0.1, 0.0)}
    )


@pytest.mark.browser
def test_the_first_screen_answers_and_five_hold_what_is_open(shared):
    assert shared.locator("h1").inner_text() == "Does balancing help on toy?"
    for part in (".lead", ".alerts", ".tiles", ".next code", "#tradeoff", "#tradeoff-about"):
        box = shared.locator(part).bounding_box()
        assert 0 < box["y"] < box["y"] + box["height"] <= 900
    assert shared.locator(".lead b").inner_text().startswith("dtp lifts the worst task (hard, 43.0 → 53.0)")
    assert shared.locator(".tile").count() == 4
    assert shared.evaluate("document.documentElement.scrollHeight") <= 5 * 900


@pytest.mark.browser
def test_headings_go_down_one_level_at_a_time(shared):
    levels = shared.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(levels) == 3
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


@pytest.mark.browser
def test_a_screen_reader_finds_its_way(shared):
    assert shared.evaluate("[document.documentElement.lang, document.title]") == ["en", "A toy"]
    for role, name in (("main", None), ("banner", None), ("navigation", "Sections"), ("list", "Alerts"), ("group", "Show")):
        assert shared.get_by_role(role, **({"name": name} if name else {})).count() == 1
    for name in ("Answer", "Leaderboard", "By task", "Why"):
        assert shared.get_by_role("region", name=name, exact=True).count() == 1
    tables = shared.locator("table:visible").count()
    assert shared.get_by_role("table", name=re.compile(r"\w")).count() == tables > 2
    assert shared.locator("thead th:not([scope=col]), tbody th:not([scope=row])").count() == 0


@pytest.mark.browser
def test_every_chart_has_a_name_a_description_and_buttons_that_say_whose_they_are(shared):
    charts = shared.locator(".plotly-graph-div")
    assert charts.count() == 3
    for chart in charts.all():
        assert chart.get_attribute("role") == "img"
        name = chart.get_attribute("aria-label")
        figure = shared.locator("figure", has=shared.locator(f"#{chart.get_attribute('id')}"))
        assert figure.get_by_role("heading", name=name, exact=True).count() == 1
        assert shared.locator(f"#{chart.get_attribute('aria-describedby')}").inner_text()
        for label in ("Save as PNG", "Save as SVG"):
            assert figure.get_by_role("button", name=f"{label}: {name}", exact=True).count() == 1
        assert chart.locator("a, button, [tabindex]").count() == 0  # an image holds nothing that can be pressed
        chart.hover()
        assert shared.locator(".modebar-btn").count() == 0  # plotly.js's own, one of which uploads the chart


@pytest.mark.browser
def test_the_keyboard_reaches_all_that_can_be_pressed_or_scrolled_and_shows_where_it_is(shared):
    shared.set_viewport_size({"width": 390, "height": 800})
    shared.wait_for_selector("#curves .main-svg[width='358']")
    pressed = shared.locator("a[href]:visible, button:visible, summary:visible, input:checked").count()
    scrolls = "(all) => all.filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth).length"
    wanted = pressed + shared.locator(".scroll, .key").evaluate_all(scrolls)
    shared.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    seen, ringed = set(), 0
    for _ in range(wanted):
        shared.keyboard.press("Tab")
        where, outline = shared.evaluate("""() => [
            [...document.querySelectorAll('*')].indexOf(document.activeElement),
            getComputedStyle(document.activeElement).outlineStyle]""")
        seen.add(where)
        ringed += outline == "solid"
    assert len(seen) == ringed == wanted > 30
    shared.keyboard.press("Tab")
    assert shared.evaluate("document.activeElement === document.body")  # out again
    shared.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.browser
def test_what_does_not_scroll_is_no_stop_on_the_way(shared):
    shared.wait_for_selector("#curves .main-svg[width='1240']")
    shared.wait_for_selector(".key[tabindex]", state="detached")
    assert shared.evaluate("document.querySelector('.key').scrollWidth <= document.querySelector('.key').clientWidth")


@pytest.mark.browser
def test_lines_are_a_table_as_well(shared):
    label = "Validation KPI, and below it the weight, over epochs"
    summary = shared.get_by_text(f"Numbers: {label}")
    summary.press("Enter")
    table = shared.locator("#training").get_by_role("table", name=label, exact=True)
    table.wait_for()
    assert table.locator("thead th").all_inner_texts()[:3] == ["task", "epoch", "equal"]
    rows = table.locator("tbody tr").all_inner_texts()
    assert len(rows) == 2 * 3 * 3  # KPI and weight, tasks, and epochs
    assert rows[2].split("\t")[:3] == ["easy", "3", "90.00"]
    assert rows[3].split("\t")[:3] == ["easy, weight", "1", "1.00"]
    summary.press("Enter")
    table.wait_for(state="hidden")


@pytest.mark.browser
def test_print_opens_what_is_folded_and_folds_it_again(shared):
    folded = shared.get_by_text("dtp beats equal weights on the worst task by 10.0 points").first
    assert not folded.is_visible()
    shared.evaluate("dispatchEvent(new Event('beforeprint'))")
    shared.emulate_media(media="print")
    assert folded.is_visible()
    assert not shared.get_by_text("Numbers: ").first.is_visible()
    assert shared.locator("#curves").bounding_box()["height"] < 900  # on one sheet of A4 or Letter
    shared.emulate_media(media="screen")
    shared.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not folded.is_visible()


@pytest.mark.browser
def test_a_zoomed_chart_can_be_reset(shared):
    chart = shared.locator("#curves")
    reset = shared.get_by_role("button", name="Reset zoom: Validation KPI, and below it the weight, over epochs")
    assert reset.count() == 0
    before = chart.locator(".xtick").all_inner_texts()
    chart.evaluate("chart => chart.scrollIntoView({ block: 'center' })")
    box = chart.locator(".nsewdrag").first.bounding_box()
    shared.mouse.move(box["x"] + 20, box["y"] + 20)
    shared.mouse.down()
    shared.mouse.move(box["x"] + 90, box["y"] + 90, steps=3)
    shared.mouse.up()
    reset.wait_for()
    assert chart.locator(".xtick").all_inner_texts() != before
    reset.click()
    assert chart.locator(".xtick").all_inner_texts() == before
    assert reset.count() == 0


@pytest.mark.browser
def test_the_heat_table_shows_what_is_chosen(shared):
    hard = shared.locator("#tasks tbody tr").first
    assert hard.inner_text().split("\t") == ["hard", "58.0", "43.0", "+15.0", "+10.0", "−10.0"]
    shared.get_by_label("KPI", exact=True).check()
    assert hard.inner_text().split("\t")[-2:] == ["53.0", "33.0"]
    shared.get_by_label("Change with interval").check()
    assert hard.inner_text().split("\t")[-2] == "+10.0 [+10.0, +10.0]"
    shared.get_by_label("Change", exact=True).check()


@pytest.mark.browser
def test_the_bar_says_where_the_reader_is_and_an_alert_opens_its_section(shared):
    here = shared.locator("[aria-current]")
    for name in ("By task", "Why"):
        shared.get_by_role("link", name=name, exact=True).click()
        shared.wait_for_selector(f"[aria-current]:text-is('{name}')")
        assert here.count() == 1
    assert not shared.locator("#runs table").first.is_visible()
    shared.get_by_role("link", name="1 run diverged").click()
    shared.locator("#runs table").first.wait_for()
    assert 0 <= shared.locator("#runs h2").bounding_box()["y"] < 600
    shared.locator("#runs > summary").click()
    shared.get_by_role("link", name="1 run diverged").click()  # where the address is already
    shared.locator("#runs table").first.wait_for()
    shared.locator("#runs > summary").click()


@pytest.mark.browser
def test_the_next_command_is_copied(shared):
    shared.get_by_role("button", name="Copy the command").click()
    shared.get_by_text("Copied", exact=True).wait_for()


@pytest.mark.browser
def test_tables_and_data_are_offered_as_files(opened, tmp_path):
    tab = opened(several(["one"]), title="A toy")
    for form, label in (("csv", "CSV"), ("md", "Markdown"), ("tex", "LaTeX"), ("json", "JSON")):
        tab.get_by_text("Export").click()
        path = saved(tab, label, tmp_path)
        assert path.name == f"a-toy.{form}"
        assert path.read_text(encoding="utf-8") == EXPORTS[form]
    tab.get_by_text("Export").press("Enter")
    tab.keyboard.press("Escape")
    assert not tab.get_by_role("button", name="CSV").is_visible()
    tab.get_by_text("Export").click()
    assert saved(tab, "First figure as SVG", tmp_path).name == "a-toy-change-from-equal-weights.svg"


@pytest.mark.browser
def test_a_click_on_a_heading_sorts_by_numbers_and_a_second_one_reverses(opened):
    tab = opened(unsorted())
    before = column(tab, 1)
    assert before[:4] == ["task 10", "unmeasured", "task 9", "alpha"]
    heading = tab.locator("#tasks thead th").nth(1)
    heading.get_by_role("button").click()
    assert column(tab, 1) == ["task 9", "alpha", "task 10", "unmeasured", *before[4:]]  # 5, 30, 70.5, and none
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").click()
    assert column(tab, 1) == ["task 10", "alpha", "task 9", "unmeasured", *before[4:]]
    assert heading.get_attribute("aria-sort") == "descending"
    assert before[4].startswith("worst task")
    first = tab.locator("#tasks thead th").nth(0)
    first.get_by_role("button").press("Space")
    assert column(tab, 1)[:4] == ["alpha", "task 9", "task 10", "unmeasured"]  # by name, with 9 before 10
    assert heading.get_attribute("aria-sort") is None
    assert first.get_attribute("aria-sort") == "ascending"
    unfold(tab)
    assert tab.locator("#runs table tbody tr").count() == 1
    assert tab.locator("#runs").get_by_role("button").count() == 0  # one row has nothing to sort


@pytest.mark.browser
def test_equal_weights_stay_first_and_the_reference_last(opened):
    tab = opened(full())
    mean = tab.locator("#leaderboard").get_by_role("button", name="Mean")
    for order in (["stch", "dtp"], ["dtp", "stch"]):
        mean.click()
        names = column(tab, 1, "#leaderboard table")
        assert names == ["equal = static weights (mean)", *order, "single-task networks"]


@pytest.mark.browser
def test_text_sorts_as_text_and_runs_by_their_number(opened):
    reasons = ["the loss is NaN", "2 losses are NaN", "an interrupt"]
    lost = [run("dwa", seed, (1, 1, 1), outcome="failed", reason=reason) for seed, reason in enumerate(reasons)]
    tab = opened(case_of(study(equal=LOW, dtp=HIGH[:2], stch=LOW[::-1] * 4), lost))
    unfold(tab)
    table = "#runs figure:last-of-type table"
    tab.locator(table).get_by_role("button", name="Reason").click()
    assert column(tab, 5, table) == ["2 losses are NaN", "an interrupt", "the loss is NaN"]
    table = "#runs figure:first-of-type table"
    for _ in range(2):
        tab.locator(table).get_by_role("button", name="Finished runs").click()
    assert column(tab, 2, table) == ["12 of 12", "3 of 3", "2 of 2", "0 of 3"]
    for _ in range(2):
        tab.locator(table).get_by_role("button", name="Seconds per epoch").click()
        assert column(tab, 1, table)[-1] == "dwa"  # what has no number comes last


def saved(tab, name, tmp_path):
    with tab.expect_download() as download:
        tab.get_by_role("button", name=name, exact=True).first.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


@pytest.mark.browser
def test_every_chart_can_be_saved_under_a_name_that_says_what_it_is(opened, tmp_path):
    tab = opened(several())
    unfold(tab)
    assert tab.get_by_role("button", name="Save as PNG").count() == tab.locator(".plotly-graph-div").count()
    image = saved(tab, "Save as PNG: Validation KPI, and below it the weight, over epochs", tmp_path)
    assert image.name == "a-toy-twice-one-validation-kpi-and-below-it-the-weight-over-epochs.png"
    assert image.read_bytes().startswith(b"\x89PNG\r\n")
    assert int.from_bytes(image.read_bytes()[16:20]) == 2 * 1060


@pytest.mark.browser
def test_a_saved_chart_can_be_read_without_its_page(opened, tmp_path):
    tab = opened(case_of(study(equal=LOW, dtp=HIGH)), width=390, color_scheme="dark", title="toy")
    heading = "Change from equal weights"
    drawing = saved(tab, f"Save as SVG: {heading}", tmp_path).read_text(encoding="utf-8")
    assert 'width="760"' in drawing
    words = set(re.findall(r">([^<>]+)</(?:text|tspan)>", drawing))
    assert {heading, "dtp", "equal weights", "better on both", "mean over tasks, change in points"} <= words
    assert "rgb(255, 255, 255)" in drawing  # light, whatever the page is
    assert "rgb(28, 33, 38)" in drawing
    assert "rgb(228, 232, 236)" not in drawing


@pytest.mark.browser
@pytest.mark.parametrize(
    ("kind", "width", "charts"),
    [
        ("full", 390, 4),
        ("many tasks", 390, 3),
        ("a task never measured", 390, 1),
        ("several", 390, 5),
        ("two tasks", 390, 3),
        ("several", 820, 5),
        ("search", 390, 3),
    ],
)
def test_every_chart_is_drawn_and_the_page_fits_the_screen(opened, kind, width, charts):
    grid = [
        (f"fixed:normalize=true,weights.a={a},weights.b={2 - a}", [(0.4 + a / 9, 0.7 - a / 9)] * 2) for a in (0.3333, 1.667)
    ]
    found = {
        "full": full(tuned=True),
        "many tasks": case_of(many_tasks()),
        "a task never measured": case_of([run("equal", seed, (np.nan, 0.5, 0.4)) for seed in range(3)]),
        "several": several(["a problem", "another problem with a name that is long for a phone"]),
        "two tasks": two_tasks(grid, equal=[(0.6, 0.61), (0.62, 0.6)], dtp=[(0.55, 0.66), (0.54, 0.65)]),
        "search": searched(),
    }
    tab = opened(found[kind], width)
    assert tab.locator(".plotly-graph-div").count() == charts
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    unfold(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for chart in tab.locator(".plotly-graph-div").all():
        assert chart.locator(".main-svg").first.bounding_box()["width"] <= width - 32


@pytest.mark.browser
def test_a_search_answers_on_the_first_screen_with_what_to_paste(opened):
    tab = opened(searched(), 1440)
    for part in (".lead", ".alerts", ".tiles", ".paste", "#tradeoff"):
        box = tab.locator(part).bounding_box()
        assert 0 < box["y"] < box["y"] + box["height"] <= 900
    for what in ("Spec", "Command", "Python"):
        tab.get_by_role("button", name=f"Copy: {what}").click()
    tab.get_by_text("Copied", exact=True).first.wait_for()


@pytest.mark.browser
def test_panels_move_below_each_other_when_the_window_narrows(opened):
    tab = opened(case_of(many_tasks()))
    grid = "[document.querySelector('#curves')._fullLayout.grid].map(({ rows, columns }) => [rows, columns])[0]"
    assert tab.evaluate(grid) == [2, 3]  # each weight below its KPI
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait_for_selector("#curves .main-svg[width='358']")
    assert tab.evaluate(grid) == [6, 1]
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
def test_charts_take_the_colours_of_the_scheme(opened):
    tab = opened(case_of(study(equal=[0.4], dtp=[0.5])), color_scheme="dark")
    tab.wait_for_selector("#curves .annotation-text[style*='rgb(228, 232, 236)']")
    tab.emulate_media(color_scheme="light")
    tab.wait_for_selector("#curves .annotation-text[style*='rgb(28, 33, 38)']")


@pytest.mark.browser
def test_the_bar_leads_to_the_cases_and_opens_them(opened):
    tab = opened(several())
    tab.get_by_role("link", name="two", exact=True).click()
    tab.locator("#two-case").get_by_role("heading", name="Leaderboard").wait_for()
    assert 0 <= tab.locator("h2:text-is('two')").bounding_box()["y"] < 200


@pytest.mark.browser
def test_paper_has_light_charts_of_its_width_and_no_buttons(opened):
    tab = opened(several(["one"]), color_scheme="dark")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.wait_for_selector("#curves .main-svg[width='680']")
    tab.wait_for_selector("#curves .annotation-text[style*='rgb(28, 33, 38)']")
    tab.emulate_media(media="print")
    for text in ("Save as PNG", "Export", "Copy"):
        assert not tab.get_by_text(text).first.is_visible()
    assert not tab.locator("nav").is_visible()
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(28, 33, 38)"
    tab.emulate_media(media="screen")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    tab.wait_for_selector("#curves .main-svg[width='1240']")
    tab.wait_for_selector("#curves .annotation-text[style*='rgb(228, 232, 236)']")


def test_a_diverged_method_keeps_its_place_in_the_key():
    document = page(case_of(study(equal=LOW), diverged("dtp", 0)), title="toy")
    key = document.partition('class="key"')[2].partition("</ul>")[0]
    assert re.findall("</svg>(.*?)</li>", key) == ["equal", "dtp"]
