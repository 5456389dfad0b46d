"""The parts of the page as data: `html.rendering` turns them into HTML."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from hardfirst.report.figures import Figure, Style, Styles
from hardfirst.statistics import Interval

_COLUMNS_UPRIGHT = 8  # of a table on a sheet of paper; wider tables are printed on a landscape sheet


@dataclass(frozen=True)
class TableCell:
    r"""A cell or a heading of a table.

    Args:
        text: "\n" starts a new line.
        note: small print below it.
        value: the number that the column is sorted by; None for a text or a missing value.
        style: of the method whose line is drawn before the text.
        breakable: whether lines may break between the options of a spec.
    """

    text: str
    note: str = ""
    value: float | None = None
    style: Style | None = None
    breakable: bool = False


Content = str | TableCell
"""Of a cell: plain text, or text with more to it."""


@dataclass(frozen=True)
class TableRow:
    """A row: its heading and the other cells. Rows over tasks stand out, and stay last when a reader sorts the table.

    Rows of other publications are grey.
    """

    cells: tuple[TableCell, ...]
    over_tasks: bool = False
    published: bool = False


@dataclass(frozen=True)
class Table:
    """A table that scrolls within its own width, below a caption that does not.

    Args:
        label: its name for screen readers.
        caption: text above it.
        head: the columns' headings.
        rows: its rows.
    """

    kind: ClassVar[str] = "table"
    label: str
    caption: str
    head: tuple[TableCell, ...]
    rows: tuple[TableRow, ...]

    @property
    def wide(self) -> bool:
        """Whether it needs a landscape sheet."""
        return len(self.head) > _COLUMNS_UPRIGHT


@dataclass(frozen=True)
class Chart:
    """A chart below its heading and caption; `name` is the id of its element, once on a page."""

    kind: ClassVar[str] = "chart"
    name: str
    heading: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Key:
    """The styles of methods, as pieces of their lines or as their markers."""

    kind: ClassVar[str] = "key"
    methods: Mapping[str, Style]
    markers: bool = False


@dataclass(frozen=True)
class Paragraphs:
    """One paragraph for each sentence."""

    kind: ClassVar[str] = "paragraphs"
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Bullets:
    """A list."""

    kind: ClassVar[str] = "bullets"
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Preformatted text."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Heading:
    """A heading one level below the section's own."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Verdict:
    """A box with the sentences that answer the question; `folded` ones are shown on demand."""

    kind: ClassVar[str] = "verdict"
    label: str
    sentences: tuple[str, ...]
    folded: tuple[str, ...] = ()


Block = Table | Chart | Key | Paragraphs | Bullets | Code | Heading | Verdict


@dataclass(frozen=True)
class Section:
    """A heading, blocks below it, and then sections within it."""

    heading: str
    blocks: tuple[Block, ...]
    parts: tuple["Section", ...] = ()

    def with_prefix(self, prefix: str) -> "Section":
        """The section with `prefix-` before the name of each chart, so that a page can have several of its kind."""
        blocks = (
            replace(block, name=f"{prefix}-{block.name}") if isinstance(block, Chart) else block for block in self.blocks
        )
        return Section(self.heading, tuple(blocks), tuple(part.with_prefix(prefix) for part in self.parts))

    @property
    def charts(self) -> dict[str, Figure]:
        """Its charts and those of its parts, by name."""
        charts = {block.name: block.figure for block in self.blocks if isinstance(block, Chart)}
        for part in self.parts:
            charts |= part.charts
        return charts


def table(label: str, caption: str, head: Iterable[Content], rows: Iterable[TableRow]) -> Table:
    """A table whose headings may be plain texts."""
    return Table(label, caption, tuple(map(_cell, head)), tuple(rows))


def row(heading: Content, cells: Iterable[Content], *, over_tasks: bool = False, published: bool = False) -> TableRow:
    """A row whose cells may be plain texts."""
    return TableRow((_cell(heading), *map(_cell, cells)), over_tasks, published)


def key(methods: Iterable[str], styles: Styles, *, markers: bool = False) -> Key:
    """The styles of these methods."""
    return Key({method: styles[method] for method in methods}, markers)


def method_cell(method: str, styles: Styles, note: str = "") -> TableCell:
    """A method's name with its line before it."""
    return TableCell(method, note, style=styles[method], breakable=True)


def number_cell(value: float, spec: str) -> TableCell:
    """A number; a dash for NaN."""
    return TableCell("–") if math.isnan(value) else TableCell(f"{value:{spec}}", value=value)


def interval_cell(interval: Interval, spec: str, expected_n: int | None = None, note: str = "") -> TableCell:
    """A mean with its interval, sorted by the mean; n follows where it is not the one in the column's heading."""
    text = with_n(interval, spec, interval.n if expected_n is None else expected_n)
    return TableCell(text, note, value=None if math.isnan(interval.mean) else interval.mean)


def with_n(interval: Interval, spec: str, expected_n: int) -> str:
    """The interval, and n where it is not the expected one."""
    return f"{interval:{spec}}" + ("" if interval.n == expected_n else f", n = {interval.n}")


def _cell(content: Content) -> TableCell:
    return TableCell(content) if isinstance(content, str) else content
