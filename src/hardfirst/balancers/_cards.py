"""A card for each method, read off its class and docstring, so that it cannot say other than the code."""

import inspect
import re
from dataclasses import dataclass
from typing import cast

from hardfirst.balancers._base import Balancer
from hardfirst.balancers._registry import BALANCERS
from hardfirst.errors import unknown


@dataclass(frozen=True)
class Card:
    """What a user wants to know before choosing a method; texts are in the docstring's markup.

    Args:
        name: in the registry.
        sentence: the docstring's first line.
        when: when to use it.
        cost: backwards per step and state.
        needs: any of "kpis", "epochs", "shared".
        linear: whether micro-batches add up.
        compiles: whether it runs under `torch.compile`.
        departures: where it departs from the paper.
    """

    name: str
    sentence: str
    when: str
    cost: str
    needs: tuple[str, ...]
    linear: bool
    compiles: bool
    departures: str

    @property
    def title(self) -> str:
        """The sentence up to its formula."""
        return re.split(r":? *(weights )?:math:|:\s", self.sentence)[0].rstrip(" .:")


def card(name: str) -> Card:
    """The card of the method of this name.

    Raises:
        InputError: there is no such method.

    Example:
        >>> card("uncertainty").title
        'Uncertainty weighting'
        >>> card("dtp").needs
        ('kpis',)
    """
    if name not in BALANCERS:
        raise unknown("balancer", name, BALANCERS)
    made = BALANCERS[name]
    method = cast(type[Balancer], getattr(made, "__self__", made))  # dtp_paper is a classmethod of DTP
    own, text = inspect.getdoc(made) or "", inspect.getdoc(method) or ""
    return Card(
        name=name,
        sentence=own.split("\n\n")[0].replace("\n", " "),
        when=_paragraph(text, "When to use"),
        cost=_paragraph(text, "Cost"),
        needs=tuple(sorted(method.needs)),
        linear=method.linear,
        compiles=method.compiles,
        departures=_section(text, "Note"),
    )


def _paragraph(text: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*?)(?=\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    return " ".join(found.group(1).split()) if found else ""


def _section(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\n(.*?)(?=\n\n\S|\Z)", text, re.DOTALL | re.MULTILINE)
    return inspect.cleandoc(found.group(1)) if found else ""
