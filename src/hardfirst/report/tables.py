"""The page's tables, as HTML."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from hardfirst.record import Record
from hardfirst.report.case import EQUAL, Case, setting, settings
from hardfirst.report.figures import Style
from hardfirst.report.summary import Cell, Row, Summary
from hardfirst.studies.statistics import Interval, mean_interval


def swatch(style: Style) -> str:
    """A short piece of the line that stands for a method."""
    dashes = {"solid": "none", "dot": "2 3", "dash": "7 4", "dashdot": "7 3 2 3", "longdash": "11 4"}[style.dash]
    return (
        '<svg class="swatch" viewBox="0 0 28 10" aria-hidden="true"><line x1="0" x2="28" y1="5" y2="5" '
        f'stroke="{style.colour}" stroke-width="3" stroke-dasharray="{dashes}"/></svg>'
    )


def named(method: str) -> str:
    """A method's name, which may break after a comma."""
    return escape(method).replace(",", ",<wbr>")


def table(label: str, caption: str, head: Sequence[str], rows: Iterable[tuple[str, str]]) -> str:
    """A table that scrolls within its own width, below a caption that does not.

    Args:
        label: what a screen reader calls it.
        caption: text.
        head: the columns' headings, HTML.
        rows: the row's class and its cells, HTML.
    """
    headings = "".join(f'<th scope="col">{heading}</th>' for heading in head)
    body = "\n".join(f'<tr class="{kind}">{cells}</tr>' if kind else f"<tr>{cells}</tr>" for kind, cells in rows)
    return (
        f"<figure>\n<figcaption>{escape(caption)}</figcaption>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table>\n'
        f"<thead><tr>{headings}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n</figure>"
    )


def cells(heading: str, values: Iterable[str]) -> str:
    """A row's heading and cells, from HTML."""
    return f'<th scope="row">{heading}</th>' + "".join(f"<td>{value}</td>" for value in values)


def kpis(found: Summary, looks: Mapping[str, Style]) -> str:
    """Tasks × methods."""
    return table(
        "Test KPI by task and method",
        _kpi_caption(found),
        ["Task", *(_method_heading(found, method, looks[method]) for method in found.methods)],
        [("" if row.kind == "task" else "over-tasks", _kpi_row(found, row)) for row in found.rows],
    )


def _kpi_caption(found: Summary) -> str:
    several = max(found.finished.values()) > 1
    caption = "Test KPI in points (KPI × 100)" + (": mean over seeds with its 95% interval." if several else ".")
    if EQUAL in found.methods and len(found.methods) > 1:
        caption += " Below it the difference to equal weights, paired by seed."
        if several:
            caption += " Each interval stands alone: among many, some leave out zero by chance; the verdict allows for it."
    if any(row.kind == "rank" for row in found.rows):
        caption += " The mean rank is taken over tasks, in the seeds that all methods finished."
    return caption


def _method_heading(found: Summary, method: str, look: Style) -> str:
    started, finished = found.started[method], found.finished[method]
    runs = f"n = {finished}" + (f" of {started}" if finished < started else "")
    return f"{swatch(look)}{named(method)}<small>{runs}</small>"


def _kpi_row(found: Summary, row: Row) -> str:
    values = (_kpi_cell(row.cells[method], found.finished[method]) for method in found.methods)
    return cells(escape(row.name), values)


def _kpi_cell(cell: Cell, finished: int) -> str:
    if cell.difference is None or not cell.kpi.n:
        return _with_n(cell.kpi, "z.1f", finished)
    return f"{_with_n(cell.kpi, 'z.1f', finished)}<small>{_with_n(cell.difference, '+z.1f', finished)}</small>"


def _with_n(interval: Interval, spec: str, expected: int) -> str:
    """The interval, with its n where that is not the one in the column's heading."""
    return f"{interval:{spec}}" + ("" if interval.n == expected else f", n = {interval.n}")


def runs(case: Case, looks: Mapping[str, Style]) -> str:
    """How many runs there were, which epoch each gave its weights from, and what an epoch cost."""
    head = ["Method", "Finished runs", "Epochs", "Selected epoch", "Seconds per epoch"]
    caption = "Seconds per epoch are wall-clock time, the median of a run's epochs, then the mean over seeds"
    if case.compares:
        head.append("Relative to equal weights")
        caption += "; the relative cost is paired by seed"
    caption += ". Runs that share a machine may slow each other down."
    rows = [("", _run_row(case, method, looks[method])) for method in case.methods]
    return table("Runs and cost by method", caption, head, rows)


def _run_row(case: Case, method: str, look: Style) -> str:
    finished = case.finished(method)
    values = [
        f"{len(finished)} of {len(case.of(method))}",
        _range([len(record.epochs) for record in finished]),
        _range([record.test["epoch"] for record in finished if record.test]),
        f"{mean_interval(case.epoch_seconds(method)):#.3g}",
    ]
    if case.compares:
        values.append("1" if method == EQUAL else f"{_relative_cost(case, method):.2f}")
    return cells(swatch(look) + named(method), values)


def _relative_cost(case: Case, method: str) -> Interval:
    seconds, equal = case.epoch_seconds(method), case.epoch_seconds(EQUAL)
    return mean_interval(np.divide(seconds, equal, out=np.full_like(seconds, np.nan), where=equal > 0))


def _range(numbers: Sequence[int]) -> str:
    if not numbers:
        return "–"
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def unfinished(case: Case) -> str:
    """The runs that did not finish, each with its reason; nothing where all did."""
    left_out = [record for method in case.methods for record in case.of(method) if record.outcome != "finished"]
    if not left_out:
        return ""
    return table(
        "Runs that did not finish",
        "Runs that did not finish. They are in no test figure.",
        ["Method", "Seed", "Outcome", "Epochs done", "Reason"],
        [("", _unfinished_row(record)) for record in left_out],
    )


def _unfinished_row(record: Record) -> str:
    values = [str(record.trial["seed"]), record.outcome or "no end recorded", str(len(record.epochs)), record.reason or "–"]
    return cells(named(record.trial["balancer"]), map(escape, values))


def reproduction(case: Case) -> str:
    """The trials' settings and the versions of the packages that ran them."""
    keys = {key for record in case.runs.values() for key in record.trial} - {"balancer", "seed"}
    rows = [("", cells(escape(key), [_setting(case, key)])) for key in sorted(keys)]
    rows.append(("", cells("seed", [", ".join(map(str, case.seeds))])))
    rows.append(("", cells("balancer", ["<br>".join(escape(method) for method in case.methods)])))
    rows += [("", cells(escape(package), [escape(text)])) for package, text in _versions(case).items()]
    return table("Settings", "Settings of the trials, and the versions that ran them.", ["Setting", "Value"], rows)


def _setting(case: Case, key: str) -> str:
    values = settings(case, key)
    if len(values) == 1:
        return escape(next(iter(values)))
    return "<br>".join(escape(f"{value} ({', '.join(methods)})") for value, methods in values.items())


def _versions(case: Case) -> dict[str, str]:
    counted: dict[str, Counter[str]] = {}
    for record in case.runs.values():
        for package, version in record.made_with.get("versions", {}).items():
            counted.setdefault(package, Counter())[setting(version)] += 1
    return {
        package: next(iter(versions))
        if len(versions) == 1
        else "; ".join(f"{version} ({count} runs)" for version, count in sorted(versions.items()))
        for package, versions in sorted(counted.items())
    }
