"""One HTML page for one comparison: self-contained, so that it can be mailed, archived and opened without a network."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

import yaml
from plotly.offline import get_plotlyjs

from hardfirst.report import figures
from hardfirst.report.blocks import Section, count, items, paragraphs
from hardfirst.report.figures import Style
from hardfirst.report.model.case import Case
from hardfirst.report.model.summary import summary
from hardfirst.report.sections import (
    charts,
    controls,
    losses,
    metrics,
    networks,
    orders,
    overview,
    pareto,
    starvation,
    tables,
    tuning,
)
from hardfirst.report.text import notes
from hardfirst.report.text.verdict import circumstances, decisions

_MOST_SENTENCES = 8  # on methods, one by one; more are folded away below what they say together
_DIGITS = 6  # that a chart's numbers have; there are many of them


def page(
    cases: Case | Sequence[Case],
    *,
    title: str,
    command: str | None = None,
    plan: Mapping[str, Any] | None = None,
    missing: int = 0,
    damaged: Sequence[str] = (),
) -> str:
    """The report on a comparison, or on a single run, as one HTML document.

    Args:
        cases: one, or several; several begin with an overview.
        title: the page's heading.
        command: what made the runs, for the reader who wants to repeat them; None takes it from the records.
        plan: the study's settings, as a YAML file of it would hold them.
        missing: how many trials have not ended yet.
        damaged: what is wrong with each record that was left out.
    """
    cases = (cases,) if isinstance(cases, Case) else tuple(cases)
    found = [*sections(cases), _reproduction(cases, command, plan or {})]
    charts = {name: figures.keyed(chart) for section in found for name, chart in section.all_charts().items()}
    return Template(_asset("templates/page.html.j2")).substitute(
        title=escape(title),
        style=_asset("page.css"),
        body="\n".join([_header(cases, title, missing, damaged), *_rendered(found)]),
        # "<" is left out of the data, so that no name in it can close the script element
        figures=json.dumps(_rounded(charts), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
        script=_asset("page.js"),
    )


def _rounded(value: Any) -> Any:
    """Figures as they are, but with no more digits than a chart can show."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _asset(name: str) -> str:
    return resources.files("hardfirst.report.html").joinpath(name).read_text(encoding="utf-8")


def sections(cases: Sequence[Case]) -> list[Section]:
    """What the page shows of one case, or of several their overview and a section for each."""
    looks = figures.styles(_methods(cases), cases[0].baseline)
    if len(cases) == 1:
        return _of(cases[0], looks)
    parts = [
        Section(case.name, (_verdict(case, f"Verdict on {case.name}"),), parts=tuple(_of(case, looks))).within(anchor)
        for case, anchor in zip(cases, _anchors(cases), strict=True)
    ]
    across = [overview.section(cases, looks), networks.section(cases, looks)]
    return [*(section for section in across if section), *parts]


def _methods(cases: Sequence[Case]) -> list[str]:
    """All that may be drawn; what is compared comes first, and so looks the same with and without controls."""
    methods = [method for case in cases for method in case.methods]
    return list(dict.fromkeys(methods + [control for case in cases for control in case.controls]))


def _anchors(cases: Sequence[Case]) -> list[str]:
    """A different word for each case, which stands before the ids of its charts."""
    found: list[str] = []
    for case in cases:
        word = re.sub(r"\W+", "-", case.name.lower()).strip("-") or "case"
        while word in found:
            word += "-again"
        found.append(word)
    return found


def _of(case: Case, looks: Mapping[str, Style]) -> list[Section]:
    found = [
        Section("Test KPI", (tables.kpis(summary(case), looks),)),
        *orders.sections(case),
        charts.section(case, looks),
        *losses.sections(case, looks),
        starvation.section(case, looks),
        controls.section(case, looks),
        pareto.section(case, looks),
        metrics.section(case, looks),
        tuning.section(case, looks),
        Section("Runs and cost", (tables.runs(case, looks), tables.unfinished(case) or "<p>All runs finished.</p>")),
        Section("What the figures are", (items(notes.how_measured(case)),)),
        Section("What this comparison lacks", (items(lacks),)) if case.compares and (lacks := notes.lacking(case)) else None,
    ]
    return [section for section in found if section]


def _rendered(found: Sequence[Section]) -> Iterable[str]:
    anchors = [f"part-{number}" for number in range(1, len(found) + 1)]
    links = zip(anchors, found, strict=True)
    entries = "".join(f'<li><a href="#{anchor}">{escape(section.heading)}</a></li>' for anchor, section in links)
    yield f'<nav class="contents" aria-label="Contents"><ul>{entries}</ul></nav>'
    yield from (section.html(anchor=anchor) for section, anchor in zip(found, anchors, strict=True))


def _header(cases: Sequence[Case], title: str, missing: int, damaged: Sequence[str]) -> str:
    several = len(cases) > 1
    together = paragraphs([*overview.sentences(cases), *networks.sentences(cases)]) if several else ""
    box = _box(together, "Verdict") if several else _verdict(cases[0], "Verdict")
    left = [f"{missing} of the trials planned so far have not ended; the page is of the others."] if missing else []
    left += [f"Left out: {sentence}" for sentence in damaged]
    return (
        f'<header>\n<h1>{escape(title)}</h1>\n<p class="quiet">{escape(" · ".join(_counts(cases)))}</p>\n'
        f"{paragraphs(left)}{box}\n</header>"
    )


def _counts(cases: Sequence[Case]) -> list[str]:
    if len(cases) > 1:
        problems = {case.problem for case in cases}
        methods = {method for case in cases for method in case.methods}
        return [count(len(cases), "case"), count(len(problems), "problem"), count(len(methods), "method"), _seeds(cases)]
    case = cases[0]
    return [case.name, count(len(case.tasks), "task"), count(len(case.methods), "method"), _seeds(cases)]


def _seeds(cases: Sequence[Case]) -> str:
    return count(len({seed for case in cases for seed in case.seeds}), "seed")


def _verdict(case: Case, label: str) -> str:
    """The sentences on a case; where many methods have one each, first what they say together."""
    each, short = decisions(case), overview.in_short(case)
    if len(each) <= _MOST_SENTENCES or len(short) < 2:  # one sentence says only that there are too few seeds
        return _box(paragraphs([*each, *circumstances(case)]), label)
    folded = f"<details>\n<summary>Each method by itself</summary>\n{paragraphs(each)}\n</details>"
    return _box(f"{paragraphs([*short, *circumstances(case)])}\n{folded}", label)


def _box(content: str, label: str) -> str:
    return f'<div class="verdict" role="region" aria-label="{escape(label)}">\n{content}\n</div>'


def _reproduction(cases: Sequence[Case], command: str | None, plan: Mapping[str, Any]) -> Section:
    if len(cases) == 1:
        settings: tuple[str, ...] = (tables.reproduction(cases[0]),)
    else:
        settings = tuple(f"<h3>{escape(case.name)}</h3>\n{tables.reproduction(case)}" for case in cases)
    return Section("Reproduction", (_commands(cases, command), _plan(plan), *settings))


def _commands(cases: Sequence[Case], command: str | None) -> str:
    recorded = [record.made_with.get("command") for case in cases for record in case.runs.values()]
    commands = [command] if command is not None else sorted({made for made in recorded if made})
    if not commands:
        return "<p>The records hold no command: the runs were started from Python.</p>"
    return f"<pre>{escape(chr(10).join(commands))}</pre>"


def _plan(plan: Mapping[str, Any]) -> str:
    if not plan:
        return ""
    text = yaml.safe_dump(dict(plan), sort_keys=False, allow_unicode=True)
    return f"<p>The same study as a file, for <code>hardfirst compare study.yaml</code>:</p>\n<pre>{escape(text)}</pre>"
