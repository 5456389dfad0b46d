"""Formulas as MathML, which every browser shows by itself: no script, no network."""

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx


def mathml(formula: str, *, block: bool) -> str:
    """The formula; a letter keeps its bar to itself, so that a subscript stands next to both."""
    text: str = latex2mathml.tex2mathml(re.sub(r"\\(bar|hat)\s*(\\\w+|\w)", r"{\\\1{\2}}", formula), as_block=block)
    return text


def visit_math(self: Any, node: nodes.math) -> None:
    """Within a line."""
    self.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def visit_displaymath(self: Any, node: nodes.math_block) -> None:
    """As a block."""
    self.body.append(f'<div class="math">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Make it the renderer of the site."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
