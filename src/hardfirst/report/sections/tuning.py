"""The section on tuning: what was tried for each method on the validation split, what was taken, and what it cost."""

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from hardfirst.records import Record
from hardfirst.records.names import SINGLE
from hardfirst.records.selection import chosen
from hardfirst.report.blocks import Section, paragraphs, place
from hardfirst.report.figures import Figure, Style, _axis, _layout, _place, reach
from hardfirst.report.model.case import EQUAL, Case
from hardfirst.report.sections.tables import cells, named, swatch, table
from hardfirst.report.text.notes import criterion

_CAPTION = (
    "Validation KPI in points: {criterion}, at a run's best epoch. The tuning runs share a seed that no reported run has, "
    "and never read the test split. A run that serves two methods counts for both."
)
_CHART = (
    "Validation KPI in points, {criterion}, over the learning rate, which has a logarithmic scale. A point is a run that "
    "finished; the chosen one has a ring. Lines join runs that differ in nothing but the learning rate."
)
_GREY = "#7d8590"


class _Tuned(NamedTuple):
    """What was tried for one method, the static weights, or the single-task network of one task."""

    name: str
    kind: Literal["method", "grid", "single"]
    records: Sequence[Record]

    @property
    def taken(self) -> Record:
        """The run whose settings were chosen."""
        return self.records[chosen(self.records)]

    @property
    def rates(self) -> list[float]:
        """The learning rates, in ascending order."""
        return sorted({record.trial["learning_rate"] for record in self.records})

    @property
    def finished(self) -> list[Record]:
        """The runs that can be chosen."""
        return [record for record in self.records if record.outcome == "finished"]


def section(case: Case, looks: Mapping[str, Style]) -> Section | None:
    """A row for each method and single-task network that was tuned, with curves over the learning rate; None without any."""
    tuned = [*_methods(case), *_single(case)]
    if not tuned:
        return None
    by = criterion(case)
    blocks = [
        _table(tuned, looks, _CAPTION.format(criterion=by)),
        paragraphs([*_at_the_edge(tuned), *_without_choice(tuned)]),
    ]
    curves = [each for each in _methods(case) if len(each.rates) > 1 and each.finished]
    if not curves:
        return Section("Tuning", tuple(blocks))
    blocks.append(place("learning-rates", "Learning-rate curves", _CHART.format(criterion=by)))
    return Section("Tuning", tuple(blocks), {"learning-rates": _figure(curves, looks)})


def _methods(case: Case) -> Iterator[_Tuned]:
    for method in case.methods:
        if found := case.tuning.get(method):
            yield _Tuned(method, "grid" if method == case.static else "method", found)


def _single(case: Case) -> Iterator[_Tuned]:
    for task, found in case.single_tuning.items():
        yield _Tuned(task, "single", found)


# The sentences


def _at_the_edge(tuned: Iterable[_Tuned]) -> Iterator[str]:
    """Whose chosen learning rate has no neighbour on one side."""
    searched = [each for each in tuned if len(each.rates) > 1 and each.finished]
    for end, which in ((0, "lowest"), (-1, "highest")):
        found = [each for each in searched if each.taken.trial["learning_rate"] == each.rates[end]]
        if found:
            yield f"The learning rate chosen for {_names(found)} is the {which} tried: the best may lie beyond."


def _without_choice(tuned: Iterable[_Tuned]) -> Iterator[str]:
    found = [each for each in tuned if not each.finished]
    if found:
        yield f"No tuning run of {_names(found)} finished: the middle of what was tried was taken."


def _names(tuned: Iterable[_Tuned]) -> str:
    """The methods, and the single-task networks after them."""
    methods = [each.name for each in tuned if each.kind != "single"]
    tasks = [each.name for each in tuned if each.kind == "single"]
    if tasks:
        methods.append(f"the {SINGLE} {'networks' if len(tasks) > 1 else 'network'} of {', '.join(tasks)}")
    return ", ".join(methods)


# The table


def _table(tuned: Iterable[_Tuned], looks: Mapping[str, Style], caption: str) -> str:
    head = [
        "Method",
        "Trials",
        "Learning rates tried",
        "Chosen learning rate",
        "Chosen options",
        "Validation KPI of the chosen",
        "Of all, lowest to highest",
        "Epochs in all",
        "Seconds in all",
        "Diverged or failed",
    ]
    rows = [("", cells(_heading(each, looks), _values(each))) for each in tuned]
    return table("Tuning by method", caption, head, rows)


def _heading(tuned: _Tuned, looks: Mapping[str, Style]) -> str:
    return f"{SINGLE}, {named(tuned.name)}" if tuned.kind == "single" else swatch(looks[tuned.name]) + named(tuned.name)


def _values(tuned: _Tuned) -> list[str]:
    points = [_points(record) for record in tuned.finished]
    return [
        f"{len(tuned.records)} grid points" if tuned.kind == "grid" else str(len(tuned.records)),
        _span(tuned.rates, "g"),
        f"{tuned.taken.trial['learning_rate']:g}",
        html.escape(_weights(tuned) if tuned.kind == "grid" else _options(tuned)),
        f"{_points(tuned.taken):.1f}" if tuned.finished else "–",
        _span(points, ".1f"),
        str(sum(len(record.epochs) for record in tuned.records)),
        f"{sum(record.seconds for record in tuned.records if not math.isnan(record.seconds)):.0f}",
        str(len(tuned.records) - len(tuned.finished)),
    ]


def _points(record: Record) -> float:
    return 100 * record.selected()[1]


def _span(values: Sequence[float], spec: str) -> str:
    if not values:
        return "–"
    low, high = f"{min(values):{spec}}", f"{max(values):{spec}}"
    return low if low == high else f"{low} to {high}"


def _options(tuned: _Tuned) -> str:
    """The options of the chosen spec, where they were tried in several ways or given."""
    given = [option for option in tuned.taken.trial["balancer"].partition(":")[2].split(",") if option]
    found = [option for option in given if not option.startswith("potential.")]  # by task, and other ones for each seed
    if len(found) < len(given):
        found.append("potentials by task")
    several = len({record.trial["balancer"] for record in tuned.records}) > 1
    return ", ".join(found) if found else "its defaults" if several else "–"


def _weights(tuned: _Tuned) -> str:
    """Static weights by task, the most frequent ones together: "left 5, others 0.5"."""
    balancer = tuned.taken.trial["balancer"]
    if balancer == EQUAL:
        return "equal weights"
    weights = {task: f"{float(weight):g}" for task, weight in re.findall(r"weights\.([^=,]+)=([^,]+)", balancer)}
    if not weights:
        return _options(tuned)
    usual, count = Counter(weights.values()).most_common(1)[0]
    apart = [f"{task} {weight}" for task, weight in weights.items() if count == 1 or weight != usual]
    return ", ".join([*apart, f"others {usual}"] if count > 1 else apart)


# The chart


def _figure(tuned: Sequence[_Tuned], looks: Mapping[str, Style]) -> Figure:
    """A panel for each method, all on the same scales."""
    layout, data = _layout([each.name for each in tuned]), []
    layout["hovermode"] = "closest"
    across = reach([math.log10(rate) for each in tuned for rate in each.rates])
    upwards = reach([_points(record) for each in tuned for record in each.finished])
    for panel, each in enumerate(tuned):
        data += [_ring(panel, each), _curve(panel, each, looks[each.name])]
        layout[_axis("xaxis", panel)] = {"type": "log", "range": across, "dtick": 1, "tickformat": "~g"}
        layout[_axis("yaxis", panel)] = {"nticks": 5, "range": upwards}
    names = {"x": "learning rate", "y": "points"}
    return {"panels": len(tuned), "height": 170, "data": data, "layout": layout} | names


def _curve(panel: int, tuned: _Tuned, look: Style) -> dict[str, Any]:
    found = sorted(tuned.finished, key=lambda record: record.trial["learning_rate"])
    alike = len({record.trial["balancer"] for record in found}) == 1
    return {
        **_at(panel, found),
        "text": [html.escape(record.trial["balancer"]) for record in found],
        "mode": "lines+markers" if alike else "markers",
        "line": {"color": look.colour, "dash": look.dash, "width": 1.5},
        "marker": {"symbol": look.symbol, "color": look.colour, "size": 8},
        "hovertemplate": "%{text}<br>learning rate %{x:~g}: %{y:.1f}<extra></extra>",
    }


def _ring(panel: int, tuned: _Tuned) -> dict[str, Any]:
    return {
        **_at(panel, [tuned.taken]),
        "mode": "markers",
        "marker": {"symbol": "circle-open", "color": _GREY, "size": 17, "line": {"width": 1.5}},
        "hoverinfo": "skip",
    }


def _at(panel: int, records: Sequence[Record]) -> dict[str, Any]:
    rates = [record.trial["learning_rate"] for record in records]
    return {**_place(panel), "x": rates, "y": [_points(record) for record in records]}
