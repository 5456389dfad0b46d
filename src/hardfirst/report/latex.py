"""Tables for LaTeX, with booktabs: a row for each method, as papers have them."""

import math
import re
from collections.abc import Iterator, Sequence

from hardfirst.report.model.answer import answer
from hardfirst.report.model.case import Case
from hardfirst.report.model.published import PublishedTable, published_table
from hardfirst.report.text.search_tables import case_tables
from hardfirst.statistics import Interval, number_text

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
    "−": "$-$",
    "≤": r"$\leq$",
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
    """The leaderboard, the table by task, and that of metrics with the published ones if there are any.

    Of a search, its path and its winner on fresh seeds come first.
    """
    for table in case_tables(answer(case)):
        reference = [_RULE, *map(_line, table.reference)] if table.reference else []
        yield _tabular(table.caption, table.head, [*map(_line, table.rows), *reference])
    if (found := published_table(case)) is not None:
        yield _published_table(case, found)


def _published_table(case: Case, found: PublishedTable) -> str:
    """Sources are comments, since a column of them would not fit."""
    lines = [_line([method, *map(_interval, cells, found.specs)]) for method, cells in found.own.items()]
    as_published = [spec.replace("#", "") for spec in found.specs]
    source = ""
    for row, numbers in found.published:
        if source != (source := f"{row.network}; {row.source}"):
            lines += [_RULE, f"% published: {source}"]
        lines.append(_line([row.method, *map(number_text, numbers, as_published)], r"\color{gray}"))
    caption = f"{case.name}: metrics, and Δm, lower is better; ± is half the 95% interval, grey rows are published."
    return _tabular(caption, ["Method", *found.columns], lines)


def _tabular(caption: str, head: Sequence[str], lines: Sequence[str]) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escaped(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
            r"\toprule",
            _line(head),
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
    half = f" ± {format(interval.high - interval.mean, spec.lstrip('+'))}" if interval.bounded else ""
    return f"{number_text(interval.mean, spec)}{half}"
