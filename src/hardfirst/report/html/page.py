"""One HTML page for one comparison: self-contained, so that it can be mailed, archived and opened without a network."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from hardfirst.report import figures
from hardfirst.report.blocks import Answer, Block, Bullets, Fold, Paragraphs, Section
from hardfirst.report.data import finite
from hardfirst.report.figures import Styles
from hardfirst.report.html.rendering import asset, render
from hardfirst.report.model import answer as facts_of
from hardfirst.report.model.case import Case
from hardfirst.report.model.overview import overview as overview_facts
from hardfirst.report.plotly_figure import with_legend
from hardfirst.report.sections import (
    by_task,
    curves,
    data,
    leaderboard,
    losses,
    metrics,
    networks,
    orders,
    overview,
    pareto,
    published,
    reproduction,
    runs,
    search,
    tuning,
    why,
)
from hardfirst.report.sections.answer import answer_block
from hardfirst.report.text import headline, notes
from hardfirst.report.text import overview as overview_text
from hardfirst.report.text.glossary import GLOSSARY, OF_SEARCHES
from hardfirst.report.text.interval_text import count_text
from hardfirst.report.text.next_step import duration
from hardfirst.report.text.search_notes import how_searched
from hardfirst.report.text.verdict import verdict

_DIGITS = ".6g"  # of the numbers in charts, of which there are many
_FORMATS = {"csv": "CSV", "md": "Markdown", "tex": "LaTeX", "json": "JSON"}


class Live(NamedTuple):
    """How a served page keeps up with its folder.

    Args:
        version: what it shows.
        milliseconds: how often it asks for the current version.
        remaining: about how many seconds the study still takes; None if that is not known.
    """

    version: str
    milliseconds: int
    remaining: float | None = None


@dataclass(frozen=True)
class Study:
    """What a page tells about the study of its cases.

    Args:
        title: its name.
        command: the command that started the runs. Default: those in the records.
        plan: its settings, as a YAML file of it would hold them.
        missing: the number of trials that have not ended yet.
        damaged: what is wrong with each record that was left out.
    """

    title: str
    command: str | None = None
    plan: Mapping[str, Any] = field(default_factory=dict)
    missing: int = 0
    damaged: Sequence[str] = ()


def page(
    cases: Case | Sequence[Case],
    *,
    title: str,
    command: str | None = None,
    plan: Mapping[str, Any] | None = None,
    missing: int = 0,
    damaged: Sequence[str] = (),
    exports: Mapping[str, str] | None = None,
    live: Live | None = None,
) -> str:
    """The report on a comparison, or on a single run, as one HTML document.

    Args:
        cases: one, or several; several begin with an overview.
        title: the study's name.
        command: the command that started the runs. Default: those in the records.
        plan: the study's settings, as a YAML file of it would hold them.
        missing: the number of trials that have not ended yet.
        damaged: what is wrong with each record that was left out.
        exports: by format, "csv", "md", "tex" or "json", the text that the page offers as a file.
        live: for a page that reloads itself when its folder changes.
    """
    cases = (cases,) if isinstance(cases, Case) else tuple(cases)
    study = Study(title, command, plan or {}, missing, damaged)
    first, *parts = [*sections(cases, study), reproduction.section(cases, command, study.plan)]
    parts = [part if part.anchor else replace(part, anchor=f"part-{number}") for number, part in enumerate(parts, start=1)]
    charts = {name: figure for part in (first, *parts) for name, figure in part.charts.items()}
    return render(
        "page.html.j2",
        title=title,
        status=_status(cases, missing, live),
        left_out=[f"Left out: {reason}" for reason in damaged],
        answer=first.blocks[0],
        parts=parts,
        formats={name: label for name, label in _FORMATS.items() if name in (exports or {})},
        live=live,
        style=asset("page.css"),
        script=asset("page.js"),
        plotly=Markup(get_plotlyjs()),
        sizes=_script_json(figures.SIZES),
        figures=_script_json(finite({name: with_legend(figure) for name, figure in charts.items()}, _DIGITS)),
        exports=_script_json(exports or {}),
    )


def _script_json(value: Any) -> Markup:
    """JSON without "<", so that no name in it can close the script element."""
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


# The first screen


def answers(cases: Sequence[Case], study: Study) -> list[Answer]:
    """What the page says first: of the case, or of all cases together and then of each."""
    styles = figures.styles(_drawn_methods(cases), cases[0].baseline)
    each = [_case_answer(case, styles, Study(case.name)) for case in cases] if len(cases) > 1 else []
    return [_answer(cases, styles, study), *each]


def _answer(cases: Sequence[Case], styles: Styles, study: Study) -> Answer:
    if len(cases) == 1:
        return _case_answer(cases[0], styles, study)
    found = overview_facts(cases, study.missing)
    words = overview_text.headline(found)
    return Answer(
        question=headline.question(cases) or study.title,
        lead=words.lead,
        rest=words.rest,
        tiles=overview_text.tiles(found),
        alerts=overview_text.all_alerts(found, _prefixes(cases)),
        chart=overview.chart(found, styles),
        next_step=overview_text.step(found, study.command, study.plan),
    )


def _case_answer(case: Case, styles: Styles, study: Study) -> Answer:
    return answer_block(facts_of.answer(case, study.missing), styles, study.title, study.command, study.plan)


# The sections


def sections(cases: Sequence[Case], study: Study) -> list[Section]:
    """The page's sections: the answer, and those of one case, or of several an overview and a section for each."""
    styles = figures.styles(_drawn_methods(cases), cases[0].baseline)
    first = Section("Answer", (_answer(cases, styles, study),), anchor="answer")
    if len(cases) == 1:
        return [first, *_case_sections(cases[0], styles)]
    across = [*overview.sections(overview_facts(cases), styles), networks.section(cases, styles)]
    parts = [_case_part(case, styles, prefix) for case, prefix in zip(cases, _prefixes(cases), strict=True)]
    return [first, *(section for section in across if section), *parts]


def _case_part(case: Case, styles: Styles, prefix: str) -> Section:
    """A case's sections as parts of one that is folded."""
    answer = replace(_case_answer(case, styles, Study(case.name)), question="", next_step=None)
    parts = tuple(_case_sections(case, styles))
    return Section(case.name, (answer,), parts, anchor="case", folded=True, short=case.name).with_prefix(prefix)


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
    if case.search is None:
        return _method_sections(case, styles)
    fresh = _method_sections(case, styles) if case.compares else []
    measured = [] if fresh else [replace(_measured(case), folded=True)]
    parts = [*search.sections(case.search, styles), *fresh, *measured, search.runs_section(case.search)]
    return sorted(parts, key=lambda part: part.folded)


def _method_sections(case: Case, styles: Styles) -> list[Section]:
    facts = facts_of.answer(case)
    ranked = leaderboard.section(facts, styles) if len(facts.board.rows) > 1 or facts.board.single else None
    tasks, drawn = by_task.section(facts, styles), curves.section(facts, styles)
    shown, folded = {
        "method": ([ranked, tasks, why.section(facts, styles), drawn], []),
        "order": ([*orders.sections(case)[:1], ranked], [*orders.sections(case)[1:], tasks, drawn]),
        "loss": ([ranked, *losses.sections(case, styles)[:1]], [*losses.sections(case, styles)[1:], tasks, drawn]),
    }[case.noun]
    rest = [
        *folded,
        data.section(case.table) if case.table else None,
        pareto.section(case, styles),
        metrics.section(case, styles),
        published.section(case, styles),
        tuning.section(case, styles),
        runs.section(case, styles),
        _measured(case),
    ]
    return [section for section in shown if section] + [replace(section, folded=True) for section in rest if section]


def _measured(case: Case) -> Section:
    blocks: list[Block] = [Bullets(tuple(notes.how_measured(case)))]
    if case.search:
        fresh = notes.how_measured(case) if case.compares else []
        blocks = [Bullets((*how_searched(case.search), *fresh))]
    elif case.compares and (lacking := notes.lacking(case)):
        blocks += [Fold("What this comparison lacks", (Bullets(tuple(lacking)),))]
    if case.methods:
        blocks.append(Fold("The tests, method by method", (Paragraphs(tuple(verdict(case))),)))
    heading = "How this was measured"
    if case.noun == "method":  # its terms are of weights
        heading += ", and the glossary"
        blocks.append(Fold("Glossary", (Bullets((*GLOSSARY, *OF_SEARCHES) if case.search else GLOSSARY),)))
    return Section(heading, tuple(blocks), anchor="measured", short="Method")


# The bar


def _status(cases: Sequence[Case], missing: int, live: Live | None) -> list[str]:
    """How many runs have ended, how many are missing, and what they are of."""
    ended = sum(facts_of.answer(case).ended for case in cases)
    planned = ended + missing
    counts = [f"{ended} of {planned} runs" if planned > 1 else count_text(ended, "run")]
    if missing:
        about = f", about {duration(live.remaining)}" if live and live.remaining else ""
        counts.append(f"{missing} to go{about}")
    if seeds := {seed for case in cases for seed in case.seeds}:
        counts.append(count_text(len(seeds), "seed"))
    if len(cases) > 1:
        return [count_text(len(cases), "case"), *counts]
    return [*counts, count_text(len(cases[0].tasks), "task")]
