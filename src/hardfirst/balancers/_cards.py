"""A card for each method, built from its class and docstring so that it agrees with the code."""

import inspect
import re
from dataclasses import dataclass

from hardfirst._docstring import paragraph, section, sentence
from hardfirst.balancers._registry import Spec
from hardfirst.balancers._stacked import trains_together
from hardfirst.errors import MissingPackage


@dataclass(frozen=True)
class Card:
    """What a user needs to know to choose a method. Texts keep the docstring's markup.

    Args:
        name: as in a `Spec`.
        sentence: the docstring's first line.
        when: when to use the method.
        cost: backward passes per step, and state.
        needs: any of "kpis", "epochs" and "shared".
        state: the keys of its `state_dict`; None if the method cannot be constructed because a package is missing.
        linear: whether micro-batches add up to one batch.
        compiles: whether it runs under `torch.compile`.
        joint: whether leaving a task out of a step changes the weights of the others.
        equal_alone: whether it reduces to equal weights when each step has the loss of a single task.
        trials: "vectorized" if one step can train many trials, else "singly".
        departures: the differences from the paper.

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
    joint: bool
    equal_alone: bool
    trials: str
    departures: str

    @property
    def absence(self) -> str:
        """How leaving a task out of a step affects the others, in words."""
        others = "changes the weights of the others" if self.joint else "changes no other weight"
        return (
            f"{others}; with one task a step all tasks count alike, as under equal weights" if self.equal_alone else others
        )

    @property
    def title(self) -> str:
        """The first line without its formula."""
        return re.split(r":? *(weights )?:math:|:\s", self.sentence)[0].rstrip(" .:")


def card(name: str) -> Card:
    """Build the card of a method.

    Args:
        name: a name in `BALANCERS`, or `path/to/file.py:ClassName`.

    Raises:
        InputError: there is no such method.

    Example:
        >>> card("uncertainty").title
        'Uncertainty weighting'
        >>> card("dtp").needs
        ('kpis',)
    """
    spec = Spec(name)
    method = spec.method
    own, text = _docstring(spec.maker()), _docstring(method)
    return Card(
        name=name,
        sentence=sentence(own),
        when=paragraph(own, "When to use") or paragraph(text, "When to use"),
        cost=paragraph(text, "Cost"),
        needs=tuple(sorted(method.needs)),
        state=_state(spec),
        linear=method.linear,
        compiles=method.compiles,
        joint=method.joint,
        equal_alone=method.equal_alone,
        trials="vectorized" if trains_together(method) else "singly",
        departures=section(text, "Note"),
    )


def _docstring(maker: object) -> str:
    """Return the docstring of the class or method itself, not an inherited one, which would mislead."""
    return inspect.cleandoc(maker.__doc__ or "")


def _state(spec: Spec) -> tuple[str, ...] | None:
    """Return the keys of the method's `state_dict`."""
    tasks, method = ["a", "b"], spec.method
    try:
        balancer = spec.explain_errors(lambda: method(tasks, **method.example_options(tasks)))
    except MissingPackage:
        return None
    return tuple(key for key in balancer.state_dict() if key != "_extra_state")  # the names of the tasks
