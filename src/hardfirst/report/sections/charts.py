"""The section of charts: test KPIs with intervals, and validation KPIs and weights over epochs."""

from collections.abc import Iterable, Mapping
from html import escape

from hardfirst.report import figures
from hardfirst.report.blocks import Section, place
from hardfirst.report.figures import Figure, Style
from hardfirst.report.model.case import Case
from hardfirst.report.model.summary import summary
from hardfirst.report.sections import tables


def section(case: Case, looks: Mapping[str, Style]) -> Section | None:
    """The charts that have something to show; None where no run has got that far."""
    found = _charts(case, looks)
    if not found:
        return None
    return Section("Charts", (key(case.methods, looks), *_places(case, found)), found)


def key(methods: Iterable[str], looks: Mapping[str, Style], *, points: bool = False) -> str:
    """What the methods look like, as lines or as points."""
    swatch = _symbol if points else tables.swatch
    entries = "".join(f"<li>{swatch(looks[method])}{escape(method)}</li>" for method in methods)
    return f'<ul class="key" tabindex="0" aria-label="Methods">{entries}</ul>'


def _symbol(look: Style) -> str:
    shapes = {
        "circle": '<circle cx="5" cy="5" r="4"/>',
        "square": '<path d="M1 1H9V9H1Z"/>',
        "diamond": '<path d="M5 0 10 5 5 10 0 5Z"/>',
        "x": '<path d="M2 0 5 3 8 0 10 2 7 5 10 8 8 10 5 7 2 10 0 8 3 5 0 2Z"/>',
        "circle-open": f'<circle cx="5" cy="5" r="3.5" fill="none" stroke="{look.colour}" stroke-width="2"/>',
    }
    return f'<svg class="symbol" viewBox="0 0 10 10" aria-hidden="true" fill="{look.colour}">{shapes[look.symbol]}</svg>'


def _charts(case: Case, looks: Mapping[str, Style]) -> dict[str, Figure]:
    charts = {
        "intervals": figures.intervals(summary(case), looks) if len(case.runs) > 1 else None,
        "validation": figures.curves(case, figures.validation_points, looks=looks),
        "weights": figures.curves(case, figures.weight_share, shared_axis=True, looks=looks),
    }
    if len(case.tasks) == 1 or case.orders:
        del charts["weights"]  # all of it, or equal weights, always
    return {name: chart for name, chart in charts.items() if chart}


def _places(case: Case, charts: Mapping[str, Figure]) -> Iterable[str]:
    captions = {
        "intervals": ("Test KPI in points", _intervals_caption(case)),
        "validation": ("Validation KPI in points, over epochs", f"Each panel has its own scale. {_drawn(case)}"),
        "weights": (
            "Share of the effective weight in per cent, over epochs",
            "A task's effective weight is the mean over an epoch's steps of ∂total/∂loss, whatever the method: what its "
            f"gradient was in fact multiplied with. All panels have the same scale. {_drawn(case)}",
        ),
    }
    return (place(name, heading, text.rstrip()) for name, (heading, text) in captions.items() if name in charts)


def _intervals_caption(case: Case) -> str:
    mean = "Mean over seeds with its 95% interval" if len(case.seeds) > 1 else "One seed, so there are no intervals"
    rule = f" The dotted rule stands at the mean of {case.against}." if case.compares else ""
    single = " The dashed rule stands at the mean of single-task networks." if summary(case).single else ""
    return f"{mean}; the numbers are those of the table of test KPIs.{rule}{single} Each panel has its own scale."


def _drawn(case: Case) -> str:
    """What lines and bands are, and whose."""
    over_seeds = "Lines are means over seeds, bands reach from the lowest to the highest seed. "
    finished = "Only runs that finished are drawn; where none of a method's did, all of them."
    runs = [record for method in case.methods for record in case.of(method)]
    all_finished = all(record.outcome == "finished" for record in runs)
    return (over_seeds if len(case.seeds) > 1 else "") + ("" if all_finished else finished)
