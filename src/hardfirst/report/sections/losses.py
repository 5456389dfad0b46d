"""The sections of a study that compares losses: how steadily each trains, and on which examples its sum is spent."""

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hardfirst.records import Record
from hardfirst.report.blocks import Section, place
from hardfirst.report.figures import Figure, Style, _axis, _layout, _place, styles
from hardfirst.report.model.case import EQUAL, Array, Case
from hardfirst.report.sections import charts
from hardfirst.report.sections.tables import cells, named, swatch, table
from hardfirst.statistics import mean_interval

SHARE = re.compile(r"loss in the hardest ([\d.]+) % of (.+?)(?: under (.+))?")
"""What a metric is called that says which share of a loss the hardest examples of a kind have; under another loss than the
network was trained with, if the name ends so."""


class Share(NamedTuple):
    """Such a metric, taken apart."""

    hardest: float
    kind: str
    under: str | None
    metric: str


def sections(case: Case, looks: Mapping[str, Style]) -> list[Section]:
    """What is there to show of losses; nothing where balancers are compared."""
    if case.baseline == EQUAL or len(case.tasks) > 1:
        return []
    found = [Section("Stability", (_stability(case, looks),)), _own(case, looks), _on_one_network(case, looks)]
    return [section for section in found if section]


# Stability


def _stability(case: Case, looks: Mapping[str, Style]) -> str:
    task = case.tasks[0]
    caption = (
        f"How steadily {task} is learned. The spread is the standard deviation over seeds of the test KPI in points. A fall "
        "is that of the validation KPI from one epoch to the next, in points: of each run the largest, then the mean over "
        "seeds."
    )
    head = ["Loss", "Finished runs", "Spread over seeds", "Largest fall", "Validation KPI after the first epoch"]
    columns: Sequence[Callable[[str], str]] = (
        lambda method: f"{len(case.finished(method))} of {len(case.of(method))}",
        lambda method: _figure(
            float(np.nanstd(case.points(method), ddof=1)) if len(case.finished(method)) > 1 else math.nan
        ),
        lambda method: _figure(_mean(case, method, _fall)),
        lambda method: _figure(_mean(case, method, lambda curve: 100 * float(curve[0]))),
    )
    rows = [
        ("", cells(swatch(looks[method]) + named(method), [column(method) for column in columns])) for method in case.methods
    ]
    return table("Stability by loss", caption, head, rows)


def _mean(case: Case, method: str, of: Callable[[Array], float]) -> float:
    curves = [np.array(record.curve(case.tasks[0], "validation_kpi")) for record in case.finished(method)]
    return mean_interval([of(curve) for curve in curves if len(curve)]).mean


def _fall(curve: Array) -> float:
    return 100 * float(np.max(-np.diff(curve), initial=0.0))


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


# Where the loss is


def _own(case: Case, looks: Mapping[str, Style]) -> Section | None:
    """Each loss on the network that it trained."""
    curves = {method: _curves(case.finished(method), case.tasks[0], under=None) for method in case.methods}
    found = _chart({method: by_kind for method, by_kind in curves.items() if by_kind}, looks)
    if found is None:
        return None
    caption = (
        "Of each loss, on the network that it trained, the share that the hardest examples have, in per cent of the loss of "
        "their kind, on the test split; mean over seeds."
    )
    key = charts.key(case.methods, looks)
    return Section(
        "Where each loss is spent", (key, place("own-shares", "Share of the loss", caption)), {"own-shares": found}
    )


def _on_one_network(case: Case, known: Mapping[str, Style]) -> Section | None:
    """All losses on the same trained networks, so that nothing but the loss differs."""
    for method in case.methods:
        runs, task = case.finished(method), case.tasks[0]
        losses = dict.fromkeys(share.under for record in runs for share in _shares(record, task) if share.under)
        if not losses:
            continue
        names = sorted((name for name in losses if name), key=lambda name: list(known).index(name) if name in known else -1)
        looks = known if set(names) <= set(known) else styles(names, case.baseline)
        found = _chart({name: _curves(runs, task, under=name) for name in names}, looks)
        if found:
            caption = (
                f"The same for all losses on the networks that {html.escape(method)} trained, as in figure 4 of Lin et al.: "
                "the same examples, so that nothing but the loss differs."
            )
            block = place("one-network-shares", "Share of the loss, on the same networks", caption)
            heading = f"Where the losses would be spent, on the networks of {method}"
            return Section(heading, (charts.key(names, looks), block), {"one-network-shares": found})
    return None


def _shares(record: Record, task: str) -> list[Share]:
    metrics = record.test["tasks"][task].get("metrics", {}) if record.test else {}
    found = ((SHARE.fullmatch(metric), metric) for metric in metrics)
    return [Share(float(match[1]), match[2], match[3], metric) for match, metric in found if match]


def _curves(runs: Sequence[Record], task: str, under: str | None) -> dict[str, dict[float, float]]:
    """By kind of example, and by how many of the hardest, the share of the loss in per cent: mean over runs."""
    values: dict[str, dict[float, list[float]]] = {}
    for record in runs:
        for share in _shares(record, task):
            if share.under == under and record.test:
                value = 100 * record.test["tasks"][task]["metrics"][share.metric]
                values.setdefault(share.kind, {}).setdefault(share.hardest, []).append(value)
    return {kind: {hardest: float(np.nanmean(v)) for hardest, v in by.items()} for kind, by in values.items()}


def _chart(curves: Mapping[str, Mapping[str, Mapping[float, float]]], looks: Mapping[str, Style]) -> Figure | None:
    """A panel for each kind of example, a line for each loss."""
    kinds = list(dict.fromkeys(kind for by_kind in curves.values() for kind in by_kind))
    if not kinds:
        return None
    lines = [
        {
            **_place(panel),
            "name": html.escape(name),
            "x": list(by_kind.get(kind, {})),
            "y": list(by_kind.get(kind, {}).values()),
            "mode": "lines+markers",
            "line": {"color": looks[name].colour, "dash": looks[name].dash, "width": 2},
            "marker": {"color": looks[name].colour, "size": 5},
            "hovertemplate": "%{y:.1f} %",
        }
        for panel, kind in enumerate(kinds)
        for name, by_kind in curves.items()
    ]
    layout = _layout(kinds)
    for panel in range(len(kinds)):
        layout[_axis("xaxis", panel)] = {"type": "log", "tickvals": [0.1, 1, 10, 100], "range": [-1.1, 2]}
        layout[_axis("yaxis", panel)] = {"range": [0, 102], "nticks": 6}
    names = {"x": "hardest examples, per cent", "y": "share of the loss, per cent", "table": "examples"}
    return {"panels": len(kinds), "height": 260, "data": lines, "layout": layout} | names
