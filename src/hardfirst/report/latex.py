"""Tables for LaTeX, with booktabs: a row for each method, as papers have them."""

import math
import re
from collections.abc import Iterator, Sequence

from hardfirst.records.names import SINGLE
from hardfirst.report.model.case import Case
from hardfirst.report.model.published import PublishedTable, published_table
from hardfirst.report.model.summary import Summary, summary
from hardfirst.statistics import Interval

_SPECIAL = {
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "Δ": r"$\Delta$",
    "γ": r"$\gamma$",
    "α": r"$\alpha$",
    "°": r"$^\circ$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "–": "--",
}
_CHARACTERS = re.compile("|".join(map(re.escape, _SPECIAL)))
_RULE = r"\midrule"


def escaped(text: str) -> str:
    r"""The text without characters that mean something to LaTeX.

    >>> print(escaped("Δm, % of a_b & c"))
    $\Delta$m, \% of a\_b \& c
    """
    return _CHARACTERS.sub(lambda match: _SPECIAL[match[0]], text)


def tables(case: Case) -> Iterator[str]:
    """The table of test KPIs, and that of metrics with the published ones if there are any."""
    yield _kpi_table(case, summary(case))
    if (found := published_table(case)) is not None:
        yield _published_table(case, found)


def _kpi_table(case: Case, kpis: Summary) -> str:
    single = [_line([SINGLE, *(_interval(kpis.single.get(row.name)) for row in kpis.rows)]), _RULE] if kpis.single else []
    lines = [_line([method, *(_interval(row.cells[method].kpi) for row in kpis.rows)]) for method in kpis.methods]
    caption = f"{case.name}: test KPI × 100, mean over seeds ± half the 95% interval"
    return _tabular(caption, [row.name for row in kpis.rows], [*single, *lines])


def _published_table(case: Case, found: PublishedTable) -> str:
    """Sources are comments, since a column of them would not fit."""
    lines = [_line([method, *map(_interval, cells, found.specs)]) for method, cells in found.own.items()]
    as_published = [spec.replace("#", "") for spec in found.specs]
    source = ""
    for row, numbers in found.published:
        if source != (source := f"{row.network}; {row.source}"):
            lines += [_RULE, f"% published: {source}"]
        lines.append(_line([row.method, *map(_number, numbers, as_published)], r"\color{gray}"))
    caption = f"{case.name}: metrics, and Δm over them, lower is better; grey rows are published"
    return _tabular(caption, found.columns, lines)


def _tabular(caption: str, columns: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escaped(caption)}.}}",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"\toprule",
            _line(["Method", *columns]),
            _RULE,
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _line(cells: Sequence[str], before: str = "") -> str:
    return " & ".join(before + escaped(cell) for cell in cells) + r" \\"


def _interval(interval: Interval | None, spec: str = "z.1f") -> str:
    if interval is None or math.isnan(interval.mean):
        return "–"
    half = "" if math.isnan(interval.low) else f" ± {format(interval.high - interval.mean, spec.lstrip('+'))}"
    return f"{format(interval.mean, spec)}{half}"


def _number(value: float, spec: str) -> str:
    return "–" if math.isnan(value) else format(value, spec)
