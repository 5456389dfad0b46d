"""The figure of a search: the gain of each candidate from rung to rung."""

import math
from collections.abc import Iterable

from hardfirst.report.figures import (
    GREY,
    Figure,
    Style,
    Styles,
    Trace,
    chart_text,
    horizontal_rule,
    note,
    padded_range,
    shortened,
    single_panel,
)
from hardfirst.report.figures import styles as palette
from hardfirst.report.labels import Ends, Point, name_points
from hardfirst.report.model.search import Search
from hardfirst.report.text.interval_text import count_text
from hardfirst.statistics import Interval

_SMALLEST = (250.0, 230.0)  # pixels of the panel on a phone
_LONGEST = 28
_FIRST = 4  # candidates with a name after the first rung
_OTHERS = Style(GREY, "solid")


def path_styles(search: Search, styles: Styles) -> dict[str, Style]:
    """The styles of the first candidates of the last rung that has ended; the others are thin lines in grey."""
    rung = search.ended_rungs[-1]
    names = [name for name in rung.names if rung.standings[name].state == "in"]
    named = names if rung.number > 1 else names[:_FIRST]
    looks = palette(dict.fromkeys([*styles, *named]))  # those of the methods on fresh seeds stay as they are
    return {name: looks[name] for name in named}


def path_figure(search: Search, looks: Styles) -> Figure:
    """A line for each candidate over the rungs.

    Args:
        search: with at least one rung that has ended.
        looks: of the candidates with a colour and a name.
    """
    rungs = search.ended_rungs
    others = [name for name in rungs[0].names if name not in looks]
    bars = [_interval(search, name) for name in looks]
    gains = [each.objective.mean for rung in rungs for each in rung.standings.values()]
    upwards = padded_range([0.0, search.chance, *gains, *(end for bar in bars for end in bar[1:3])])
    across = [0.85, len(rungs) + (0.6 if len(rungs) > 1 else 0.3)]
    line = Interval(len(rungs), 1, len(rungs), 1)  # which no name may cover
    points = [Point(line, _interval(search, name), shortened(name, _LONGEST)) for name in looks]
    chance = [] if math.isnan(search.chance) else [horizontal_rule(0, search.chance)]
    return single_panel(
        [*(_line(search, name, _OTHERS, thin=True) for name in others), *(_line(search, *look) for look in looks.items())],
        height=300,
        width=760,
        x_axis={
            "range": across,
            "tickvals": [rung.number for rung in rungs],
            "ticktext": [f"rung {rung.number}, {count_text(rung.seeds, 'seed')}" for rung in rungs],
            "title": {"text": ""},
        },
        y_axis={"range": upwards, "nticks": 7, "title": {"text": "gain in points", "standoff": 6}},
        shapes=[horizontal_rule(0, 0, "solid"), *chance],
        annotations=[*_chance_note(search, across), *name_points(points, Ends(across, upwards, *_SMALLEST))],
    )


def _interval(search: Search, name: str) -> Interval:
    gain = search.ended_rungs[-1].standings[name].objective
    return Interval(gain.mean, gain.mean - gain.error, gain.mean + gain.error, 1)


def _chance_note(search: Search, across: list[float]) -> Iterable[dict[str, object]]:
    if not math.isnan(search.chance):
        yield note("by choosing alone", across[1], search.chance, xanchor="right", yanchor="bottom")


def _line(search: Search, name: str, style: Style, *, thin: bool = False) -> Trace:
    gains = {rung.number: rung.standings[name].objective for rung in search.ended_rungs if name in rung.standings}
    errors = [0.0 if math.isnan(gain.error) else gain.error for gain in gains.values()]
    bars = {"type": "data", "array": errors, "arrayminus": errors, "color": style.colour, "thickness": 1.5, "width": 0}
    return {
        "type": "scatter",
        "x": list(gains),
        "y": [gain.mean for gain in gains.values()],
        **({} if thin else {"error_y": bars}),
        "name": chart_text(name),
        "mode": "lines+markers",
        "line": style.line | {"width": 1 if thin else 2},
        "marker": style.marker | {"size": 5 if thin else 9},
        "opacity": 0.55 if thin else 1,
        "hovertemplate": f"{chart_text(name)}<br>%{{y:+.1f}}<extra></extra>",
    }
