"""The figure of a search: the gain of each candidate from rung to rung."""

import math
from collections.abc import Iterable

from hardfirst.report.figures import (
    BLUE,
    GREY,
    Figure,
    Style,
    Styles,
    Trace,
    chart_text,
    horizontal_rule,
    note,
    padded_range,
    single_panel,
)
from hardfirst.report.labels import Ends, Point, name_points
from hardfirst.report.model.search import Search
from hardfirst.report.text.interval_text import count_text
from hardfirst.statistics import Interval

_SMALLEST = (250.0, 230.0)  # pixels of the panel on a phone
_LONGEST = 28
_OTHERS = Style(GREY, "solid")


def path_figure(search: Search, styles: Styles) -> Figure:
    """A line for each candidate over the rungs; those of the last rung have a colour and a name.

    Args:
        search: with at least one rung that has ended.
        styles: of the methods that have one.
    """
    rungs = search.ended_rungs
    last = [name for name in rungs[-1].names if not math.isnan(rungs[-1].standings[name].objective.mean)]
    named = last if len(rungs) > 1 else last[:3]
    looks = {name: _look(search, name, styles) for name in named}
    others = [name for name in rungs[0].names if name not in named]
    gains = [each.objective for rung in rungs for each in rung.standings.values()]
    ends = [0.0, *(gain.mean for gain in gains)]
    ends += [end for name in named for end in _interval(search, name)[1:3]]
    upwards = padded_range([*ends, search.chance])
    across = [0.8, len(rungs) + (0.8 if len(rungs) > 1 else 0.4)]
    points = [Point(Interval(len(rungs), math.nan, math.nan, 1), _interval(search, name), _short(name)) for name in named]
    chance = [] if math.isnan(search.chance) else [horizontal_rule(0, search.chance)]
    return single_panel(
        [*(_line(search, name, _OTHERS, thin=True) for name in others), *(_line(search, n, looks[n]) for n in reversed(named))],
        height=300,
        width=760,
        x_axis={
            "range": across,
            "tickvals": [rung.number for rung in rungs],
            "ticktext": [f"rung {rung.number}, {count_text(rung.seeds, 'seed')}" for rung in rungs],
            "title": {"text": "", "standoff": 6},
        },
        y_axis={"range": upwards, "nticks": 7, "title": {"text": "gain in points", "standoff": 6}},
        shapes=[horizontal_rule(0, 0, "solid"), *chance],
        annotations=[*_chance_note(search, across), *name_points(points, Ends(across, upwards, *_SMALLEST))],
    )


def _look(search: Search, name: str, styles: Styles) -> Style:
    return styles.get(name, Style(BLUE, "solid") if name == search.winner else _OTHERS)


def _interval(search: Search, name: str) -> Interval:
    gain = search.ended_rungs[-1].standings[name].objective
    return Interval(gain.mean, gain.mean - gain.error, gain.mean + gain.error, 1)


def _chance_note(search: Search, across: list[float]) -> Iterable[dict[str, object]]:
    if not math.isnan(search.chance):
        yield note("by choosing alone", across[0], search.chance, xanchor="left", yanchor="bottom")


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _line(search: Search, name: str, style: Style, *, thin: bool = False) -> Trace:
    gains = {rung.number: rung.standings[name].objective for rung in search.ended_rungs if name in rung.standings}
    errors = [0.0 if math.isnan(gain.error) else gain.error for gain in gains.values()]
    bars = {} if thin else {"error_y": {"type": "data", "array": errors, "arrayminus": errors, "color": style.colour, "thickness": 1.5, "width": 0}}
    return {
        "type": "scatter",
        "x": list(gains),
        "y": [gain.mean for gain in gains.values()],
        **bars,
        "name": chart_text(name),
        "mode": "lines+markers",
        "line": style.line | {"width": 1 if thin else 2},
        "marker": style.marker | {"size": 5 if thin else 9},
        "opacity": 0.55 if thin else 1,
        "hovertemplate": f"{chart_text(name)}<br>%{{y:+.1f}}<extra></extra>",
    }
