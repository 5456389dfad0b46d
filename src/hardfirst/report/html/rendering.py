"""Jinja2 templates with autoescape, which turn sections and blocks into HTML."""

import re
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

_BREAKS = re.compile(r"(?<=[,+:=])")  # after these a line may break between the options of a spec
_UNBROKEN = re.compile(r"\[[-−+\d., ]+\]|n = \d+")
_FLAG = re.compile(r"--[\w-]+")
_CODE = re.compile(r"`([^`]+)`")


def render(template: str, **values: Any) -> str:
    """Render a template."""
    return environment().get_template(template).render(values)


def asset(name: str) -> Markup:
    """A file next to the templates, which goes into the page as it is."""
    return Markup(resources.files("hardfirst.report.html").joinpath(name).read_text(encoding="utf-8"))


@cache
def environment() -> Environment:
    """The templates' environment."""
    templates = Environment(
        loader=PackageLoader("hardfirst.report.html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.filters |= {"breakable": _breakable, "unbroken": _unbroken, "marked": _marked, "flags": _flags}
    return templates


def _breakable(text: str) -> Markup:
    return Markup("<wbr>").join(_BREAKS.split(text))


def _unbroken(sentence: str) -> Markup:
    """The sentence with its intervals, and each n with its number, on one line."""
    return Markup(_UNBROKEN.sub(r'<span class="unbroken">\g<0></span>', str(escape(sentence))))


def _marked(sentence: str) -> Markup:
    """As `_unbroken`, with what stands between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(_unbroken(sentence))))


def _flags(command: str) -> Markup:
    """The command, or a line of Python, with each option's name on one line; it may break after brackets and commas."""
    flags = _FLAG.sub(r'<span class="unbroken">\g<0></span>', str(escape(command)))
    return Markup(re.sub(r"(?<=[(,])", "<wbr>", flags))
