"""Jinja2 templates with autoescape, which turn sections and blocks into HTML."""

import re
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from hardfirst.report.blocks import Block, Section

_BREAKS = re.compile(r"(?<=[,+:=])")  # after these a line may break between the options of a spec
_UNBROKEN = re.compile(r"\[[-+\d., ]+\]|n = \d+")


def render(template: str, **values: Any) -> str:
    """Render a template."""
    return _environment().get_template(template).render(values)


def render_blocks(*blocks: Block) -> str:
    """Blocks as they stand in a section on the second level."""
    return render_section(Section("", blocks))


def render_section(section: Section) -> str:
    """A section on the second level, without an id."""
    return str(_environment().get_template("blocks.html.j2").module.section(section, 2))  # type: ignore[attr-defined]


def asset(name: str) -> Markup:
    """A file beside the templates, which goes into the page as it is."""
    return Markup(resources.files("hardfirst.report.html").joinpath(name).read_text(encoding="utf-8"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hardfirst.report.html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"breakable": _breakable, "unbroken": _unbroken}
    return environment


def _breakable(text: str) -> Markup:
    return Markup("<wbr>").join(_BREAKS.split(text))


def _unbroken(sentence: str) -> Markup:
    """The sentence with its intervals, and each n with its number, on one line."""
    return Markup(_UNBROKEN.sub(r'<span class="unbroken">\g<0></span>', str(escape(sentence))))
