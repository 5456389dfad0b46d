"""The sections of a study of losses: how steadily each trains, and which examples its sum comes from."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hardfirst.records import Record
from hardfirst.report.blocks import Chart, Section, Table, TableCell, key, method_cell, number_cell, row, table
from hardfirst.report.figures import Figure, Style, Styles, Trace, chart_text, panel_axes, small_multiples, styles
from hardfirst.report.model.case import Case
from hardfirst.statistics import mean_interval
from hardfirst.statistics.intervals import Array

Curves = Mapping[str, Mapping[float, float]]
"""By kind of example, and by how many of the hardest, the share of the loss in per cent."""

_OWN_CAPTION = (
    "Of each loss, on the network that it trained, the share that the hardest examples have, in per cent of the loss of "
    "their kind, on the test split; mean over seeds."
)


def sections(case: Case, styles: Styles) -> list[Section]:
    """The sections on losses; empty unless the runs name the loss that they were trained with."""
    if case.noun != "loss":
        return []
    stability = Section("Stability", (_stability(case, styles),))
    return [section for section in (_own_networks(case, styles), stability, _same_networks(case, styles)) if section]


# Stability


def _stability(case: Case, styles: Styles) -> Table:
    caption = (
        f"How steadily {case.tasks[0]} is learned. The spread is the standard deviation over seeds of the test KPI in "
        "points. A fall is that of the validation KPI from one epoch to the next, in points: of each run the largest, then "
        "the mean over seeds."
    )
    head = ["Loss", "Finished runs", "Spread over seeds", "Largest fall", "Validation KPI after the first epoch"]
    rows = [row(method_cell(method, styles), _stability_cells(case, method)) for method in case.methods]
    return table("Stability by loss", caption, head, rows)


def _stability_cells(case: Case, method: str) -> list[TableCell]:
    finished = len(case.finished(method))
    spread = float(np.nanstd(case.points(method), ddof=1)) if finished > 1 else np.nan
    return [
        TableCell(f"{finished} of {len(case.of(method))}", value=finished),
        number_cell(spread, ".1f"),
        number_cell(_mean_over_runs(case, method, lambda curve: float(np.max(-np.diff(curve), initial=0.0))), ".1f"),
        number_cell(_mean_over_runs(case, method, lambda curve: float(curve[0])), ".1f"),
    ]


def _mean_over_runs(case: Case, method: str, statistic: Callable[[Array], float]) -> float:
    """The mean over runs of a statistic of the validation KPI's curve, in points."""
    curves = [np.array(record.curve(case.tasks[0], "validation_kpi")) for record in case.finished(method)]
    return mean_interval([100 * statistic(curve) for curve in curves if len(curve)]).mean


# Shares of the loss


def _own_networks(case: Case, styles: Styles) -> Section | None:
    """Each loss on the network that it trained."""
    curves = {method: _curves(case.finished(method), case.tasks[0], under=None) for method in case.methods}
    figure = _figure({method: by_kind for method, by_kind in curves.items() if by_kind}, styles)
    if figure is None:
        return None
    chart = Chart("own-shares", "Share of the loss", _OWN_CAPTION, figure)
    return Section("Where each loss is spent", (key(case.methods, styles), chart), anchor="shares", short="Shares")


def _same_networks(case: Case, known_styles: Styles) -> Section | None:
    """All losses on the same trained networks, so that nothing but the loss differs."""
    rank = {name: index for index, name in enumerate(known_styles)}
    for method in case.methods:
        runs, task = case.finished(method), case.tasks[0]
        shares = [share for record in runs for share in record.loss_shares.get(task, {}).values()]
        losses = dict.fromkeys(share.under for share in shares if share.under)
        names = sorted(losses, key=lambda name: rank.get(name, -1))
        looks = known_styles if set(names) <= set(known_styles) else styles(names, case.baseline)
        figure = _figure({name: _curves(runs, task, under=name) for name in names}, looks)
        if figure:
            caption = (
                f"The same for all losses on the networks that {method} trained, as in figure 4 of Lin et al.: the same "
                "examples, so that nothing but the loss differs."
            )
            chart = Chart("one-network-shares", "Share of the loss, on the same networks", caption, figure)
            heading = f"Where the losses would be spent, on the networks of {method}"
            return Section(heading, (key(names, looks), chart))
    return None


def _curves(runs: Sequence[Record], task: str, under: str | None) -> Curves:
    """The means over runs."""
    values: dict[str, dict[float, list[float]]] = {}
    for record in runs:
        for metric, share in record.loss_shares.get(task, {}).items():
            if share.under == under and metric in record.test_metrics(task):
                value = 100 * record.test_metrics(task)[metric]
                values.setdefault(share.kind, {}).setdefault(share.hardest, []).append(value)
    return {kind: {hardest: float(np.nanmean(each)) for hardest, each in by.items()} for kind, by in values.items()}


def _figure(curves: Mapping[str, Curves], styles: Styles) -> Figure | None:
    """A panel for each kind of example, a line for each loss."""
    kinds = list(dict.fromkeys(kind for by_kind in curves.values() for kind in by_kind))
    if not kinds:
        return None
    return small_multiples(
        kinds,
        [
            _trace(panel, name, by_kind.get(kind, {}), styles[name])
            for panel, kind in enumerate(kinds)
            for name, by_kind in curves.items()
        ],
        height=260,
        x_axes={"type": "log", "tickvals": [0.1, 1, 10, 100], "range": [-1.1, 2]},
        y_axes={"range": [0, 102], "nticks": 6},
        x="hardest examples, per cent",
        y="share of the loss, per cent",
        table="examples",
    )


def _trace(panel: int, name: str, shares: Mapping[float, float], style: Style) -> Trace:
    return {
        **panel_axes(panel),
        "name": chart_text(name),
        "x": list(shares),
        "y": list(shares.values()),
        "mode": "lines+markers",
        "line": style.line | {"width": 2},
        "marker": {"color": style.colour, "size": 5},
        "hovertemplate": "%{y:.1f} %",
    }
