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
from hardfirst.report.blocks import Chart, Paragraphs, Section
from hardfirst.report.figures import styles
from hardfirst.report.plotly_figure import plotly_figure, with_legend
from hardfirst.report.sections import pareto
from hardfirst.report.sections.charts import curves_figure, interval_figure, validation_points
from hardfirst.report.sections.kpis import kpi_table
from hardfirst.report.sections.runs import cost_table, unfinished_table
from hardfirst.studies import Plan
from made_records import alone, as_run, case_of, diverged, render_blocks, render_section, run, study, text_of, tried

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


def test_trials_that_have_not_ended_are_counted():
    assert "3 of the trials planned so far have not ended" in text_of(page(several(["one"]), title="toy", missing=3))
    assert "have not ended" not in page(several(["one"]), title="toy")


def test_records_that_were_left_out_are_named():
    assert "Left out: a.jsonl is not a run record: line 3" in text_of(
        page(several(["one"]), title="toy", damaged=["a.jsonl is not a run record: line 3"])
    )


def test_several_cases_have_a_verdict_an_overview_and_a_section_each():
    cases = several(["one", "two", "three"])
    document = page(cases, title="toy")
    text = text_of(document)
    for sentence in Comparison(cases).verdict:
        assert re.sub(r"\s", "", sentence) in re.sub(r"\s", "", text)
    assert "3 cases · 3 problems · 3 methods · 2 seeds" in text
    assert re.findall("<h2>(.*?)</h2>", document) == ["Overview", "one", "two", "three", "Reproduction"]
    assert document.count("<h3>Test KPI</h3>") == 3
    assert document.count("<h4>Test KPI in points</h4>") == 3
    assert re.findall('<a href="#(.*?)">', document) == re.findall('<section id="(.*?)"', document)
    assert len(document) < len(page(cases[:1], title="toy")) + 500_000  # plotly.js stands there once


@pytest.mark.parametrize("names", [("one", "two"), ("same name", "same name"), ("same name", "same-name"), ("!", "?")])
def test_no_two_elements_have_the_same_id(names):
    document = page(several(names), title="toy")
    body = document.partition("<main>")[2].partition("</main>")[0]
    ids = re.findall(r'\bid="(.*?)"', body)
    assert len(ids) == len(set(ids))
    places = re.findall('class="plotly-graph-div" id="(.*?)"', body)
    assert sorted(places) == sorted(charts_in(document))
    assert len(places) == 2 + 2 * 3


def test_nothing_in_several_cases_becomes_markup():
    hostile = '</script><b id="weights" onmouseover=x>'
    document = page(several([f"one {hostile}", f"two {hostile}"], network=hostile), title=hostile, plan={"a": hostile})
    assert hostile not in document
    assert "<b id" not in document.partition("<main>")[2].partition("</main>")[0]
    assert document.count("</script>") == 4
    assert "<" not in document.partition('id="figures">')[2].partition("</script>")[0]


def test_a_prefix_stands_before_the_names_of_charts_and_nowhere_else():
    text = Paragraphs(("weights",))
    inner = Section("weights", (text, Chart("weights", "weights", "weights", {})))
    moved = Section("Outer", (text,), (inner,)).with_prefix("one")
    assert moved == Section("Outer", (text,), (Section("weights", (text, Chart("one-weights", "weights", "weights", {}))),))
    assert list(moved.charts) == ["one-weights"]


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
    assert {"intervals", "validation", "weights", "starvation", "learning-rates"} == set(charts_in(document))
    assert 5e6 < len(document.encode()) < 8e6


def test_charts_have_no_more_digits_than_they_show():
    figures = charts_in(page(case_of(study(equal=[1 / 3, 2 / 3], dtp=HIGH[:2])), title="toy"))
    values = [value for trace in figures["validation"]["data"] for value in trace["y"]]
    assert 33.3333 in values


def test_many_methods_are_judged_together_first_and_each_by_itself_below():
    methods = {f"dtp:gamma={number}": [kpi + number / 100 for kpi in LOW * 3] for number in range(1, 6)}
    case = case_of(study(equal=LOW * 3, **methods))
    document = page(case, title="toy")
    header = document.partition("</header>")[0]
    first, folded = header.partition("<details>")[::2]
    assert "On the worst task equal weights was beaten by dtp:gamma=1" in first
    assert "Under equal weights the worst task is hard" in first
    assert "dtp:gamma=5 beats equal weights on the worst task" in folded
    for sentence in Comparison([case]).verdict:
        assert re.sub(r"\s", "", sentence) in re.sub(r"\s", "", text_of(document))
    for few in (case_of(study(equal=LOW, dtp=HIGH)), case_of(study(equal=LOW, **dict.fromkeys(methods, HIGH)))):
        assert "<details" not in page(few, title="toy").partition("</header>")[0]  # few methods, or too few seeds


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
    cases = [case_of(study(equal=LOW, stch=HIGH)), case_of(study(equal=LOW, dtp=LOW, stch=HIGH))]
    figures = charts_in(page(cases, title="toy"))
    colours = [
        {trace["name"]: trace["line"]["color"] for trace in figures[name]["data"] if "name" in trace}
        for name in ("toy-validation", "toy-again-validation")
    ]
    assert colours[0]["stch"] == colours[1]["stch"] != colours[1]["dtp"]


def test_a_rule_stands_at_the_single_task_networks_and_within_reach():
    found = summary(case_of(study(equal=LOW, dtp=HIGH), *(alone(seed, (0.92, 0.8, 0.95)) for seed in range(3))))
    figure = interval_figure(found, styles(found.methods))
    hard = [shape for shape in figure["layout"]["shapes"] if shape["xref"] == "x3"]
    assert [(shape["line"]["dash"], shape["x0"]) for shape in hard] == [
        ("dot", pytest.approx(42)),
        ("dash", pytest.approx(95)),
    ]
    low, high = figure["layout"]["xaxis3"]["range"]
    assert low < 37
    assert 95 < high < 105
    case = case_of(study(equal=LOW))
    without = interval_figure(summary(case), looks(case))
    assert {shape["line"]["dash"] for shape in without["layout"]["shapes"]} == {"dot"}


def test_the_caption_speaks_of_the_dashed_rule_only_where_it_is():
    single = [alone(seed, (0.92, 0.8, 0.95)) for seed in range(3)]
    assert "dashed rule" in page(case_of(study(equal=LOW, dtp=HIGH), *single), title="toy")
    assert "dashed rule" not in page(case_of(study(equal=LOW, dtp=HIGH)), title="toy")


def test_a_legend_has_each_name_once():
    case = case_of(study(equal=LOW, dtp=HIGH))
    figure = with_legend(curves_figure(case, validation_points, looks(case)))
    shown = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
    assert shown == ["equal", "dtp"]
    assert all("legendgroup" in trace for trace in figure["data"] if "name" in trace)


def test_figures_for_notebooks_are_those_of_the_page():
    comparison = Comparison(several())
    figures = comparison.figures
    assert sorted(figures) == sorted(charts_in(comparison.html()))
    assert {"ranks-worst", "one-weights", "two-weights"} <= set(figures)
    assert all(isinstance(figure, go.Figure) for figure in figures.values())


def test_axes_are_named_at_the_edges():
    figure = Comparison(several(["one"])).figures["intervals"]  # three panels above two
    assert [figure.layout[axis].title.text for axis in ("xaxis", "xaxis2", "xaxis3", "xaxis4", "xaxis5")] == [
        None,
        None,
        "points",
        "points",
        "points",
    ]
    assert figure.layout.yaxis.ticktext == figure.layout.yaxis4.ticktext == ("equal", "dtp", "stch")
    assert figure.layout.yaxis2.ticktext is None


def test_figures_for_notebooks_lay_out_their_panels():
    figure = Comparison(several(["one"])).figures["intervals"]
    grid = figure.layout.grid
    assert (grid.rows, grid.columns, grid.pattern) == (2, 3, "independent")  # three tasks, the worst and the mean
    assert figure.layout.showlegend
    assert [trace.name for trace in figure.data if trace.showlegend] == ["equal", "dtp", "stch"]
    assert figure.layout.height > 2 * (24 + 20 * 3)
    assert [title.text for title in figure.layout.annotations][:3] == ["easy", "middle", "hard"]


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
    case = two_tasks(GRID, equal=[(0.69, 0.7), (0.71, 0.7)], dtp=[(0.6, 0.6), (0.6, 0.6)])
    figure = pareto.section(case, looks(case)).charts["pareto"]
    line, ring, *points = figure["data"]
    assert line["x"] == pytest.approx([50, 70, 80])  # along the first task, equal weights in the middle
    assert line["text"] == ["a=0.5, b=1.5", "equal", "a=1.5, b=0.5"]
    assert sorted(ring["x"]) == pytest.approx([50, 70, 80])
    assert [point["name"] for point in points] == ["equal", "dtp"]
    # two seeds one point either side of 70: t(.975, 1)·√2/√2 = 12.706
    assert points[0]["error_x"]["array"] == pytest.approx([12.706], abs=1e-3)
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
    for text in ("ink", "quiet", "accent"):  # of words and numbers, in charts too
        for ground in ("page", "tint"):
            assert contrast(colours[text], colours[ground]) >= 4.5
    for look in styles(["equal", *"abcd"]).values():
        assert contrast(look.colour, colours["page"]) >= 3


# In a browser


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the cases' page; fails if it complains or asks the network for anything, then or later."""
    contexts, complaints, requests = [], [], []

    def open_page(cases, width=1280, title="A toy, twice", **settings):
        path = tmp_path / "report.html"
        path.write_text(page(cases, title=title), encoding="utf-8")
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, **settings))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(path.as_uri())
        # the page's own policy forbids eval, and with it playwright's wait_for_function
        tab.wait_for_selector(".plotly-graph-div:not(:has(.main-svg .trace))", state="detached")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith(("file:", "blob:", "data:")) for url in requests)


def column(tab, number, table="section:has(> h2:text-is('Test KPI')) table"):
    """The first lines of a column's cells, from top to bottom."""
    rows = tab.locator(f"{table} tbody tr")
    return [cells.strip().splitlines()[0] for cells in rows.locator(f":scope > :nth-child({number})").all_inner_texts()]


def unsorted():
    """Tasks whose order by name, by number and as they come is a different one each time; one has no KPI."""
    tasks = ("task 10", "unmeasured", "task 9", "alpha")
    return case_of(
        [
            run(method, seed, (kpi + seed / 100, np.nan, 0.05, 0.3), tasks=tasks)
            for method, kpi in (("equal", 0.6), ("dtp", 0.7))
            for seed in (0, 1)
        ]
    )


@pytest.fixture(scope="module")
def shared(browser, tmp_path_factory):
    """One tab with the page of several cases with many methods, for tests that only look at it."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    methods = ("equal", *(f"dtp:gamma={number}" for number in range(1, 6)))
    cases = [
        case_of(
            [run(m, seed, (0.9, 0.7, 0.3 + seed / 100 + len(m) / 99), problem=name) for m in methods for seed in range(9)]
        )
        for name in ("one", "two")
    ]
    path.write_text(page(cases, title="A toy, twice"), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = context.new_page()
    tab.goto(path.as_uri())
    tab.wait_for_selector(".plotly-graph-div:not(:has(.main-svg .trace))", state="detached")
    yield tab
    context.close()


@pytest.mark.browser
def test_headings_go_down_one_level_at_a_time(shared):
    levels = shared.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(one => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(levels) == 4
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


@pytest.mark.browser
def test_a_screen_reader_finds_its_way(shared):
    assert shared.evaluate("[document.documentElement.lang, document.title]") == ["en", "A toy, twice"]
    assert shared.get_by_role("main").count() == shared.get_by_role("navigation", name="Contents").count() == 1
    for name in ("Verdict", "Verdict on one", "Overview", "one", "Reproduction"):
        assert shared.get_by_role("region", name=name, exact=True).count() == 1
    tables = shared.locator("table").count()
    assert shared.get_by_role("table", name=re.compile(r"\w")).count() == tables > 4
    assert shared.locator("thead th:not([scope=col]), tbody th:not([scope=row])").count() == 0


@pytest.mark.browser
def test_every_chart_has_a_name_a_description_and_buttons_that_say_whose_they_are(shared):
    charts = shared.locator(".plotly-graph-div")
    assert charts.count() == 2 + 2 * 3
    for chart in charts.all():
        assert chart.get_attribute("role") == "img"
        name = chart.get_attribute("aria-label")
        figure = shared.locator("figure", has=shared.locator(f"#{chart.get_attribute('id')}"))
        assert figure.get_by_role("heading", name=name, exact=True).count() == 1
        about = shared.locator(f"#{chart.get_attribute('aria-describedby')}")
        assert about.inner_text()
        assert figure.locator("figcaption").inner_text().endswith(about.inner_text())
        for label in ("Save as PNG", "Save as SVG"):
            assert figure.get_by_role("button", name=f"{label}: {name}", exact=True).count() == 1
        assert chart.locator("a, button, [tabindex]").count() == 0  # an image holds nothing that can be pressed


@pytest.mark.browser
def test_the_keyboard_reaches_all_that_can_be_pressed_or_scrolled_and_shows_where_it_is(shared):
    shared.set_viewport_size({"width": 390, "height": 800})
    shared.wait_for_selector("#two-weights .main-svg[width='350']")
    pressed = shared.locator("a[href]:visible, button:visible, summary:visible").count()
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
    assert len(seen) == ringed == wanted > 40
    shared.keyboard.press("Tab")
    assert shared.evaluate("document.activeElement === document.body")  # out again
    shared.set_viewport_size({"width": 1280, "height": 800})


@pytest.mark.browser
def test_what_does_not_scroll_is_no_stop_on_the_way(shared):
    shared.wait_for_selector("#two-weights .main-svg[width='1060']")
    shared.wait_for_selector(".key[tabindex]", state="detached")
    assert shared.evaluate("document.querySelector('.key').scrollWidth <= document.querySelector('.key').clientWidth")


@pytest.mark.browser
def test_lines_are_a_table_as_well(shared):
    label = "Validation KPI in points, over epochs"
    summary = shared.get_by_text(f"Numbers: {label}").first
    summary.press("Enter")
    table = shared.locator("#part-2").get_by_role("table", name=label, exact=True)
    table.wait_for()
    assert table.locator("thead th").all_inner_texts()[:3] == ["task", "epoch", "equal"]
    rows = table.locator("tbody tr").all_inner_texts()
    assert len(rows) == 3 * 3  # tasks and epochs
    assert rows[2].split("\t")[:3] == ["easy", "3", "90.00"]
    summary.press("Enter")
    table.wait_for(state="hidden")


@pytest.mark.browser
def test_print_opens_what_is_folded_and_folds_it_again(shared):
    folded = shared.get_by_text("dtp:gamma=5 beats equal weights on the worst task").first
    assert not folded.is_visible()
    shared.evaluate("dispatchEvent(new Event('beforeprint'))")
    shared.emulate_media(media="print")
    assert folded.is_visible()
    assert not shared.get_by_text("Numbers: ").first.is_visible()
    assert shared.locator("#one-intervals").bounding_box()["height"] < 900  # on one sheet of A4 or Letter
    shared.emulate_media(media="screen")
    shared.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not folded.is_visible()


@pytest.mark.browser
def test_a_zoomed_chart_can_be_reset(shared):
    chart = shared.locator("#one-validation")
    reset = shared.get_by_role("button", name="Reset zoom: Validation KPI in points, over epochs")
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
def test_a_click_on_a_heading_sorts_by_numbers_and_a_second_one_reverses(opened):
    tab = opened(unsorted())
    before = column(tab, 1)
    assert before[:4] == ["task 10", "unmeasured", "task 9", "alpha"]
    heading = tab.locator("thead th").nth(2)
    heading.get_by_role("button").click()
    assert column(tab, 1) == ["task 9", "alpha", "task 10", "unmeasured", *before[4:]]  # 5, 30, 70.5, and none
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").click()
    assert column(tab, 1) == ["task 10", "alpha", "task 9", "unmeasured", *before[4:]]
    assert heading.get_attribute("aria-sort") == "descending"
    assert before[4].startswith("worst task")


@pytest.mark.browser
def test_the_keyboard_sorts_and_only_one_column_is_marked(opened):
    tab = opened(unsorted())
    first, second = tab.locator("thead th").nth(0), tab.locator("thead th").nth(1)
    second.get_by_role("button").press("Enter")
    first.get_by_role("button").press("Space")
    assert column(tab, 1)[:4] == ["alpha", "task 9", "task 10", "unmeasured"]  # by name, with 9 before 10
    assert second.get_attribute("aria-sort") is None
    assert first.get_attribute("aria-sort") == "ascending"


@pytest.mark.browser
def test_mean_ranks_stay_below_the_cases(opened):
    kpis = {"one": 0.42, "two": 0.38, "three": 0.55}
    cases = [
        case_of([run(m, seed, (0.9, 0.7, kpi + seed / 1000), problem=name) for m in METHODS for seed in (0, 1)])
        for name, kpi in kpis.items()
    ]
    tab = opened(cases)
    tab.locator("thead th").nth(1).get_by_role("button").click()
    overview = "section:has(> h2:text-is('Overview')) figure:first-of-type table"
    assert column(tab, 1, overview) == ["two", "one", "three", "mean rank (1 is best)"]


@pytest.mark.browser
def test_text_sorts_as_text(opened):
    reasons = ["the loss is NaN", "2 losses are NaN", "an interrupt"]
    lost = [run("dtp", seed, (1, 1, 1), outcome="failed", reason=reason) for seed, reason in enumerate(reasons)]
    tab = opened(case_of(study(equal=LOW), lost))
    table = "table:has(th:has-text('Reason'))"
    tab.locator(table).get_by_role("button", name="Reason").click()
    assert column(tab, 5, table) == ["2 losses are NaN", "an interrupt", "the loss is NaN"]


@pytest.mark.browser
def test_runs_are_sorted_by_their_number_and_what_has_none_comes_last(opened):
    kpis = {"equal": LOW, "dtp": HIGH[:2], "stch": LOW * 4}
    tab = opened(case_of(study(**kpis), diverged("dwa", 0)))
    table = "section:has(> h2:text-is('Runs and cost')) figure:first-of-type table"
    for _ in range(2):
        tab.locator(table).get_by_role("button", name="Finished runs").click()
    assert column(tab, 2, table) == ["12 of 12", "3 of 3", "2 of 2", "0 of 1"]
    for _ in range(2):
        tab.locator(table).get_by_role("button", name="Seconds per epoch").click()
        assert column(tab, 1, table)[-1] == "dwa"


@pytest.mark.browser
def test_a_table_of_one_row_has_nothing_to_sort(opened):
    tab = opened(case_of(study(dtp=[0.4])))
    runs = tab.locator("section:has(> h2:text-is('Runs and cost')) table")
    assert runs.locator("tbody tr").count() == 1
    assert runs.get_by_role("button").count() == 0


def saved(tab, name, tmp_path):
    with tab.expect_download() as download:
        tab.get_by_role("button", name=name, exact=True).first.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


@pytest.mark.browser
def test_every_chart_can_be_saved_under_a_name_that_says_what_it_is(opened, tmp_path):
    tab = opened(several())
    assert tab.get_by_role("button", name="Save as PNG").count() == tab.locator(".plotly-graph-div").count() == 8
    image = saved(tab, "Save as PNG: Test KPI in points", tmp_path)
    assert image.name == "a-toy-twice-one-test-kpi-in-points.png"
    assert image.read_bytes().startswith(b"\x89PNG\r\n")
    assert int.from_bytes(image.read_bytes()[16:20]) == 2 * 1060
    ranks = saved(tab, "Save as SVG: Mean ranks on the worst task", tmp_path)
    assert ranks.name == "a-toy-twice-mean-ranks-on-the-worst-task.svg"


@pytest.mark.browser
def test_a_saved_chart_can_be_read_without_its_page(opened, tmp_path):
    tab = opened(case_of(study(equal=LOW, dtp=HIGH)), width=390, color_scheme="dark", title="toy")
    drawing = saved(tab, "Save as SVG: Test KPI in points", tmp_path).read_text(encoding="utf-8")
    assert 'width="1060"' in drawing
    words = set(re.findall(r">([^<>]+)</(?:text|tspan)>", drawing))
    assert {"Test KPI in points", "easy", "hard", "equal", "dtp"} <= words
    assert "rgb(255, 255, 255)" in drawing  # light, whatever the page is
    assert "rgb(28, 33, 38)" in drawing
    assert "rgb(228, 232, 236)" not in drawing


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("kind", ["several", "two tasks"])
def test_the_page_fits_the_screen(opened, kind, width):
    grid = [
        (f"fixed:normalize=true,weights.a={a},weights.b={2 - a}", [(0.4 + a / 9, 0.7 - a / 9)] * 2) for a in (0.3333, 1.667)
    ]
    found = {
        "several": several(["a problem", "another problem with a name that is long for a phone"]),
        "two tasks": [two_tasks(grid, equal=[(0.6, 0.61), (0.62, 0.6)], dtp=[(0.55, 0.66), (0.54, 0.65)])],
    }
    tab = opened(found[kind], width)
    assert tab.locator(".plotly-graph-div").count() == {"several": 8, "two tasks": 4}[kind]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for chart in tab.locator(".plotly-graph-div").all():
        assert chart.locator(".main-svg").first.bounding_box()["width"] <= width - 40


@pytest.mark.browser
def test_contents_lead_to_the_cases(opened):
    tab = opened(several())
    tab.get_by_role("link", name="two").click()
    box = tab.locator("h2:text-is('two')").bounding_box()
    assert 0 <= box["y"] < 200


@pytest.mark.browser
def test_paper_has_light_charts_of_its_width_and_no_buttons(opened):
    tab = opened(several(), color_scheme="dark")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.wait_for_selector("#one-weights .main-svg[width='680']")
    tab.wait_for_selector("#one-weights .annotation-text[style*='rgb(28, 33, 38)']")
    tab.emulate_media(media="print")
    assert not tab.get_by_text("Save as PNG").first.is_visible()
    assert not tab.locator("nav").is_visible()
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(28, 33, 38)"
    tab.emulate_media(media="screen")
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    tab.wait_for_selector("#one-weights .main-svg[width='1060']")
    tab.wait_for_selector("#one-weights .annotation-text[style*='rgb(228, 232, 236)']")


@pytest.mark.browser
def test_a_diverged_method_keeps_its_place_in_the_key(opened):
    tab = opened(case_of(study(equal=LOW), diverged("dtp", 0)))
    assert tab.locator(".key li").all_inner_texts() == ["equal", "dtp"]
