"""One HTML page for one comparison: self-contained, so that it can be mailed, archived and opened without a network."""

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from string import Template

from plotly.offline import get_plotlyjs

from hardfirst.report import figures, notes, tables
from hardfirst.report.case import Case
from hardfirst.report.figures import Figure, Style
from hardfirst.report.summary import summary
from hardfirst.report.verdict import verdict


def page(case: Case, *, title: str, command: str | None = None) -> str:
    """The report on a comparison, or on a single run, as one HTML document.

    Args:
        case: the runs.
        title: the page's heading.
        command: what made the runs, for the reader who wants to repeat them; None takes it from the records.
    """
    charts = _charts(case)
    return Template(_asset("page.html")).substitute(
        title=escape(title),
        style=_asset("page.css"),
        body="\n".join(_body(case, title, command, charts)),
        # "<" is left out of the data, so that no name in it can close the script element
        figures=json.dumps(charts, allow_nan=False).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
        script=_asset("page.js"),
    )


def _asset(name: str) -> str:
    return resources.files("hardfirst.report").joinpath(name).read_text(encoding="utf-8")


def _charts(case: Case) -> dict[str, Figure]:
    """The charts that have something to show, by the id of their element."""
    charts = {
        "intervals": figures.intervals(summary(case)) if len(case.runs) > 1 else None,
        "validation": figures.curves(case, figures.validation_points),
        "weights": figures.curves(case, figures.weight_share, shared_axis=True),
    }
    return {name: chart for name, chart in charts.items() if chart}


def _body(case: Case, title: str, command: str | None, charts: Mapping[str, Figure]) -> Iterable[str]:
    looks = figures.styles(case.methods)
    yield _header(case, title, verdict(case))
    yield _section("Test KPI", tables.kpis(summary(case), looks))
    if charts:
        yield _section("Charts", _key(looks), *_figures(case, charts))
    yield _section("Runs and cost", tables.runs(case, looks), _ends(case))
    yield _section("What the figures are", _list(notes.how_measured(case)))
    if case.compares:
        yield _section("What this comparison lacks", _list(notes.lacking(case)))
    yield _section("Reproduction", _commands(case, command), tables.reproduction(case))


def _header(case: Case, title: str, sentences: list[str]) -> str:
    counts = [
        case.problem,
        _count(len(case.tasks), "task"),
        _count(len(case.methods), "method"),
        _count(len(case.seeds), "seed"),
    ]
    paragraphs = "\n".join(f"<p>{_unbroken(escape(sentence))}</p>" for sentence in sentences)
    return (
        f'<header>\n<h1>{escape(title)}</h1>\n<p class="quiet">{escape(" · ".join(counts))}</p>\n'
        f'<div class="verdict">\n{paragraphs}\n</div>\n</header>'
    )


def _unbroken(sentence: str) -> str:
    """Keep an interval, and n with its number, on one line."""
    return re.sub(r"\[[-+\d., ]+\]|n = \d+", r'<span class="unbroken">\g<0></span>', sentence)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _section(heading: str, *blocks: str) -> str:
    content = "\n".join(block for block in blocks if block)
    return f"<section>\n<h2>{heading}</h2>\n{content}\n</section>"


def _key(looks: Mapping[str, Style]) -> str:
    items = "".join(f"<li>{tables.swatch(look)}{escape(method)}</li>" for method, look in looks.items())
    return f'<ul class="key" aria-label="Methods">{items}</ul>'


def _figures(case: Case, charts: Mapping[str, Figure]) -> Iterable[str]:
    captions = {
        "intervals": ("Test KPI in points", _intervals_caption(case)),
        "validation": ("Validation KPI in points, over epochs", f"Each panel has its own scale. {_drawn(case)}"),
        "weights": (
            "Share of the effective weight in per cent, over epochs",
            "A task's effective weight is the mean over an epoch's steps of ∂total/∂loss, whatever the method: what its "
            f"gradient was in fact multiplied with. All panels have the same scale. {_drawn(case)}",
        ),
    }
    for name, (heading, text) in captions.items():
        if name in charts:
            chart = f'<div class="plotly-graph-div" id="{name}" role="img" aria-label="{heading}"></div>'
            yield f"<figure>\n<figcaption><h3>{heading}</h3>{text.rstrip()}</figcaption>\n{chart}\n</figure>"


def _intervals_caption(case: Case) -> str:
    mean = "Mean over seeds with its 95% interval" if len(case.seeds) > 1 else "One seed, so there are no intervals"
    rule = " The dotted rule stands at the mean of equal weights." if case.compares else ""
    return f"{mean}; methods from top to bottom as in the key.{rule} Each panel has its own scale."


def _drawn(case: Case) -> str:
    """What lines and bands are, and whose."""
    over_seeds = "Lines are means over seeds, bands reach from the lowest to the highest seed. "
    finished = "Only runs that finished are drawn; where none of a method's did, all of them."
    all_finished = all(record.outcome == "finished" for record in case.runs.values())
    return (over_seeds if len(case.seeds) > 1 else "") + ("" if all_finished else finished)


def _ends(case: Case) -> str:
    return tables.unfinished(case) or "<p>All runs finished.</p>"


def _list(sentences: Iterable[str]) -> str:
    return "<ul>\n" + "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "\n</ul>"


def _commands(case: Case, command: str | None) -> str:
    recorded = [record.made_with.get("command") for record in case.runs.values()]
    commands = [command] if command is not None else sorted({made for made in recorded if made})
    if not commands:
        return "<p>The records hold no command: the runs were started from Python.</p>"
    return f"<pre>{escape(chr(10).join(commands))}</pre>"
