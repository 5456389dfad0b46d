"""A part of the page."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hardfirst.report.figures import Figure


@dataclass(frozen=True)
class Section:
    """A heading with blocks of HTML below it, and the charts that blocks have a place for, by the id of their element."""

    heading: str
    blocks: tuple[str, ...]
    charts: Mapping[str, Figure] = field(default_factory=dict)
