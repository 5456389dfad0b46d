"""The section on tuning: what was tried for each method on the validation split, what was chosen, and what it cost."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from hardfirst._spec import Value, format_value
from hardfirst.records import Record
from hardfirst.records.names import EQUAL, SINGLE
from hardfirst.records.selection import chosen
from hardfirst.report.blocks import (
    Block,
    Chart,
    Content,
    Paragraphs,
    Section,
    TableCell,
    method_cell,
    number_cell,
    row,
    table,
)
from hardfirst.report.figures import (
    Figure,
    Style,
    Styles,
    Trace,
    chart_text,
    padded_range,
    panel_axes,
    ring,
    small_multiples,
)
from hardfirst.report.model.case import Case, given_weights, options_of, setting_text
from hardfirst.report.text.notes import criterion

_CAPTION = (
    "Validation KPI in points: {criterion}, or what static weights are chosen for, at a run's best epoch. The tuning runs "
    "share a seed that no reported run has, and never read the test split. A run that serves two methods counts for both."
)
_CHART = (
    "Validation KPI in points, {criterion}, over the learning rate, which has a logarithmic scale. A point is a run that "
    "finished; the chosen one has a ring. Lines join runs that differ in nothing but the learning rate."
)
_HEAD = (
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
)


class _Tuned(NamedTuple):
    """What was tried for one method, the static weights, or the single-task network of one task."""

    name: str
    kind: Literal["method", "grid", "single"]
    records: Sequence[Record]
    measure: str | None = None

    @property
    def best(self) -> Record:
        """The run whose settings were chosen."""
        return self.records[chosen(self.records, self.measure)]

    def points(self, record: Record) -> float:
        """What the run reached on the validation split in what is chosen by."""
        return 100 * record.selected(self.measure)[1]

    @property
    def rates(self) -> list[float]:
        """The learning rates, in ascending order."""
        return sorted({record.trial["learning_rate"] for record in self.records})

    @property
    def recipe(self) -> dict[str, str]:
        """What was chosen in the recipe, of what the runs differ in."""
        parts = {name: {setting_text(run.trial.get("recipe", {}).get(name)) for run in self.records} for name in self._parts}
        varied = [name for name, values in parts.items() if len(values) > 1]
        return {name: setting_text(self.best.trial.get("recipe", {}).get(name)) for name in varied}

    @property
    def _parts(self) -> list[str]:
        return sorted({name for record in self.records for name in record.trial.get("recipe", ())})

    @property
    def finished(self) -> list[Record]:
        """The runs that can be chosen."""
        return [record for record in self.records if record.outcome == "finished"]


def section(case: Case, styles: Styles) -> Section | None:
    """A row for each method and single-task network that was tuned, and curves over the learning rate; None without any."""
    static = case.static.values()
    methods = [
        _Tuned(method, "grid" if method in static else "method", case.tuning[method], case.measure_of(method))
        for method in case.methods
        if case.tuning.get(method)
    ]
    tuned = [*methods, *(_Tuned(task, "single", records) for task, records in case.single_tuning.items())]
    if not tuned:
        return None
    by = criterion(case)
    rows = [row(_heading(each, styles), _cells(each)) for each in tuned]
    blocks: list[Block] = [
        table("Tuning by method", _CAPTION.format(criterion=by), _HEAD, rows),
        Paragraphs((*_at_the_edge(tuned), *_without_choice(tuned))),
    ]
    curves = [each for each in methods if len(each.rates) > 1 and each.finished]
    if curves:
        caption = _CHART.format(criterion=by)
        blocks.append(Chart("learning-rates", "Learning-rate curves", caption, _figure(curves, styles)))
    return Section("Tuning", tuple(blocks), anchor="tuning")


# The sentences


def _at_the_edge(tuned: Iterable[_Tuned]) -> Iterator[str]:
    """Methods whose chosen learning rate is the lowest or the highest tried."""
    searched = [each for each in tuned if len(each.rates) > 1 and each.finished]
    for end, which in ((0, "lowest"), (-1, "highest")):
        at_end = [each for each in searched if each.best.trial["learning_rate"] == each.rates[end]]
        if at_end:
            yield f"The learning rate chosen for {_names(at_end)} is the {which} tried: the best may lie beyond."


def _without_choice(tuned: Iterable[_Tuned]) -> Iterator[str]:
    unfinished = [each for each in tuned if not each.finished]
    if unfinished:
        yield f"No tuning run of {_names(unfinished)} finished: the middle of what was tried was taken."


def _names(tuned: Iterable[_Tuned]) -> str:
    """The methods, and the single-task networks after them."""
    names = [each.name for each in tuned if each.kind != "single"]
    tasks = [each.name for each in tuned if each.kind == "single"]
    if tasks:
        names.append(f"the {SINGLE} {'networks' if len(tasks) > 1 else 'network'} of {', '.join(tasks)}")
    return ", ".join(names)


# The table


def _heading(tuned: _Tuned, styles: Styles) -> TableCell:
    if tuned.kind == "single":
        return TableCell(f"{SINGLE}, {tuned.name}", breakable=True)
    return method_cell(tuned.name, styles)


def _cells(tuned: _Tuned) -> list[Content]:
    points = [tuned.points(record) for record in tuned.finished]
    trials, rate = len(tuned.records), tuned.best.trial["learning_rate"]
    return [
        TableCell(f"{trials} grid points" if tuned.kind == "grid" else str(trials), value=trials),
        _span_cell(tuned.rates, "g"),
        number_cell(rate, "g"),
        _weights_text(tuned) if tuned.kind == "grid" else _options_text(tuned),
        number_cell(tuned.points(tuned.best) if points else math.nan, ".1f"),
        _span_cell(points, ".1f"),
        number_cell(sum(len(record.epochs) for record in tuned.records), "d"),
        number_cell(sum(record.seconds for record in tuned.records if not math.isnan(record.seconds)), ".0f"),
        number_cell(trials - len(tuned.finished), "d"),
    ]


def _span_cell(values: Sequence[float], spec: str) -> TableCell:
    if not values:
        return TableCell("–")
    low, high = f"{min(values):{spec}}", f"{max(values):{spec}}"
    return TableCell(low if low == high else f"{low} to {high}", value=min(values))


def _options_text(tuned: _Tuned) -> str:
    """The options of the chosen spec, if they were tried in several ways or given."""
    options = options_of(tuned.best.trial["balancer"])
    shown = [f"{key}={format_value(value)}" for key, value in options.items() if not _is_potential(key)]
    if any(map(_is_potential, options)):  # one for each task, which differ between seeds
        shown.append("potentials by task")
    shown += [f"{name} {value}" for name, value in tuned.recipe.items()]
    several = len({record.trial["balancer"] for record in tuned.records}) > 1
    return ", ".join(shown) if shown else "its defaults" if several else "–"


def _is_potential(option: str) -> bool:
    return option.startswith("potential.")


def _weights_text(tuned: _Tuned) -> str:
    """Static weights by task, the most frequent ones together: "left 5, others 0.5"."""
    balancer = tuned.best.trial["balancer"]
    if balancer == EQUAL:
        return "equal weights"
    weights = {task: _number_text(weight) for task, weight in given_weights(balancer).items()}
    if not weights:
        return _options_text(tuned)
    usual, count = Counter(weights.values()).most_common(1)[0]
    apart = [f"{task} {weight}" for task, weight in weights.items() if count == 1 or weight != usual]
    return ", ".join([*apart, f"others {usual}"] if count > 1 else apart)


def _number_text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, int | float) else format_value(value)


# The chart


def _figure(tuned: Sequence[_Tuned], styles: Styles) -> Figure:
    """A panel for each method, all on the same scales."""
    across = padded_range(math.log10(rate) for each in tuned for rate in each.rates)
    upwards = padded_range(each.points(record) for each in tuned for record in each.finished)
    return small_multiples(
        [each.name for each in tuned],
        [
            trace
            for panel, each in enumerate(tuned)
            for trace in (_ring(panel, each), _curve(panel, each, styles[each.name]))
        ],
        height=170,
        x_axes={"type": "log", "range": across, "dtick": 1, "tickformat": "~g"},
        y_axes={"nticks": 5, "range": upwards},
        hovermode="closest",
        x="learning rate",
        y="points",
    )


def _curve(panel: int, tuned: _Tuned, style: Style) -> Trace:
    records = sorted(tuned.finished, key=lambda record: record.trial["learning_rate"])
    texts = [_settings_text(record) for record in records]
    return {
        **_positions(panel, tuned, records),
        "text": [chart_text(text) for text in texts],
        "mode": "lines+markers" if len(set(texts)) == 1 else "markers",
        "line": style.line | {"width": 1.5},
        "marker": style.marker | {"size": 8},
        "hovertemplate": "%{text}<br>learning rate %{x:~g}: %{y:.1f}<extra></extra>",
    }


def _settings_text(record: Record) -> str:
    """The balancer, and the recipe if it is not the default."""
    return "; ".join([record.trial["balancer"], *([setting_text(recipe)] if (recipe := record.trial.get("recipe")) else [])])


def _ring(panel: int, tuned: _Tuned) -> Trace:
    return {
        **_positions(panel, tuned, [tuned.best]),
        "mode": "markers",
        "marker": ring(17),
        "hoverinfo": "skip",
    }


def _positions(panel: int, tuned: _Tuned, records: Sequence[Record]) -> Trace:
    rates = [record.trial["learning_rate"] for record in records]
    return {**panel_axes(panel), "x": rates, "y": [tuned.points(record) for record in records]}
