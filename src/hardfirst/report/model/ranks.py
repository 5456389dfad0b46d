"""Methods ranked over problems: Friedman's test, the critical difference, and its diagram."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

from hardfirst.report.figures import GREY, Figure, Style
from hardfirst.report.model.case import EQUAL, Array
from hardfirst.statistics import CriticalDifference, Friedman, critical_difference, friedman

FEWEST_CASES = 5
"""Below this many problems, ranks over problems tell nothing."""

_ALPHA = 0.05
_LONGEST_LABEL = 26


@dataclass(frozen=True)
class Ranks:
    """Ranks of at least three methods over problems.

    Args:
        methods: their names.
        values: [problems, methods], higher is better; NaN where a method has no value.
        where: what the values are of, such as "on the worst task".
    """

    methods: tuple[str, ...]
    values: Array
    where: str

    @cached_property
    def test(self) -> Friedman:
        """Friedman's, over the problems where every method has a value."""
        return friedman(self.values)

    @cached_property
    def critical(self) -> CriticalDifference:
        """The mean ranks, and how far apart they have to be."""
        return critical_difference(self.values)

    @property
    def known(self) -> bool:
        """Whether there are two problems at least."""
        return self.test.n > 1

    @property
    def differ(self) -> bool:
        """Whether there are enough problems, and Friedman's test finds a difference."""
        return self.test.n >= FEWEST_CASES and self.test.p <= _ALPHA

    def sentence(self) -> str:
        """What the test says, and what so many problems allow to be said."""
        n, p = self.test.n, "p < 0.001" if self.test.p < 0.001 else f"p = {self.test.p:.2g}"
        if not self.known:
            return f"Fewer than 2 cases have a figure {self.where} for every method: there are no ranks over cases."
        if n < FEWEST_CASES:
            return (
                f"Over {n} cases nothing can be told from the methods' ranks {self.where}: that takes about {FEWEST_CASES} "
                f"problems at the least (Friedman's test gives {p}, a rough approximation with so few)."
            )
        test = f"(Friedman's test over {n} cases, {p})"
        if not self.differ:
            return f"By their ranks {self.where} no methods can be told apart {test}."
        return (
            f"The methods' ranks {self.where} differ {test}; mean ranks {self.critical.difference:.2f} or more apart count "
            f"as different (Nemenyi's test at {_ALPHA}). {self._beside_equal()}".rstrip()
        )

    def _beside_equal(self) -> str:
        if EQUAL not in self.methods:
            return ""
        equal, ranks = self.methods.index(EQUAL), self.critical.mean_ranks
        apart = [place for place in range(len(self.methods)) if not self.critical.same[equal, place]]
        ahead = [self.methods[place] for place in apart if ranks[place] < ranks[equal]]
        behind = [self.methods[place] for place in apart if ranks[place] > ranks[equal]]
        sides = {"Ahead of equal weights": ahead, "Behind equal weights": behind}
        found = [f"{side}: {', '.join(names)}." for side, names in sides.items() if names]
        return " ".join(found) or "None differs from equal weights."

    def groups(self) -> list[tuple[str, ...]]:
        """The methods that are not told apart, from the best, without groups that are part of another.

        All are one group unless they `differ`.
        """
        order = self.order()
        if not self.differ:
            return [tuple(self.methods[place] for place in order)]
        same, found, reached = self.critical.same, [], 0
        for first, place in enumerate(order):
            last = max(other for other in range(first, len(order)) if same[place, order[other]])
            if last > max(first, reached):
                found.append(tuple(self.methods[other] for other in order[first : last + 1]))
                reached = last
        return found

    def order(self) -> list[int]:
        """The methods' places, from the best mean rank on."""
        return sorted(range(len(self.methods)), key=lambda place: (self.critical.mean_ranks[place], self.methods[place]))


def diagram(ranks: Ranks, looks: Mapping[str, Style]) -> Figure:
    """A critical-difference diagram: mean ranks from the best on, and above them bars that join what is not told apart."""
    mean = {ranks.methods[place]: float(ranks.critical.mean_ranks[place]) for place in ranks.order()}
    groups, count = ranks.groups(), len(mean)
    top = 0.7 + 0.5 * max(1, len(groups))
    data = [_bar(mean, group, 0.9 + 0.5 * height) for height, group in enumerate(groups)]
    data += [_mark(method, rank, -row, count, looks[method]) for row, (method, rank) in enumerate(mean.items())]
    layout = {
        "showlegend": False,
        "hovermode": "closest",
        "shapes": [_drop(rank, -row, top) for row, rank in enumerate(mean.values())],
        "xaxis": {"dtick": 1, "range": [0.8, count + 0.2], "title": {"text": "mean rank"}},
        "yaxis": {"range": [0.4 - count, top], "showticklabels": False, "showgrid": False, "fixedrange": True},
    }
    return {"panels": 1, "height": 50 + 24 * count, "width": 800, "data": data, "layout": layout}


def _bar(mean: Mapping[str, float], group: Sequence[str], height: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": [mean[group[0]] - 0.04, mean[group[-1]] + 0.04],
        "y": [height, height],
        "mode": "lines",
        "line": {"color": GREY, "width": 6},
        "hovertemplate": f"not told apart: {escape(', '.join(group))}<extra></extra>",
    }


def _mark(method: str, rank: float, row: int, count: int, look: Style) -> dict[str, Any]:
    label = method if len(method) <= _LONGEST_LABEL else method[: _LONGEST_LABEL - 1] + "…"
    return {
        "type": "scatter",
        "name": escape(method),
        "x": [rank],
        "y": [row],
        "mode": "markers+text",
        "marker": {"symbol": look.symbol, "color": look.colour, "size": 9, "line": {"color": look.colour, "width": 1.5}},
        "text": [f"  {escape(label)} {rank:.2f}  "],
        "textposition": "middle right" if rank <= (count + 1) / 2 else "middle left",
        "cliponaxis": False,
        "hovertemplate": f"{escape(method)}: {rank:.2f}<extra></extra>",
    }


def _drop(rank: float, row: float, top: float) -> dict[str, Any]:
    line = {"color": GREY, "dash": "dot", "width": 1}
    return {"type": "line", "layer": "below", "x0": rank, "x1": rank, "y0": row, "y1": top, "line": line}
