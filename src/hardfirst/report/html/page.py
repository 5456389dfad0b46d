"""One HTML page for one comparison: self-contained, so that it can be mailed, archived and opened without a network."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from hardfirst.report import figures
from hardfirst.report.blocks import Bullets, Section, Verdict
from hardfirst.report.figures import Styles
from hardfirst.report.html.rendering import asset, render
from hardfirst.report.model.case import Case
from hardfirst.report.model.summary import summary
from hardfirst.report.plotly_figure import with_legend
from hardfirst.report.sections import (
    charts,
    controls,
    losses,
    metrics,
    networks,
    orders,
    overview,
    pareto,
    published,
    reproduction,
    runs,
    starvation,
    tuning,
)
from hardfirst.report.sections.kpis import kpi_table
from hardfirst.report.text import networks as network_text
from hardfirst.report.text import notes, protocol
from hardfirst.report.text import overview as overview_text
from hardfirst.report.text.interval_text import count_text
from hardfirst.report.text.verdict import circumstances, decisions

_MOST_SENTENCES = 8  # on methods, one by one; more are folded below what they say together
_DIGITS = 6  # of the numbers in charts, of which there are many


class Live(NamedTuple):
    """How a served page finds out that it is out of date: the version it shows, and how often to ask for the current one."""

    version: str
    milliseconds: int


def page(
    cases: Case | Sequence[Case],
    *,
    title: str,
    command: str | None = None,
    plan: Mapping[str, Any] | None = None,
    missing: int = 0,
    damaged: Sequence[str] = (),
    live: Live | None = None,
) -> str:
    """The report on a comparison, or on a single run, as one HTML document.

    Args:
        cases: one, or several; several begin with an overview.
        title: the page's heading.
        command: the command that started the runs. Default: those in the records.
        plan: the study's settings, as a YAML file of it would hold them.
        missing: the number of trials that have not ended yet.
        damaged: what is wrong with each record that was left out.
        live: for a page that reloads itself when its folder changes.
    """
    cases = (cases,) if isinstance(cases, Case) else tuple(cases)
    parts = [*sections(cases), reproduction.section(cases, command, plan or {})]
    drawn = {name: with_legend(figure) for part in parts for name, figure in part.charts.items()}
    return render(
        "page.html.j2",
        title=title,
        counts=_counts(cases),
        left_out=_left_out(missing, damaged),
        answer=_answer(cases),
        parts=parts,
        live=live,
        style=asset("page.css"),
        script=asset("page.js"),
        plotly=Markup(get_plotlyjs()),
        sizes=_script_json(figures.SIZES),
        figures=_script_json(_rounded(drawn)),
    )


def _script_json(value: Any) -> Markup:
    """JSON without "<", so that no name in it can close the script element."""
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def _rounded(value: Any) -> Any:
    """The figures without digits that a chart cannot show, and null for what is no finite number."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


# The sections


def sections(cases: Sequence[Case]) -> list[Section]:
    """The page's sections: those of one case, or of several an overview and a section for each."""
    styles = figures.styles(_drawn_methods(cases), cases[0].baseline)
    if len(cases) == 1:
        return _case_sections(cases[0], styles)
    across = [overview.section(cases, styles), networks.section(cases, styles)]
    parts = [_case_part(case, styles, prefix) for case, prefix in zip(cases, _prefixes(cases), strict=True)]
    return [*(section for section in across if section), *parts]


def _case_part(case: Case, styles: Styles, prefix: str) -> Section:
    """A case's sections as parts of one."""
    verdict = _verdict(case, f"Verdict on {case.name}")
    return Section(case.name, (verdict,), tuple(_case_sections(case, styles))).with_prefix(prefix)


def _drawn_methods(cases: Sequence[Case]) -> list[str]:
    """Methods first and controls after them, so that a method looks the same with and without controls."""
    methods = [method for case in cases for method in case.methods]
    return list(dict.fromkeys(methods + [control for case in cases for control in case.controls]))


def _prefixes(cases: Sequence[Case]) -> list[str]:
    """A different word for each case, which stands before the ids of its charts."""
    words: list[str] = []
    for case in cases:
        word = re.sub(r"\W+", "-", case.name.lower()).strip("-") or "case"
        while word in words:
            word += "-again"
        words.append(word)
    return words


def _case_sections(case: Case, styles: Styles) -> list[Section]:
    lacking = notes.lacking(case) if case.compares else []
    all_sections = [
        Section("Test KPI", (kpi_table(summary(case), styles),)),
        *orders.sections(case),
        charts.section(case, styles),
        *losses.sections(case, styles),
        starvation.section(case, styles),
        controls.section(case, styles),
        pareto.section(case, styles),
        metrics.section(case, styles),
        published.section(case, styles),
        tuning.section(case, styles),
        runs.section(case, styles),
        Section("What the figures are", (Bullets(tuple(notes.how_measured(case))),)),
        Section("What this comparison lacks", (Bullets(tuple(lacking)),)) if lacking else None,
    ]
    return [section for section in all_sections if section]


# The header


def _answer(cases: Sequence[Case]) -> Verdict:
    first = protocol.sentences(cases)
    if len(cases) == 1:
        answer = _verdict(cases[0], "Verdict")
        return replace(answer, sentences=(*first, *answer.sentences))
    return Verdict("Verdict", (*first, *overview_text.sentences(cases), *network_text.sentences(cases)))


def _verdict(case: Case, label: str) -> Verdict:
    """The sentences on a case; if there are many on single methods, first what they say together."""
    each, short = decisions(case), overview_text.in_short(case)
    if len(each) <= _MOST_SENTENCES or len(short) < 2:  # a single sentence says only that there are too few seeds
        return Verdict(label, (*each, *circumstances(case)))
    return Verdict(label, (*short, *circumstances(case)), tuple(each))


def _left_out(missing: int, damaged: Sequence[str]) -> list[str]:
    sentences = [f"{missing} of the trials planned so far have not ended; the page is of the others."] if missing else []
    return sentences + [f"Left out: {reason}" for reason in damaged]


def _counts(cases: Sequence[Case]) -> list[str]:
    methods = count_text(len({method for case in cases for method in case.methods}), "method")
    seeds = count_text(len({seed for case in cases for seed in case.seeds}), "seed")
    if len(cases) == 1:
        return [cases[0].name, count_text(len(cases[0].tasks), "task"), methods, seeds]
    problems = len({case.problem for case in cases})
    return [count_text(len(cases), "case"), count_text(problems, "problem"), methods, seeds]
