"""The parts of the page as data: `html.rendering` turns them into HTML."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from hardfirst.records.names import joined
from hardfirst.report.figures import Figure, Style, Styles, padded_range
from hardfirst.report.model.leaderboard import Effect
from hardfirst.report.text.alerts import Alert
from hardfirst.report.text.next_step import NextStep
from hardfirst.report.text.search import Paste
from hardfirst.report.text.tiles import Tile
from hardfirst.statistics import Interval, number_text

Look = Literal["", "over-tasks", "published", "baseline", "reference"]

_COLUMNS_UPRIGHT = 8  # of a table on a sheet of paper; wider tables are printed on a landscape sheet


class Bar(NamedTuple):
    """An interval in a cell, in shares of the width of the column's scale."""

    low: float
    mean: float
    high: float
    zero: float


@dataclass(frozen=True)
class TableCell:
    r"""A cell or a heading of a table.

    Args:
        text: "\n" starts a new line.
        note: small print below it.
        value: the number that the column is sorted by; None for a text or a missing value.
        style: of the method whose line is drawn before the text.
        breakable: whether lines may break between the options of a spec.
        bar: drawn before the text.
        tone: whether the cell says that something is better or worse than the baseline.
        shade: how much, from 0 to 1 for the most in the table; 0 leaves the cell without a colour.
        views: the texts between which the table's toggle chooses, the first being `text`; empty for one that stays.
    """

    text: str
    note: str = ""
    value: float | None = None
    style: Style | None = None
    breakable: bool = False
    bar: Bar | None = None
    tone: Effect = ""
    shade: float = 0.0
    views: tuple[str, ...] = ()


Content = str | TableCell
"""Of a cell: plain text, or text with more to it."""


@dataclass(frozen=True)
class TableRow:
    """A row: its heading and the other cells. Sorting leaves baselines first, rows over tasks and references last."""

    cells: tuple[TableCell, ...]
    look: Look = ""


@dataclass(frozen=True)
class Table:
    """A table that scrolls within its own width, below a caption that does not.

    Args:
        label: its name for screen readers.
        caption: text above it.
        head: the columns' headings.
        rows: its rows.
        views: the names of the texts between which a toggle chooses; empty for a table without a toggle.
        name: of the toggle, once on a page.
    """

    label: str
    caption: str
    head: tuple[TableCell, ...]
    rows: tuple[TableRow, ...]
    views: tuple[str, ...] = ()
    name: str = ""

    @property
    def wide(self) -> bool:
        """Whether it needs a landscape sheet."""
        return len(self.head) > _COLUMNS_UPRIGHT


@dataclass(frozen=True)
class Chart:
    """A chart with its heading above and its caption below; `name` is the id of its element, once on a page.

    `numbers` holds its values, for a reader who opens them.
    """

    name: str
    heading: str
    caption: str
    figure: Figure
    numbers: Table | None = None


@dataclass(frozen=True)
class Key:
    """The styles of methods, as pieces of their lines or as their markers."""

    methods: Mapping[str, Style]
    markers: bool = False


@dataclass(frozen=True)
class Paragraphs:
    """One paragraph for each sentence."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Bullets:
    """A list."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Preformatted text."""

    text: str


@dataclass(frozen=True)
class Heading:
    """A heading one level below the section's own."""

    text: str


@dataclass(frozen=True)
class Answer:
    """The first screen: what answers the question, and what limits the answer.

    Args:
        question: a heading; "" for none.
        lead: the sentence that answers.
        rest: the sentences after it.
        tiles: figures in large type.
        alerts: each a link to a section.
        chart: of the methods; None for none.
        next_step: what to do next; None for nothing.
        paste: what to paste to use the answer.
    """

    question: str
    lead: str
    rest: tuple[str, ...] = ()
    tiles: tuple[Tile, ...] = ()
    alerts: tuple[Alert, ...] = ()
    chart: Chart | None = None
    next_step: NextStep | None = None
    paste: tuple[Paste, ...] = ()
    prefix: str = ""


@dataclass(frozen=True)
class Fold:
    """Blocks that are shown on demand, below this text."""

    summary: str
    blocks: tuple["Block", ...]


Block = Table | Chart | Key | Paragraphs | Bullets | Code | Heading | Answer | Fold


@dataclass(frozen=True)
class Section:
    """A heading, blocks below it, and then sections within it.

    Args:
        heading: its own.
        blocks: below the heading.
        parts: sections within it.
        anchor: its id on the page, which links lead to. Default: one that the page gives it.
        folded: whether it is closed until a reader opens it.
        short: its name in the page's bar; "" leaves it out there.
    """

    heading: str
    blocks: tuple[Block, ...]
    parts: tuple["Section", ...] = ()
    anchor: str = ""
    folded: bool = False
    short: str = ""

    def with_prefix(self, prefix: str) -> "Section":
        """The section with `prefix-` before all names and anchors, so that a page can have several of its kind."""
        return replace(
            self,
            blocks=tuple(_prefixed(block, prefix) for block in self.blocks),
            parts=tuple(part.with_prefix(prefix) for part in self.parts),
            anchor=f"{prefix}-{self.anchor}" if self.anchor else "",
        )

    @property
    def charts(self) -> dict[str, Figure]:
        """Its charts and those of its parts, by name."""
        charts = {chart.name: chart.figure for block in self.blocks for chart in _charts(block)}
        for part in self.parts:
            charts |= part.charts
        return charts


def _prefixed(block: Block, prefix: str) -> Block:
    if isinstance(block, Table) and block.name:
        return replace(block, name=f"{prefix}-{block.name}")
    if isinstance(block, Chart):
        return replace(block, name=f"{prefix}-{block.name}")
    if isinstance(block, Fold):
        return replace(block, blocks=tuple(_prefixed(inner, prefix) for inner in block.blocks))
    if isinstance(block, Answer):
        chart = None if block.chart is None else replace(block.chart, name=f"{prefix}-{block.chart.name}")
        return replace(block, chart=chart, prefix=f"{prefix}-")
    return block


def _charts(block: Block) -> list[Chart]:
    if isinstance(block, Fold):
        return [chart for inner in block.blocks for chart in _charts(inner)]
    chart = block.chart if isinstance(block, Answer) else block
    return [chart] if isinstance(chart, Chart) else []


def table(
    label: str, caption: str, head: Iterable[Content], rows: Iterable[TableRow], views: tuple[str, ...] = (), name: str = ""
) -> Table:
    """A table whose headings may be plain texts."""
    return Table(label, caption, tuple(map(_cell, head)), tuple(rows), views, name)


def row(heading: Content, cells: Iterable[Content], look: Look = "") -> TableRow:
    """A row whose cells may be plain texts."""
    return TableRow((_cell(heading), *map(_cell, cells)), look)


def key(methods: Iterable[str], styles: Styles, *, markers: bool = False) -> Key:
    """The styles of these methods."""
    return Key({method: styles[method] for method in methods}, markers)


def method_cell(method: str, styles: Styles, note: str = "", *, names: Sequence[str] = ()) -> TableCell:
    """A method's name, or its `names` if it has several, with its line before it."""
    return TableCell(joined(names or [method]), note, style=styles[method], breakable=True)


def number_cell(value: float, spec: str) -> TableCell:
    """A number; a dash for NaN."""
    return TableCell(number_text(value, spec), value=None if math.isnan(value) else value)


def interval_cell(interval: Interval, spec: str, expected_n: int | None = None, note: str = "") -> TableCell:
    """A mean with its interval, sorted by the mean; n follows where it is not the one in the column's heading."""
    text = with_n(interval, spec, interval.n if expected_n is None else expected_n)
    return TableCell(text, note, value=None if math.isnan(interval.mean) else interval.mean)


def bar_cell(difference: Interval | None, scale: Sequence[float], tone: Effect, *, tested: bool = False) -> TableCell:
    """A difference with its interval drawn before it; a dash where there is none."""
    if difference is None or not difference.n:
        return TableCell("–")
    bar, shade = interval_bar(difference, scale), 1.0 if tested else 0.0
    return TableCell(f"{difference:+z.1f}", value=difference.mean, bar=bar, tone=tone, shade=shade)


def bar_scale(intervals: Iterable[Interval | None]) -> list[float]:
    """The ends of the scale that the bars of a column share; 0 is on it."""
    return padded_range([0.0, *(end for each in intervals if each and each.n for end in each[:3])])


def interval_bar(interval: Interval, scale: Sequence[float]) -> Bar | None:
    """The interval on a scale; None if it has no bounds."""
    ends = (interval.low, interval.mean, interval.high, 0.0)
    return Bar(*((end - scale[0]) / (scale[1] - scale[0]) for end in ends)) if interval.bounded else None


def with_n(interval: Interval, spec: str, expected_n: int) -> str:
    """The interval, and n where it is not the expected one."""
    return f"{interval:{spec}}" + ("" if interval.n == expected_n else f", n = {interval.n}")


def _cell(content: Content) -> TableCell:
    return TableCell(content) if isinstance(content, str) else content
