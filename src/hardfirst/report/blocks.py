"""A part of the page, and the HTML that parts are made of."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from html import escape

from hardfirst.report.figures import Figure


@dataclass(frozen=True)
class Section:
    """A heading with blocks of HTML below it, and the charts that blocks have a place for, by the id of their element.

    Args:
        heading: text.
        blocks: HTML, in which `<h3>` is a heading one level below the section's own.
        charts: `place` makes an element for one of them.
        parts: sections within this one, after its blocks.
    """

    heading: str
    blocks: tuple[str, ...]
    charts: Mapping[str, Figure] = field(default_factory=dict)
    parts: tuple["Section", ...] = ()

    def within(self, prefix: str) -> "Section":
        """The section with `prefix-` before the id of each chart, so that a page can have several of its kind."""
        blocks = self.blocks
        for name in self.charts:
            ids = re.compile(rf'((?:\bid|aria-describedby)=")(?={re.escape(name)}(?:-about)?")')
            blocks = tuple(ids.sub(rf"\g<1>{prefix}-", block) for block in blocks)
        return replace(
            self,
            blocks=blocks,
            charts={f"{prefix}-{name}": chart for name, chart in self.charts.items()},
            parts=tuple(part.within(prefix) for part in self.parts),
        )

    def all_charts(self) -> dict[str, Figure]:
        """Its own charts and those of its parts."""
        found = dict(self.charts)
        for part in self.parts:
            found |= part.all_charts()
        return found

    def html(self, level: int = 2, anchor: str | None = None) -> str:
        """The section, its heading on this level; with an id, and as a landmark, where links are to lead to it."""
        own = "\n".join(block for block in self.blocks if block)
        content = re.sub(r"<(/?)h3>", rf"<\1h{level + 1}>", own)
        parts = "\n".join(part.html(level + 1) for part in self.parts)
        opening = f'<section id="{anchor}" aria-label="{escape(self.heading)}">' if anchor else "<section>"
        return f"{opening}\n<h{level}>{escape(self.heading)}</h{level}>\n{content}\n{parts}\n</section>"


def place(name: str, heading: str, caption: str) -> str:
    """A chart's heading and caption, both HTML, above the element that page.js draws it in."""
    named = f'role="img" aria-label="{heading}" aria-describedby="{name}-about"'
    chart = f'<div class="plotly-graph-div" id="{name}" {named}></div>'
    about = f'<span id="{name}-about">{caption}</span>'
    return f"<figure>\n<figcaption><h3>{heading}</h3>{about}</figcaption>\n{chart}\n</figure>"


def paragraphs(sentences: Iterable[str]) -> str:
    """A paragraph for each sentence; intervals, and n with its number, stay on one line."""
    return "\n".join(f"<p>{_unbroken(escape(sentence))}</p>" for sentence in sentences)


def items(sentences: Iterable[str]) -> str:
    """A list."""
    return "<ul>\n" + "\n".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "\n</ul>"


def count(number: int, noun: str) -> str:
    """How many, in words."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _unbroken(sentence: str) -> str:
    return re.sub(r"\[[-+\d., ]+\]|n = \d+", r'<span class="unbroken">\g<0></span>', sentence)
