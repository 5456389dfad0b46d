"""The page's tables, as HTML."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from hardfirst.records import Record
from hardfirst.records.names import SINGLE
from hardfirst.report.figures import Style
from hardfirst.report.model.case import Case, setting, settings
from hardfirst.report.model.summary import Cell, Row, Summary
from hardfirst.statistics import Interval, mean_interval

_FIT_UPRIGHT = 8  # columns on a sheet of paper; more are printed on one that lies on its side


def swatch(style: Style) -> str:
    """A short piece of the line that stands for a method."""
    dashes = {"solid": "none", "dot": "2 3", "dash": "7 4", "dashdot": "7 3 2 3", "longdash": "11 4"}[style.dash]
    return (
        '<svg class="swatch" viewBox="0 0 28 10" aria-hidden="true"><line x1="0" x2="28" y1="5" y2="5" '
        f'stroke="{style.colour}" stroke-width="3" stroke-dasharray="{dashes}"/></svg>'
    )


def named(method: str) -> str:
    """A method's name, which may break between its options."""
    return re.sub(r"[,+:=]", r"\g<0><wbr>", escape(method))


def table(label: str, caption: str, head: Sequence[str], rows: Iterable[tuple[str, str]]) -> str:
    """A table that scrolls within its own width, below a caption that does not.

    Args:
        label: what a screen reader calls it.
        caption: text.
        head: the columns' headings, HTML.
        rows: the row's class and its cells, HTML.
    """
    wide = ' class="wide"' if len(head) > _FIT_UPRIGHT else ""
    headings = "".join(f'<th scope="col">{heading}</th>' for heading in head)
    body = "\n".join(f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>" for kind, cells in rows)
    return (
        f"<figure{wide}>\n<figcaption>{escape(caption)}</figcaption>\n"
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(label)}"><table aria-label="{escape(label)}">\n'
        f"<thead><tr>{headings}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n</figure>"
    )


def cells(heading: str, values: Iterable[str]) -> str:
    """A row's heading and cells, from HTML."""
    return f'<th scope="row">{heading}</th>' + "".join(f"<td>{value}</td>" for value in values)


def kpis(found: Summary, looks: Mapping[str, Style]) -> str:
    """Tasks × methods, the single-task networks before them as a reference."""
    single = [f"{SINGLE}<small>n = {found.single_n}</small>"] if found.single else []
    return table(
        "Test KPI by task and method",
        _kpi_caption(found),
        ["Task", *single, *(_method_heading(found, method, looks[method]) for method in found.methods)],
        [("" if row.kind == "task" else "over-tasks", _kpi_row(found, row)) for row in found.rows],
    )


def _kpi_caption(found: Summary) -> str:
    several = max(found.finished.values()) > 1
    caption = "Test KPI in points (KPI × 100)" + (": mean over seeds with its 95% interval." if several else ".")
    if found.baseline in found.methods and len(found.methods) > 1:
        caption += f" Below it the difference to {found.against}, paired by seed."
        if several:
            caption += " Each interval stands alone: among many, some leave out zero by chance; the verdict allows for it."
    if found.single:
        caption += (
            " The single-task networks, one for each task, are a reference and no rivals; Δm is a method's mean relative "
            "gain over them, paired by seed: positive is better."
        )
    if any(row.kind == "rank" for row in found.rows):
        caption += " The mean rank is taken over tasks, in the seeds that all methods finished."
    return caption


def _method_heading(found: Summary, method: str, look: Style) -> str:
    started, finished = found.started[method], found.finished[method]
    runs = f"n = {finished}" + (f" of {started}" if finished < started else "")
    return f"{swatch(look)}{named(method)}<small>{runs}</small>"


def _kpi_row(found: Summary, row: Row) -> str:
    single = [_single_cell(found, row.name)] if found.single else []
    sign = "+z.1f" if row.kind == "delta_m" else "z.1f"
    values = (_kpi_cell(row.cells[method], found.finished[method], sign) for method in found.methods)
    return cells(escape(row.name), [*single, *values])


def _single_cell(found: Summary, row: str) -> str:
    return with_n(found.single[row], "z.1f", found.single_n) if row in found.single else "–"


def _kpi_cell(cell: Cell, finished: int, spec: str) -> str:
    if cell.difference is None or not cell.kpi.n:
        return with_n(cell.kpi, spec, finished)
    return f"{with_n(cell.kpi, spec, finished)}<small>{with_n(cell.difference, '+z.1f', finished)}</small>"


def with_n(interval: Interval, spec: str, expected: int) -> str:
    """The interval, with its n where that is not the one in the column's heading."""
    return f"{interval:{spec}}" + ("" if interval.n == expected else f", n = {interval.n}")


def runs(case: Case, looks: Mapping[str, Style]) -> str:
    """How many runs there were, which epoch each gave its weights from, and what they cost in time and memory."""
    columns = [*_progress_columns(case), *_relative_column(case), *_memory_column(case)]
    caption = " ".join(column.note for column in columns if column.note)
    rows = [
        ("", cells(swatch(looks[method]) + named(method), [column.value(method) for column in columns]))
        for method in case.methods
    ]
    return table("Runs and cost by method", caption, ["Method", *(column.heading for column in columns)], rows)


class _Column(NamedTuple):
    """A column of the table of runs: what it says of a method, and what a reader has to know of it."""

    heading: str
    value: Callable[[str], str]
    note: str = ""


def _progress_columns(case: Case) -> list[_Column]:
    def selected(method: str) -> str:
        return _range([record.test["epoch"] for record in case.finished(method) if record.test])

    seconds = (
        "Seconds per epoch are wall-clock time, the median of a run's epochs, then the mean over seeds; runs that share a "
        "machine may slow each other down."
    )
    return [
        _Column("Finished runs", lambda method: f"{len(case.finished(method))} of {len(case.of(method))}"),
        _Column("Epochs", lambda method: _range([len(record.epochs) for record in case.finished(method)])),
        _Column("Selected epoch", selected),
        _Column("Seconds per epoch", lambda method: f"{mean_interval(case.epoch_seconds(method)):#.3g}", seconds),
    ]


def _relative_column(case: Case) -> list[_Column]:
    """What a step costs relative to equal weights where that was measured, else what an epoch does."""
    if case.costs:
        rounds = max(cost.rounds for cost in case.costs.values())
        note = (
            f"What a training step costs relative to {case.against} was measured in one process where the methods took "
            f"turns: median and quartiles over {rounds} rounds."
        )
        return [_Column(f"Step, relative to {case.against}", lambda method: _step_cost(case, method), note)]
    if case.compares:
        note = f"The cost of an epoch relative to {case.against} is paired by seed."
        return [_Column(f"Epoch, relative to {case.against}", lambda method: _epoch_cost(case, method), note)]
    return []


def _step_cost(case: Case, method: str) -> str:
    if method not in case.costs:
        return "–"
    cost = case.costs[method]
    return "1" if method == case.baseline else f"{cost.relative:.2f} [{cost.low:.2f} to {cost.high:.2f}]"


def _epoch_cost(case: Case, method: str) -> str:
    if method == case.baseline:
        return "1"
    seconds, equal = case.epoch_seconds(method), case.epoch_seconds(case.baseline)
    ratios = np.divide(seconds, equal, out=np.full_like(seconds, np.nan), where=equal > 0)
    return f"{mean_interval(ratios):.2f}"


def _memory_column(case: Case) -> list[_Column]:
    if all(math.isnan(record.memory) for method in case.methods for record in case.finished(method)):
        return []
    note = "Peak memory is that of a run's whole process or, on a GPU, of its tensors: mean over seeds."
    return [_Column("Peak memory, MiB", lambda method: _memory(case, method), note)]


def _memory(case: Case, method: str) -> str:
    mean = mean_interval([record.memory / 2**20 for record in case.finished(method)]).mean
    return "–" if math.isnan(mean) else f"{mean:,.0f}"


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "–"
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def unfinished(case: Case) -> str:
    """The runs that did not finish, each with its reason; nothing where all did."""
    left_out = [(name, record) for name, record in _reported(case) if record.outcome != "finished"]
    if not left_out:
        return ""
    return table(
        "Runs that did not finish",
        "Runs that did not finish. They are in no test figure.",
        ["Method", "Seed", "Outcome", "Epochs done", "Reason"],
        [("", _unfinished_row(name, record)) for name, record in left_out],
    )


def _reported(case: Case) -> Iterator[tuple[str, Record]]:
    """All runs that are reported on, each with what it is of."""
    for method in dict.fromkeys((*case.methods, *case.controls, *case.grid)):
        yield from ((method, record) for record in case.of(method))
    yield from ((f"{SINGLE}, {task}", record) for (task, _), record in case.single.items())


def _unfinished_row(name: str, record: Record) -> str:
    values = [str(record.trial["seed"]), record.outcome or "no end recorded", str(len(record.epochs)), record.reason or "–"]
    return cells(named(name), map(escape, values))


def reproduction(case: Case) -> str:
    """The trials' settings and the versions of the packages that ran them."""
    keys = {key for method in case.methods for record in case.of(method) for key in _settings_of(record)}
    rows = [("", cells(escape(key), [_setting(case, key)])) for key in sorted(keys)]
    rows += _single_rates(case)
    rows.append(("", cells("seed", [", ".join(map(str, case.seeds))])))
    rows.append(("", cells("balancer", ["<br>".join(_balancer(case, method) for method in case.methods)])))
    rows += [("", cells(escape(package), [escape(text)])) for package, text in _versions(case).items()]
    return table("Settings", "Settings of the trials, and the versions that ran them.", ["Setting", "Value"], rows)


def _settings_of(record: Record) -> set[str]:
    """The settings that say something: not those that have rows of their own, nor what was left open."""
    return {key for key, value in record.trial.items() if value is not None} - {"balancer", "seed", "only", "test"}


def _setting(case: Case, key: str) -> str:
    values = settings(case, key)
    if len(values) == 1:
        return named(next(iter(values)))
    return "<br>".join(named(f"{value} ({', '.join(methods)})") for value, methods in values.items())


def _single_rates(case: Case) -> list[tuple[str, str]]:
    """The learning rates of single-task networks."""
    rates: dict[str, dict[str, None]] = {}
    for (task, _), record in case.single.items():
        rates.setdefault(setting(record.trial.get("learning_rate")), {})[task] = None
    if not rates:
        return []
    one = len(rates) == 1
    text = [rate if one else f"{rate} ({', '.join(tasks)})" for rate, tasks in rates.items()]
    return [("", cells("learning_rate of single-task networks", ["<br>".join(map(escape, text))]))]


def _balancer(case: Case, method: str) -> str:
    """The method's name and, where that is something else, what ran."""
    ran = list(dict.fromkeys(record.trial["balancer"] for record in case.of(method)))
    if ran == [method]:
        return named(method)
    if len(ran) > 1:
        return f"{named(method)} ran with options of each seed's own, such as {named(ran[0])}"
    return f"{named(method)} ran as {named(ran[0])}"


def _versions(case: Case) -> dict[str, str]:
    counted: dict[str, Counter[str]] = {}
    for _, record in _reported(case):
        for package, version in record.made_with.get("versions", {}).items():
            counted.setdefault(package, Counter())[setting(version)] += 1
    return {
        package: next(iter(versions))
        if len(versions) == 1
        else "; ".join(f"{version} ({count} runs)" for version, count in sorted(versions.items()))
        for package, versions in sorted(counted.items())
    }
