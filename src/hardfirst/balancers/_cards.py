"""A card for each method, read off its class and docstring, so that it cannot say other than the code."""

import inspect
import re
from dataclasses import dataclass

from hardfirst._docstring import paragraph, section, sentence
from hardfirst.balancers._registry import BALANCERS, Spec
from hardfirst.errors import MissingPackage, unknown


@dataclass(frozen=True)
class Card:
    """What a user wants to know before choosing a method; texts are in the docstring's markup.

    Args:
        name: in the registry.
        sentence: the docstring's first line.
        when: when to use it.
        cost: backwards per step and state.
        needs: any of "kpis", "epochs", "shared".
        state: the names of the persistent buffers; None where the method cannot be made because a package is missing.
        linear: whether micro-batches add up.
        compiles: whether it runs under `torch.compile`.
        departures: where it departs from the paper.

    Example:
        >>> card("gradnorm").needs, card("gradnorm").compiles
        (('shared',), False)
    """

    name: str
    sentence: str
    when: str
    cost: str
    needs: tuple[str, ...]
    state: tuple[str, ...] | None
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
    method = Spec(name).method
    own, text = inspect.getdoc(BALANCERS[name]) or "", inspect.getdoc(method) or ""
    return Card(
        name=name,
        sentence=sentence(own),
        when=paragraph(own, "When to use") or paragraph(text, "When to use"),
        cost=paragraph(text, "Cost"),
        needs=tuple(sorted(method.needs)),
        state=_state(name),
        linear=method.linear,
        compiles=method.compiles,
        departures=section(text, "Note"),
    )


def _state(name: str) -> tuple[str, ...] | None:
    """What a `state_dict` of the method holds."""
    examples = {"fixed": "fixed:a=1,b=1", "frozen": "fixed:a=1,b=1", "curriculum": "curriculum:order=a+b,epochs=1"}
    try:
        return tuple(Spec.parse(examples.get(name, name)).build(["a", "b"]).state_dict())
    except MissingPackage:
        return None
